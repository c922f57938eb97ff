"""Render the qdel calls of a cancellation so that none of them can end the site's server.

OpenPBS collects the ids of a qdel that it finds, answers once the last of these is done, and frees
the request; an id that it did not find, in a list that goes on behind that, is then read from freed
memory, and the server dies for everybody (seen on a real server, and in the source of 2026-04). Not
found are a single sub-job that waits, and a job that has ended where no history is kept. So a
single sub-job is named alone, ranges of sub-jobs go with ranges of the same array, and without
history each id has its own call.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from jobs.schedulers.batch import in_chunks, render_ranges
from jobs.schedulers.pbs.parse import JobId, Record, parse_id
from jobs.schedulers.pbs.states import ENDED_LETTERS
from jobs.schedulers.pbs.validate import Dialect

IDS_PER_CALL = 500  # 15 kB of arguments
RANGES_PER_CALL = 500


def render_deletions(
    indices: Mapping[str, Collection[int]],
    records: Mapping[JobId, Record],
    dialect: Dialect | None,
    *,
    has_history: bool,
) -> Iterator[list[str]]:
    """Yield the calls that delete the elements `indices` of each job.

    Args:
        indices: elements by id of their job or array, all of them alive.
        records: what the server said of these jobs and their sub-jobs.
        dialect: whose qdel it is; Torque takes the sub-jobs of an array as an option.
        has_history: whether the server keeps ended jobs.
    """
    whole = []
    for native, some in indices.items():
        if "[]" not in native or _is_all_that_lives(native, some, records):
            whole.append(native)
        elif dialect is Dialect.TORQUE:
            for ranges in in_chunks(render_ranges(some), RANGES_PER_CALL):
                yield ["qdel", "-t", ",".join(ranges), native]
        else:
            yield from _render_sub_jobs(native, render_ranges(some))
    is_safe_to_list = has_history or dialect is Dialect.TORQUE
    for ids in in_chunks(whole, IDS_PER_CALL if is_safe_to_list else 1):
        yield ["qdel", *ids]


def _render_sub_jobs(array: str, ranges: Sequence[str]) -> Iterator[list[str]]:
    """Yield one call for the ranges of an array, and one for each single sub-job."""
    words = {one: array.replace("[]", f"[{one}]", 1) for one in ranges}
    for some in in_chunks([words[one] for one in ranges if "-" in one], RANGES_PER_CALL):
        yield ["qdel", *some]
    for one in ranges:
        if "-" not in one:
            yield ["qdel", words[one]]


def _is_all_that_lives(
    array: str, indices: Collection[int], records: Mapping[JobId, Record]
) -> bool:
    """Return whether an array has no other sub-jobs left, so that it can be named as a whole."""
    whole = parse_id(array)
    if whole is None:
        return False
    named = {f"[{index}]" for index in indices}
    has_any = False
    for key, record in records.items():
        is_of_it = (key.number, key.server) == (whole.number, whole.server)
        if not is_of_it or key.brackets in ("", "[]"):
            continue
        has_any = True
        if key.brackets not in named and record.get("job_state") not in ENDED_LETTERS:
            return False
    return has_any
