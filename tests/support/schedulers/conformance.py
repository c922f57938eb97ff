"""What holds for every scheduler: a backend's test is a subclass of `SchedulerConformance` with a
`bench` fixture.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import pytest

from anlp.core.errors import SchedulerError
from jobs.config.resources import Resources
from jobs.schedulers.base import Batch, Cause, JobHandle, JobState, Phase, Scheduler

EXAMPLES: Mapping[str, Any] = {
    "gpus": 1,
    "cpus": 3,
    "mem_mib": 1234,
    "walltime_min": 77.0,
    "queue": "long",
    "account": "physics",
    "qos": "high",
    "gpu_type": "a100",
    "constraint": "fast",
    "exclude": "node7",
    "nodes": 2,
    "extra": ("--exclusive",),
}
# fields whose examples some schedulers refuse for their form, or for what is missing beside them
OF_ITS_OWN_FORM = frozenset({"gpu_type", "constraint", "extra"})


class Bench(Protocol):
    """A scheduler with what a test needs around it; elements behave as
    `scripted_elements.BEHAVIOURS` says.
    """

    scheduler: Scheduler

    def batch(self, *behaviours: str) -> Batch:
        """A batch file with one element per behaviour."""

    def settle(
        self, jobs: Sequence[JobHandle], meanwhile: Callable[[], object] = lambda: None
    ) -> Mapping[JobHandle, JobState]:
        """The states once all have ended; `meanwhile` is called again and again until then."""

    def output(self, batch: Batch, index: int) -> str:
        """What the element printed or wrote to its log."""

    def effect(self, resources: Resources) -> str:
        """All that the backend does with `resources`, as text: its script, its arguments, its
        notes.
        """


class SchedulerConformance:
    """Inherit, and provide the fixture `bench`."""

    def test_submit_returns_a_handle_for_each_element_in_order(self, bench: Bench) -> None:
        handles = bench.scheduler.submit(bench.batch("ok", "ok", "ok"), Resources())

        assert [handle.index for handle in handles] == [0, 1, 2]
        assert {handle.scheduler for handle in handles} == {bench.scheduler.name}
        assert len(set(handles)) == 3

    def test_states_answers_for_every_job_and_the_unknown_counts_as_alive(
        self, bench: Bench
    ) -> None:
        handles = bench.scheduler.submit(bench.batch("ok", "ok"), Resources())
        stranger = JobHandle(bench.scheduler.name, "never-heard-of-it", 0)

        states = bench.scheduler.states([*handles, stranger])

        assert set(states) == {*handles, stranger}
        assert states[stranger].phase is not Phase.ENDED

    def test_states_of_nothing_is_nothing(self, bench: Bench) -> None:
        assert bench.scheduler.states([]) == {}

    def test_what_ran_to_its_end_has_no_cause(self, bench: Bench) -> None:
        handles = bench.scheduler.submit(bench.batch("ok", "exit 1"), Resources())

        states = bench.settle(handles)

        assert [(states[handle].phase, states[handle].cause) for handle in handles] == [
            (Phase.ENDED, None)
        ] * 2

    @pytest.mark.parametrize(
        ("behaviour", "cause"),
        [
            ("signal 9", Cause.SIGNAL),
            ("segv", Cause.SIGNAL),
            ("hard_exit 7", Cause.EXIT),
            ("raise", Cause.EXIT),
            ("exit 3", Cause.CONTINUE),
            ("exit 5", Cause.SKIPPED),
            ("exit 6", Cause.DISK_FULL),
        ],
    )
    def test_what_ended_without_a_result_has_a_cause_and_touches_no_other(
        self, bench: Bench, behaviour: str, cause: Cause
    ) -> None:
        handles = bench.scheduler.submit(bench.batch("ok", behaviour, "sleep 0.1"), Resources())

        states = bench.settle(handles)

        assert [states[handle].cause for handle in handles] == [None, cause, None]
        assert states[handles[1]].detail

    def test_what_another_process_holds_ends_without_blame(self, bench: Bench) -> None:
        handles = bench.scheduler.submit(bench.batch("exit 4"), Resources())

        state = bench.settle(handles)[handles[0]]

        assert (state.phase, state.cause) == (Phase.ENDED, None)

    def test_cancel_stops_what_it_names_and_nothing_else(self, bench: Bench) -> None:
        handles = bench.scheduler.submit(bench.batch("sleep 60", "ok", "sleep 60"), Resources())

        states = bench.settle(handles, lambda: bench.scheduler.cancel([handles[0], handles[2]]))

        assert [states[handle].cause for handle in handles] == [
            Cause.CANCELLED,
            None,
            Cause.CANCELLED,
        ]

    def test_the_time_limit_is_kept(self, bench: Bench) -> None:
        handles = bench.scheduler.submit(bench.batch("sleep 60"), Resources(walltime_min=0.5 / 60))

        assert bench.settle(handles)[handles[0]].cause is Cause.TIMEOUT

    def test_what_an_element_prints_is_kept_apart_from_the_others(self, bench: Bench) -> None:
        batch = bench.batch("ok", "ok")
        handles = bench.scheduler.submit(batch, Resources())
        bench.settle(handles)

        assert "element 0" in bench.output(batch, 0)
        assert "element 1" in bench.output(batch, 1)
        assert "element 1" not in bench.output(batch, 0)

    @pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Resources)])
    def test_every_field_of_resources_is_used_or_refused(self, bench: Bench, name: str) -> None:
        effect, refusal = _effect_of(bench, name)

        assert name in refusal or effect != bench.effect(Resources())

    @pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Resources)])
    def test_unsupported_names_what_it_refuses(self, bench: Bench, name: str) -> None:
        effect, refusal = _effect_of(bench, name)

        # `--help` names the schedulers that take a field, and reads that from `unsupported`
        if name in bench.scheduler.unsupported:
            assert refusal or effect != bench.effect(Resources())
        elif name not in OF_ITS_OWN_FORM:
            assert not refusal


def _effect_of(bench: Bench, name: str) -> tuple[str, str]:
    """What the backend does with one field of `Resources`, or how it refuses it."""
    try:
        return bench.effect(Resources(**{name: EXAMPLES[name]})), ""
    except SchedulerError as error:
        return "", str(error)


class DependencyConformance:
    """What holds beside that where jobs can wait for others (`Batch.after`)."""

    def test_elements_apart_are_jobs_of_their_own(self, bench: Bench) -> None:
        handles = bench.scheduler.submit(
            dataclasses.replace(bench.batch("ok", "ok"), apart=True), Resources()
        )

        assert len({handle.native_id for handle in handles}) == 2

    def test_what_waits_starts_once_what_it_waits_for_has_ended_well(
        self, bench: Bench, tmp_path: Path
    ) -> None:
        may_end = tmp_path / "may-end"
        first = dataclasses.replace(bench.batch(f"wait_for {may_end}", "ok"), apart=True)
        canaries = bench.scheduler.submit(first, Resources())
        after = tuple(handle.native_id for handle in canaries)
        rest = dataclasses.replace(bench.batch(f"stamp {tmp_path / 'rest'}", "ok"), after=after)

        handles = bench.scheduler.submit(rest, Resources())

        assert bench.scheduler.states(handles)[handles[0]].phase is Phase.QUEUED
        allowed = time.monotonic()
        may_end.touch()
        assert {state.cause for state in bench.settle([*canaries, *handles]).values()} == {None}
        assert float((tmp_path / "rest").read_text()) > allowed

    def test_what_waits_for_something_that_fails_never_starts(
        self, bench: Bench, tmp_path: Path
    ) -> None:
        canaries = bench.scheduler.submit(
            dataclasses.replace(bench.batch("ok", "exit 1"), apart=True), Resources()
        )
        after = tuple(handle.native_id for handle in canaries)
        rest = dataclasses.replace(bench.batch(f"stamp {tmp_path / 'rest'}", "ok"), after=after)

        handles = bench.scheduler.submit(rest, Resources())
        states = bench.settle(handles)

        # a scheduler that has forgotten the job leaves the rest to the journal, which names what it
        # waited for
        assert {states[handle].cause for handle in handles} <= {Cause.SKIPPED, Cause.UNKNOWN}
        assert not (tmp_path / "rest").exists()
