"""Every call with which a cancellation may reach a site's server is one that cannot hurt it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.common import external
from jobs.common.external import Answer
from jobs.schedulers.base import JobHandle
from jobs.schedulers.lsf.scheduler import LsfScheduler
from jobs.schedulers.pbs.delete import render_deletions
from jobs.schedulers.pbs.parse import JobId, Record
from jobs.schedulers.pbs.scheduler import PbsScheduler
from jobs.schedulers.pbs.validate import Dialect
from jobs.schedulers.slurm.scheduler import SlurmScheduler

HOST = "pbs-m1.example.org"
LONGEST_WORD = 100_000  # Linux takes 131,071 characters in one argument
MOST_CHARACTERS = 250_000  # of a call; some sites leave 256 KiB

# What a cancellation names: the elements of an array, those of them that are named, or a plain job.
ELEMENTS = st.sets(st.integers(0, 60), min_size=1)
ARRAYS = st.tuples(ELEMENTS, st.randoms(use_true_random=False))
REQUESTS = st.lists(st.one_of(st.none(), ARRAYS), min_size=1, max_size=6)


def make_request(
    drawn: Iterable[tuple[set[int], object] | None],
) -> tuple[dict[str, set[int]], dict[JobId, Record]]:
    """Named elements by job, and the records of all that live."""
    named: dict[str, set[int]] = {}
    records = {}
    for number, array in enumerate(drawn, start=1):
        if array is None:
            named[f"{number}.{HOST}"] = {0}
            continue
        alive, chance = array
        some = {index for index in alive if chance.random() < 0.6} or set(alive)  # type: ignore[attr-defined]
        named[f"{number}[].{HOST}"] = some
        for index in alive:
            key = JobId(str(number), f"[{index}]", "pbs-m1")
            records[key] = Record(f"{number}[{index}].{HOST}", {"job_state": "Q"})
    return named, records


def array_of(word: str) -> str:
    return re.split(r"[\[.]", word)[0]


def is_single(word: str) -> bool:
    return re.match(r"\d+\[\d+\]", word) is not None


def is_sub_job(word: str) -> bool:
    return re.match(r"\d+\[\d", word) is not None


def elements_of(word: str, alive: Mapping[str, set[int]]) -> set[tuple[str, int]]:
    """What a word of a qdel names."""
    number = array_of(word)
    if not is_sub_job(word):
        return {(number, index) for index in alive[number]}
    low, _, high = word.partition("[")[2].partition("]")[0].partition("-")
    return {(number, index) for index in range(int(low), int(high or low) + 1)}


@given(REQUESTS, st.booleans())
def test_no_qdel_names_what_can_end_a_server(
    drawn: list[tuple[set[int], object] | None], has_history: bool
) -> None:
    named, records = make_request(drawn)
    alive = {str(number): array[0] if array else {0} for number, array in enumerate(drawn, start=1)}

    calls = list(render_deletions(named, records, Dialect.PRO, has_history=has_history))

    reached = set()
    for command, *words in calls:
        assert command == "qdel"
        assert not any(is_single(word) for word in words) or len(words) == 1
        if any(is_sub_job(word) for word in words):
            assert all(is_sub_job(word) for word in words)
            assert len({array_of(word) for word in words}) == 1
        elif not has_history:
            assert len(words) == 1
        for word in words:
            reached |= elements_of(word, alive)
    wanted = {(array_of(native), index) for native, some in named.items() for index in some}
    assert reached == wanted


@given(REQUESTS)
def test_no_qdel_of_torque_names_sub_jobs_of_two_arrays(
    drawn: list[tuple[set[int], object] | None],
) -> None:
    named, records = make_request(drawn)

    for call in render_deletions(named, records, Dialect.TORQUE, has_history=False):
        assert not any(is_sub_job(word) for word in call)
        assert "-t" not in call or len(call) == 4


MANY = range(0, 200_000, 2)  # no two are neighbours


@pytest.mark.parametrize("dialect", list(Dialect))
def test_no_call_of_pbs_is_longer_than_a_system_takes(dialect: Dialect) -> None:
    jobs = {f"{number}.{HOST}": {0} for number in range(10_000)}
    pairs = {index for low in range(0, 30_000, 3) for index in (low, low + 1)}
    some = {f"10001[].{HOST}": pairs}
    others = {
        JobId("10001", f"[{index}]", "pbs-m1"): Record("", {"job_state": "Q"})
        for index in range(30_000)
    }

    check_lengths(list(render_deletions({**jobs, **some}, others, dialect, has_history=True)))


@pytest.mark.parametrize("scheduler", [SlurmScheduler, LsfScheduler])
def test_no_call_of_another_backend_is_longer_than_a_system_takes(
    scheduler: type[SlurmScheduler | LsfScheduler],
) -> None:
    jobs = [JobHandle(scheduler.name, "1000001", index) for index in MANY]
    jobs += [JobHandle(scheduler.name, f"{2_000_000 + number}", 0) for number in range(10_000)]

    calls = list(scheduler().cancel_calls(jobs))

    check_lengths(calls)
    assert len(calls) < 100


@pytest.mark.parametrize(("scheduler", "first"), [(SlurmScheduler, 0), (LsfScheduler, 1)])
@given(st.sets(st.integers(0, 300), min_size=1))
def test_what_a_call_names_is_what_was_asked_for(
    scheduler: type[SlurmScheduler | LsfScheduler], first: int, indices: set[int]
) -> None:
    jobs = [JobHandle(scheduler.name, "17", index) for index in indices]

    calls = list(scheduler().cancel_calls(jobs))

    named = set()
    for call in calls:
        for word in call:
            for ranges in re.findall(r"^17_?\[(.*)\]$", word):
                for part in ranges.split(","):
                    low, _, high = part.partition("-")
                    named |= set(range(int(low), int(high or low) + 1))
    assert named == {index + first for index in indices}


@pytest.mark.parametrize(("is_slow", "calls"), [(False, 2), (True, 25)])
def test_a_query_of_pbs_names_so_many_jobs_and_no_more(
    monkeypatch: pytest.MonkeyPatch, is_slow: bool, calls: int
) -> None:
    """A release without -E opens a connection from a privileged port for each id."""
    asked = []

    def answer(argv: list[str], **_: object) -> Answer:
        if argv[1] == "--version":
            return Answer(0, "pbs_version = 20.0.1", "")
        if is_slow and "-E" in argv:
            return Answer(2, "", "usage: qstat")
        asked.append(argv)
        return Answer(153, "", f"qstat: Unknown Job Id {argv[-1]}")

    monkeypatch.setattr(external, "run", answer)
    jobs = [JobHandle("pbs", f"{number}.{HOST}", 0) for number in range(2_500)]

    PbsScheduler().states(jobs)

    assert len(asked) == calls
    check_lengths(asked)


FORBIDDEN = re.compile(
    r"\b(qalter|qhold|qrls|qmove|qrerun|qsig|qorder|qextend|bmod|bstop|bresume|brequeue)\b"
    r"|scontrol (hold|release|update|suspend)"
)


def test_no_command_that_changes_other_jobs_is_ever_called() -> None:
    root = Path(__file__).resolve().parents[3]
    sources = [path for name in ("jobs", "anlp") for path in (root / name).rglob("*.py")]

    assert len(sources) > 100
    found = {path.name for path in sources if FORBIDDEN.search(path.read_text())}
    assert found == set()


def check_lengths(calls: Iterable[list[str]]) -> None:
    for call in calls:
        assert max(map(len, call)) < LONGEST_WORD
        assert sum(len(word) + 1 for word in call) < MOST_CHARACTERS
