from __future__ import annotations

import argparse
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from anlp.core.errors import SchedulerError, UserError
from anlp.records.files import read_jsonl
from anlp.records.folders import GridFolder
from anlp.records.options import RunOptions
from anlp.records.results import RunState
from jobs import status
from jobs.config.resources import Resources
from jobs.runs import recovery
from jobs.runs.journal import ExitRecord, Journal
from jobs.runs.options import SubmitOptions, last_options
from jobs.runs.status import NO_RESULT, read_states
from jobs.schedulers import plugins, registry
from jobs.schedulers.base import Batch, Cause, JobState, Phase, Setup
from jobs.schedulers.local.events import ElementEnded, Summary, Tick
from jobs.schedulers.local.scheduler import LocalScheduler
from jobs.submission.arguments import (
    Overrides,
    add_submit_arguments,
    override,
    read_overrides,
)
from jobs.submission.foreground import ExitRecorder, count_states, ending_of
from jobs.submission.launch import submit_specs
from tests.support.grids import (
    GONE,
    a_spec,
    finish,
    hold_lock_elsewhere,
    journal_lines,
    lose,
    start,
)
from tests.support.grids import submit as made_submit
from tests.support.quick_runner import QUICK, use_quick_runner

SPECS = [a_spec(0, lr=lr) for lr in (0.1, 0.2, 0.3)]
QUIET = SubmitOptions(quiet=True)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GridFolder:
    use_quick_runner(monkeypatch, tmp_path)
    return GridFolder(tmp_path / "study")


def lines_of(folder: GridFolder, number: int) -> list[dict[str, Any]]:
    return list(read_jsonl(folder.batches / f"{number}.jsonl"))


def events_of(folder: GridFolder) -> list[str]:
    return [line["event"] for line in journal_lines(folder)]


# --- submitting


@pytest.mark.slow
def test_the_intent_is_written_before_the_scheduler_is_asked(folder: GridFolder) -> None:
    assert submit_specs(folder, SPECS, QUIET, redo="none") == 0

    assert events_of(folder) == ["intent", "accepted", "answered"]
    assert [line["specs"][0]["run_id"] for line in lines_of(folder, 1)] == [
        spec.run_id for spec in SPECS
    ]


@pytest.mark.slow
def test_what_another_submit_took_meanwhile_is_left_out(
    folder: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    made_submit(folder, SPECS[:2])

    assert submit_specs(folder, SPECS, QUIET, redo="none") == 0

    assert [line["specs"][0]["run_id"] for line in lines_of(folder, 2)] == [SPECS[2].run_id]
    assert "2 of these runs were taken by another submit meanwhile" in capsys.readouterr().out


def test_nothing_is_written_when_another_submit_took_everything(
    folder: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    made_submit(folder, SPECS)

    assert submit_specs(folder, SPECS, QUIET, redo="none") == 0

    assert "nothing to submit: 3 queued" in capsys.readouterr().out
    assert len(list(folder.batches.iterdir())) == 1


def test_a_refusal_is_on_record_and_leaves_the_runs_new(
    folder: GridFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refusing(LocalScheduler):
        def submit(self, batch: Batch, resources: Resources, accepted: Any = None) -> Any:
            raise SchedulerError("local: no")

    monkeypatch.setitem(plugins._registered, "local", Refusing)

    with pytest.raises(SchedulerError, match="local: no"):
        submit_specs(folder, SPECS, QUIET, redo="none")

    assert events_of(folder) == ["intent", "refused"]
    assert read_states(folder, registry.states) == {}


def test_a_grid_that_another_command_keeps_is_a_sentence(
    folder: GridFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = hold_lock_elsewhere(folder)
    original = Journal.locked
    monkeypatch.setattr(Journal, "locked", lambda self, patience_s=0.0: original(self, 0.0))

    with pytest.raises(
        UserError, match=r"study: another command is at work on this grid \(held by process \d+ on"
    ):
        submit_specs(folder, SPECS, QUIET, redo="none")

    holder.kill()
    holder.communicate()


def test_a_disk_that_is_full_after_the_scheduler_answered_leaves_no_pool(
    folder: GridFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[LocalScheduler] = []

    class Noting(LocalScheduler):
        @classmethod
        def create(cls, setup: Setup) -> LocalScheduler:
            made.append(LocalScheduler(slots=setup.slots, pool=QUICK))
            return made[-1]

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(plugins._registered, "local", Noting)
    monkeypatch.setattr(Journal, "accepted", fail)

    with pytest.raises(UserError, match="study: cannot be written"):
        submit_specs(folder, SPECS, QUIET, redo="none")

    assert made[0].is_closed


@pytest.mark.slow
def test_a_run_keeps_the_purpose_it_was_submitted_for(folder: GridFolder) -> None:
    tag = made_submit(folder, SPECS[:1], purpose="confirm", launcher=GONE)
    lose(folder, tag, 0, Cause.SIGNAL)

    submit_specs(folder, SPECS, QUIET, redo="failed")

    assert [line["options"]["purpose"] for line in lines_of(folder, 2)] == [
        "confirm",
        "search",
        "search",
    ]


@pytest.mark.slow
def test_batches_are_numbered_past_other_files_beside_them(folder: GridFolder) -> None:
    folder.batches.mkdir(parents=True)
    for name in ("7.jsonl", "7 copy.jsonl", "notes.jsonl"):
        (folder.batches / name).touch()

    submit_specs(folder, SPECS, QUIET, redo="none")

    assert len(lines_of(folder, 8)) == 3


# --- where and how


def options_of(*words: str) -> Overrides:
    parser = argparse.ArgumentParser()
    add_submit_arguments(parser)
    return read_overrides(parser.parse_args(words))


def test_every_resource_can_be_asked_for_on_the_command_line() -> None:
    words = (
        "--gpus 1 --gpu-type a100 --cpus 4 --mem 8G --time 2h "
        "--queue gpu --account a1 --qos high --nodes 2"
    )
    more = [
        "--constraint",
        "ib&ssd",
        "--exclude",
        "n[1-3]",
        "--extra=--nice=50",
        "--extra=--reservation=r",
    ]

    asked = override(
        SubmitOptions(resources=Resources(extra=("--mail-type=END",))),
        options_of(*words.split(), *more),
    )

    assert asked.resources == Resources(
        gpus=1,
        cpus=4,
        mem_mib=8192,
        walltime_min=120,
        queue="gpu",
        account="a1",
        qos="high",
        gpu_type="a100",
        constraint="ib&ssd",
        exclude="n[1-3]",
        nodes=2,
        extra=("--mail-type=END", "--nice=50", "--reservation=r"),
    )


def test_the_command_line_overrides_what_the_file_says() -> None:
    words = "--on local --slots 3 --time 2h --mem 8G --gpus 1 --device cpu --wandb offline -q"
    words += " --canary --retries 2 --stop-after 0"
    given = SubmitOptions(resources=Resources(cpus=4), options=RunOptions(stop_after=10))

    target = override(given, options_of(*words.split()))

    assert target.resources == Resources(gpus=1, cpus=4, mem_mib=8192, walltime_min=120)
    assert (target.on, target.slots, target.quiet) == ("local", 3, True)
    assert (target.options.device, target.options.wandb.mode) == ("cpu", "offline")
    assert (target.canary, target.options.retries, target.options.stop_after) == (True, 2, 0)
    assert override(given, options_of()) == given


@pytest.mark.parametrize(
    ("words", "said"), [("--time soon", "--time: expected a time"), ("--mem x", "--mem: expected")]
)
def test_a_wrong_amount_names_its_option(words: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        override(SubmitOptions(), options_of(*words.split()))


def test_the_last_target_is_that_of_the_last_submission(folder: GridFolder) -> None:
    with pytest.raises(UserError, match="study: nothing was submitted yet"):
        last_options(folder)
    made_submit(folder, SPECS, purpose="confirm")

    assert last_options(folder).options.purpose == "confirm"


# --- following


def ended(index: int, code: int | None, cause: Cause | None = None) -> ElementEnded:
    return ElementEnded(index, JobState(Phase.ENDED, cause, "detail" if cause else ""), code)


def test_endings_are_written_together_at_the_next_tick(folder: GridFolder) -> None:
    tag = made_submit(folder, SPECS)
    endings = ExitRecorder(
        Journal(folder), Batch(tag, "study", folder.batches / "1.jsonl", 3), SPECS
    )

    for index in range(3):
        endings.on_event(ended(index, None, Cause.SIGNAL))
    assert "ended" not in events_of(folder)
    endings.on_event(Tick())
    endings.on_event(Tick())

    assert events_of(folder).count("ended") == 3
    assert {status.state for status in read_states(folder, registry.states).values()} == {
        RunState.LOST
    }


def test_a_lock_that_is_held_delays_no_event_and_loses_no_ending(folder: GridFolder) -> None:
    tag = made_submit(folder, SPECS)
    endings = ExitRecorder(
        Journal(folder), Batch(tag, "study", folder.batches / "1.jsonl", 3), SPECS
    )
    holder = hold_lock_elsewhere(folder)

    began = time.monotonic()
    endings.on_event(ended(0, None, Cause.TIMEOUT))
    endings.on_event(Tick())
    assert time.monotonic() - began < 60.0  # the holder of the grid may keep it for two minutes
    holder.kill()
    holder.communicate()
    assert "ended" not in events_of(folder)
    endings.write_rest()

    assert events_of(folder).count("ended") == 1


def test_endings_that_cannot_be_written_are_said(
    folder: GridFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tag = made_submit(folder, SPECS)
    endings = ExitRecorder(
        Journal(folder), Batch(tag, "study", folder.batches / "1.jsonl", 3), SPECS
    )

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Journal, "all_ended", fail)
    endings.on_event(ended(0, None, Cause.SIGNAL))
    endings.on_event(Tick())
    endings.write_rest()

    assert "1 ended without a result, and that could not be written down" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("code", "cause", "expected"),
    [
        (None, Cause.SIGNAL, ExitRecord(Cause.SIGNAL, "detail")),
        (1, None, ExitRecord(Cause.EXIT, NO_RESULT)),
        (0, None, ExitRecord(Cause.EXIT, NO_RESULT)),
        (4, None, None),  # another process is at it
    ],
)
def test_an_ending_is_recorded_where_there_is_no_result(
    folder: GridFolder, code: int | None, cause: Cause | None, expected: ExitRecord | None
) -> None:
    assert ending_of(ended(0, code, cause), folder.run("x"), "tag") == expected


def test_the_summary_counts_what_became_of_each_run(folder: GridFolder) -> None:
    tag = made_submit(folder, SPECS)
    finish(folder, SPECS[0], tag)
    summary = Summary({0: ended(0, 0), 1: ended(1, 1)}, (2,), signal.SIGINT)

    counts = count_states(folder, SPECS, summary, tag)

    assert dict(counts) == {RunState.DONE: 1, RunState.LOST: 1, RunState.INTERRUPTED: 1}


@pytest.mark.slow
def test_ten_thousand_endings_take_one_writing(folder: GridFolder) -> None:
    specs = [SPECS[0]] * 10_000
    endings = ExitRecorder(
        Journal(folder), Batch("tag", "study", folder.batches / "1.jsonl", len(specs)), specs
    )

    for index in range(len(specs)):
        endings.on_event(ended(index, None, Cause.CANCELLED))
    endings.write_rest()

    assert len(journal_lines(folder)) == 10_000
    assert len(list(folder.lock.iterdir())) == 1


# --- runs of a submit that was killed


def test_orphans_that_stay_are_taken_for_running(folder: GridFolder) -> None:
    made_submit(folder, SPECS[:1], launcher=GONE)
    said: list[str] = []
    with start(folder, SPECS[0]):
        states = recovery.wait_for_orphans(folder, say=said.append, patience_s=0.3)

    assert said == ["waiting for 1 runs of a submit that was killed: they save their checkpoints"]
    assert states[SPECS[0].run_id].state is RunState.RUNNING


def test_runs_of_a_living_submit_are_no_orphans(folder: GridFolder) -> None:
    made_submit(folder, SPECS[:1])
    said: list[str] = []
    with start(folder, SPECS[0]):
        recovery.wait_for_orphans(folder, say=said.append)

    assert said == []


def test_ended_runs_of_a_submit_that_is_gone_are_no_orphans(folder: GridFolder) -> None:
    tag = made_submit(folder, SPECS, launcher=GONE)
    finish(folder, SPECS[0], tag)
    lose(folder, tag, 1, Cause.SIGNAL)

    assert recovery.count_orphans(read_states(folder, registry.states).values()) == 0


# --- retries, and too many failures in a row


def with_options(**options: Any) -> SubmitOptions:
    return SubmitOptions(quiet=True, options=RunOptions(**options))


def attempts_of(folder: GridFolder) -> list[int]:
    return [len(list(folder.run(spec.run_id).attempts.iterdir())) for spec in SPECS]


@pytest.mark.slow
def test_what_its_machine_ended_is_repeated_in_the_same_command(
    folder: GridFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("QUICK_DIE_ONCE", "0.1 0.3")

    assert submit_specs(folder, SPECS, with_options(retries=1), redo="none") == 0

    assert attempts_of(folder) == [2, 1, 2]
    assert "study: 2 runs are repeated: their machine ended them" in capsys.readouterr().out


@pytest.mark.slow
def test_repeating_ends_after_as_many_times_as_the_grid_says(
    folder: GridFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUICK_DIE", "0.1")

    assert submit_specs(folder, SPECS, with_options(retries=2), redo="none") == 1
    assert (
        submit_specs(folder, SPECS, with_options(retries=2), redo="none") == 0
    )  # nothing is due any more

    assert attempts_of(folder) == [3, 1, 1]


@pytest.mark.slow
def test_without_retries_and_for_exceptions_nothing_is_repeated(
    folder: GridFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUICK_DIE_ONCE", "0.1")
    monkeypatch.setenv("QUICK_FAIL", "0.2")

    assert submit_specs(folder, SPECS[:1], QUIET, redo="none") == 1
    assert submit_specs(folder, SPECS[1:], with_options(retries=3), redo="none") == 1

    assert attempts_of(folder) == [1, 1, 1]


@pytest.mark.slow
def test_the_next_submit_takes_what_is_due(folder: GridFolder) -> None:
    tag = made_submit(folder, SPECS, launcher=GONE)
    lose(folder, tag, 0, Cause.NODE)
    lose(folder, tag, 1, Cause.TIMEOUT)
    finish(folder, SPECS[2], tag)

    assert submit_specs(folder, SPECS, with_options(retries=1), redo="none") == 0

    states = read_states(folder, registry.states)
    assert [states[spec.run_id].state for spec in SPECS] == [
        RunState.DONE,
        RunState.LOST,
        RunState.DONE,
    ]


@pytest.mark.slow
def test_after_too_many_alike_failures_the_rest_does_not_begin(
    folder: GridFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("QUICK_FAIL", "0.1 0.2")

    assert (
        submit_specs(folder, SPECS, replace(with_options(stop_after=2), slots=1), redo="none") == 1
    )

    states = read_states(folder, registry.states)
    assert [states[spec.run_id].state for spec in SPECS] == [
        RunState.FAILED,
        RunState.FAILED,
        RunState.INTERRUPTED,
    ]
    assert states[SPECS[2].run_id].cause is Cause.SKIPPED
    assert not folder.run(SPECS[2].run_id).path.exists()
    assert (
        "held back: 2 runs in a row failed with ValueError: as it was told"
        in capsys.readouterr().out
    )
    status.main(["study"])
    assert (
        "held back: 2 runs in a row failed with ValueError: as it was told"
        in capsys.readouterr().out
    )


@pytest.mark.slow
def test_a_new_submission_counts_anew(folder: GridFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUICK_FAIL", "0.1 0.2")
    target = replace(with_options(stop_after=2), slots=1)
    submit_specs(folder, SPECS, target, redo="none")

    assert submit_specs(folder, SPECS, target, redo="none") == 0

    assert read_states(folder, registry.states)[SPECS[2].run_id].state is RunState.DONE
