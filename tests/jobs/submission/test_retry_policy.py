from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from anlp.records.folders import GridFolder
from anlp.records.results import Outcome, RunError, RunResult, RunState
from jobs.config.resources import Resources
from jobs.runs.failures import is_configuration_error, is_device_out_of_memory, is_out_of_memory
from jobs.runs.status import RunStatus
from jobs.schedulers.base import Cause
from jobs.submission.retry_policy import LEFT, FailedRun, Policy, RetryDecision, decide
from tests.support.grids import a_spec, an_error

SPEC = a_spec()
FOLDER = GridFolder(Path("demo")).run(SPEC.run_id)
ASKED = Resources(mem_mib=4096, walltime_min=60)
PLAIN = Policy()


def lost(
    cause: Cause, *, first: Resources = ASKED, last: Resources | None = None, **known: Any
) -> FailedRun:
    node = known.pop("node", "")
    status = RunStatus(SPEC.run_id, {}, RunState.LOST, FOLDER, cause=cause, node=node)
    return FailedRun(status, first, first if last is None else last, **known)


def failed(error: RunError | None, *, asked: Resources = ASKED, **known: Any) -> FailedRun:
    result = RunResult(SPEC.run_id, Outcome.FAILED, error=error)
    return FailedRun(
        RunStatus(SPEC.run_id, {}, RunState.FAILED, FOLDER, result), asked, asked, **known
    )


def memory_of(remedy: RetryDecision) -> int | None:
    return remedy.ask.mem_mib if remedy.ask else None


# --- memory


def test_a_run_that_met_its_memory_limit_gets_half_as_much_again() -> None:
    remedy = decide(lost(Cause.OUT_OF_MEMORY), PLAIN)

    assert remedy == RetryDecision(
        "again with 6 GiB of memory", "it had 4 GiB", replace(ASKED, mem_mib=6144)
    )


def test_memory_is_bounded_by_four_times_what_the_grid_asked_for_at_first() -> None:
    last = replace(ASKED, mem_mib=12 * 1024)

    assert memory_of(decide(lost(Cause.OUT_OF_MEMORY, last=last), PLAIN)) == 16 * 1024
    full = decide(lost(Cause.OUT_OF_MEMORY, last=replace(ASKED, mem_mib=16 * 1024)), PLAIN)
    assert (full.action, full.ask) == (LEFT, None)
    assert full.why == "it had 16 GiB, the most that is given; more: --most-mem or --mem"


@pytest.mark.parametrize(
    ("detail", "mem_mib"),
    [
        ("exceeded resource mem: used 12582912kb of 4096mb", 15360),  # 12 GiB and a quarter
        ("exceeded resource mem: used 4194400kb of 4096mb", 6144),
        ("killed when its memory was full: used 4000000kb of 4gb", 6144),
        ("used 8.0 of 4.0 GiB", 10240),
        ("used 15.0 of 4.0 GiB", 16384),  # four times what the grid asked for
        ("exceeded resource mem: used 24gb of 8gb", 15360),  # two runs shared the job
        ("exceeded resource mem: used 5..gb of 0gb", 6144),
    ],
)
def test_a_run_gets_what_it_had_used_and_a_margin(detail: str, mem_mib: int) -> None:
    case = lost(Cause.OUT_OF_MEMORY)
    case = replace(case, status=replace(case.status, detail=detail))

    assert memory_of(decide(case, PLAIN)) == mem_mib


def test_less_than_a_run_had_used_is_not_tried_again() -> None:
    case = lost(Cause.OUT_OF_MEMORY)
    case = replace(case, status=replace(case.status, detail="used 20.0 of 4.0 GiB"))

    remedy = decide(case, PLAIN)

    assert (remedy.action, remedy.ask) == (LEFT, None)
    assert remedy.why == (
        "it had 4 GiB and used 20 GiB, more than 16 GiB, the most that is given; "
        "more: --most-mem or --mem"
    )


def test_the_bound_of_memory_can_be_given() -> None:
    assert memory_of(decide(lost(Cause.OUT_OF_MEMORY), Policy(most_mem_mib=5000))) == 5000
    assert memory_of(decide(lost(Cause.OUT_OF_MEMORY), Policy(most_mem_mib=4096))) is None


def test_memory_that_is_given_counts() -> None:
    remedy = decide(lost(Cause.OUT_OF_MEMORY, first=Resources()), Policy(mem_mib=8192))

    assert (remedy.why, memory_of(remedy)) == ("--mem", 8192)


def test_where_the_memory_of_before_is_unknown_the_user_must_say() -> None:
    remedy = decide(lost(Cause.OUT_OF_MEMORY, first=Resources()), PLAIN)

    assert (remedy.action, remedy.why) == (
        LEFT,
        "how much memory it had is not known; say how much it gets: --mem",
    )


@pytest.mark.parametrize(
    ("error", "device"),
    [
        (an_error("OutOfMemoryError", "CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (an_error("RuntimeError", "CUDA error: out of memory"), True),
        (an_error("RuntimeError", "HIP out of memory"), True),
        (an_error("MemoryError", ""), False),
        (
            an_error(
                "RuntimeError",
                "[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: not enough memory",
            ),
            False,
        ),
        (an_error("OSError", "[Errno 12] Cannot allocate memory"), False),
        (an_error("RuntimeError", "std::bad_alloc"), False),
    ],
)
def test_memory_of_the_host_is_given_only_where_that_was_short(
    error: RunError, device: bool
) -> None:
    remedy = decide(failed(error), PLAIN)

    assert (is_out_of_memory(error), is_device_out_of_memory(error)) == (True, device)
    assert memory_of(remedy) == (None if device else 6144)
    assert ("lower batch_size" in remedy.why) is device


def test_a_run_that_shared_a_full_device_gets_it_alone() -> None:
    error = an_error("OutOfMemoryError", "CUDA out of memory")

    assert decide(failed(error, shared_device=True), PLAIN).action == "again, alone"


# --- time


def test_a_run_that_got_further_is_continued_with_the_same_time() -> None:
    remedy = decide(lost(Cause.TIMEOUT, has_progressed=True), PLAIN)

    assert remedy == RetryDecision("continued", "its checkpoint has got further", ASKED)


def test_a_run_that_got_nowhere_gets_half_as_much_time_again_within_bounds() -> None:
    remedies = [
        decide(lost(Cause.TIMEOUT, last=replace(ASKED, walltime_min=minutes)), PLAIN)
        for minutes in (60, 200, 240)
    ]

    assert [remedy.ask and remedy.ask.walltime_min for remedy in remedies] == [90, 240, None]
    assert [remedy.action for remedy in remedies] == [
        "again with 1 h 30 min of time",
        "again with 4 h of time",
        LEFT,
    ]
    assert remedies[2].why.endswith("more: --most-time or --time")
    bounded = decide(lost(Cause.TIMEOUT), Policy(most_walltime_min=70))
    assert bounded.ask == replace(ASKED, walltime_min=70)


def test_time_that_is_given_counts_and_an_unknown_limit_is_asked_for() -> None:
    given = decide(lost(Cause.TIMEOUT, has_progressed=True), Policy(walltime_min=120))
    unknown = decide(lost(Cause.TIMEOUT, first=Resources()), PLAIN)

    assert given == RetryDecision(
        "continued with 2 h of time", "--time", replace(ASKED, walltime_min=120)
    )
    assert (unknown.action, unknown.why.endswith("--time")) == (LEFT, True)


# --- machines


def test_a_node_that_fails_again_and_again_is_left_out_where_the_scheduler_can() -> None:
    case = lost(Cause.NODE, node="n7", first=replace(ASKED, exclude="n1"))
    bad = frozenset({"n7", "n9"})

    assert decide(case, PLAIN) == RetryDecision("again", "its node failed, not the run", case.last)
    excluding = decide(case, Policy(bad_nodes=bad, can_exclude=True))
    assert (excluding.action, excluding.ask and excluding.ask.exclude) == (
        "again, not on n7",
        "n1,n7,n9",
    )
    elsewhere = decide(case, Policy(bad_nodes=bad))
    assert (elsewhere.why, elsewhere.ask) == (
        "n7 failed more than once, but cannot be left out here",
        case.last,
    )


def test_every_repeat_avoids_a_bad_node() -> None:
    remedy = decide(lost(Cause.SIGNAL), Policy(bad_nodes=frozenset({"n7"}), can_exclude=True))

    assert remedy.ask == replace(ASKED, exclude="n7")


@pytest.mark.parametrize(
    "cause",
    [Cause.SIGNAL, Cause.UNKNOWN, Cause.NOT_STARTED, Cause.LAUNCHER, Cause.EXIT],
    ids=lambda cause: cause.name,
)
def test_what_ended_for_no_known_reason_is_repeated_as_it_was(cause: Cause) -> None:
    assert decide(lost(cause), PLAIN) == RetryDecision("again", "as it was", ASKED)


# --- exceptions


@pytest.mark.parametrize(
    ("kind", "epoch", "expected"),
    [
        ("SpecError", 3, True),
        ("UserError", None, True),
        ("ValueError", None, True),
        ("TypeError", None, True),
        ("KeyError", None, True),
        ("ValueError", 0, False),  # there was a trainer: data or numbers, perhaps
        ("FileNotFoundError", None, False),
        ("OSError", None, False),
        ("RuntimeError", 2, False),
    ],
)
def test_a_fault_of_the_configuration_is_repeated_only_by_force(
    kind: str, epoch: int | None, expected: bool
) -> None:
    error = an_error(kind, epoch=epoch)

    assert is_configuration_error(error) is expected
    remedy, forced = (
        decide(failed(error), PLAIN),
        decide(failed(error), Policy(force=True)),
    )
    assert (remedy.action, remedy.ask) == ((LEFT, None) if expected else ("again", ASKED))
    assert forced.ask == ASKED


def test_a_failure_without_a_word_is_repeated() -> None:
    assert decide(failed(None), PLAIN).ask == ASKED
