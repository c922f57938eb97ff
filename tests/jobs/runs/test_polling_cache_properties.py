"""What holds for every answer of a scheduler: the cache gives it back, and any damage of the file
is nothing known.
"""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from jobs.runs.polling_cache import CachedState, JobStateCache, read_cache, write_cache
from jobs.schedulers.base import Cause, JobHandle, JobState, Phase, parse_signal
from tests.support.properties import repeatable

handles = st.builds(
    JobHandle, st.sampled_from(["slurm", "pbs"]), st.sampled_from(["7", "8[]"]), st.integers(0, 30)
)


def a_state(phase: Phase, cause: Cause | None, detail: str, node: str) -> JobState:
    """A state as a backend gives it: the number of a signal is that which its detail names."""
    number = parse_signal(detail) if cause is Cause.SIGNAL else None
    return JobState(phase, cause, detail, node, number)


states = st.builds(
    a_state,
    st.sampled_from(Phase),
    st.none() | st.sampled_from(Cause),
    st.text(max_size=6),
    st.text(max_size=3),
)
caches = st.builds(
    JobStateCache,
    st.dictionaries(handles, st.builds(CachedState, states, st.floats(0, 2e9)), max_size=40),
    st.dictionaries(st.sampled_from(["slurm", "pbs"]), st.lists(st.text(max_size=8)).map(tuple)),
)


@repeatable
@given(cache=caches)
def test_what_is_remembered_is_read_back(tmp_path: Path, cache: JobStateCache) -> None:
    write_cache(tmp_path / "states.json", cache)

    assert read_cache(tmp_path / "states.json") == cache


@repeatable
@given(cache=caches, data=st.data())
def test_a_damaged_file_is_nothing_known(
    tmp_path: Path, cache: JobStateCache, data: st.DataObject
) -> None:
    path = tmp_path / "states.json"
    write_cache(path, cache)
    content = path.read_bytes()
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])

    assert read_cache(path) == JobStateCache()
