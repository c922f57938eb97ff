from __future__ import annotations

import os
from pathlib import Path

import pytest

from anlp.core.errors import EXIT_RUNS_FAILED, EXIT_SKIPPED
from anlp.records import circuit_breaker
from anlp.records.folders import GridFolder
from anlp.records.results import RunError
from anlp.run import run_element
from tests.support.tiny_runs import write_batch

SHAPE = RunError("ValueError", "got 7 classes", '  File "/a/loop.py", line 1, in step', 0)
SHAPE_AGAIN = RunError("ValueError", "got 9 classes", '  File "/a/loop.py", line 5, in step', 3)
OTHER = RunError("KeyError", "'lr'", "", None)


@pytest.fixture
def batch(tmp_path: Path) -> Path:
    return tmp_path / "1.jsonl"


def note_all(
    batch: Path, *errors: RunError | None, stop_after: int = 3
) -> list[circuit_breaker.Tripped | None]:
    return [
        circuit_breaker.note(batch, str(number), error, stop_after=stop_after)
        for number, error in enumerate(errors)
    ]


def test_as_many_alike_failures_as_are_too_many_stop_the_batch(batch: Path) -> None:
    assert note_all(batch, SHAPE, SHAPE_AGAIN) == [None, None]
    assert circuit_breaker.read(batch) is None

    [tripped] = note_all(batch, SHAPE)

    assert circuit_breaker.read(batch) == tripped
    assert str(tripped) == "3 runs in a row failed with ValueError: got N classes, in loop.py step"


def test_only_one_run_is_told_that_it_stopped_the_batch(batch: Path) -> None:
    told = note_all(batch, *[SHAPE] * 5)

    assert [tripped is not None for tripped in told] == [False, False, True, False, False]


def test_a_run_that_ended_well_begins_a_new_count(batch: Path) -> None:
    note_all(batch, SHAPE, SHAPE, None, SHAPE, SHAPE)

    assert circuit_breaker.read(batch) is None


def test_other_failures_in_between_neither_count_nor_begin_a_new_count(batch: Path) -> None:
    note_all(batch, SHAPE, OTHER, SHAPE, OTHER)
    assert circuit_breaker.read(batch) is None

    note_all(batch, SHAPE)

    assert circuit_breaker.read(batch) is not None


def test_where_no_number_is_too_many_nothing_is_written(batch: Path) -> None:
    note_all(batch, *[SHAPE] * 20, stop_after=0)

    assert list(batch.parent.iterdir()) == []


def test_a_torn_line_costs_no_other_line(batch: Path) -> None:
    note_all(batch, SHAPE)
    with batch.with_suffix(".ended").open("ab") as file:
        file.write(b'{"run": "x", "fail')
    note_all(batch, SHAPE, SHAPE)

    assert circuit_breaker.read(batch) is not None


def test_a_damaged_marker_still_stops(batch: Path) -> None:
    batch.with_suffix(".tripped").write_text('{"fail')

    assert (
        str(circuit_breaker.read(batch)) == "too many runs in a row failed with the same exception"
    )


def test_what_waits_is_cancelled_by_the_command_that_the_environment_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scancel = tmp_path / "scancel"
    scancel.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n')
    scancel.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    assert circuit_breaker.cancel_pending() == ""
    monkeypatch.setenv(circuit_breaker.CANCEL_PENDING, "scancel --quiet --state=PENDING 503")
    assert circuit_breaker.cancel_pending() == ""

    assert (tmp_path / "calls").read_text() == "--quiet --state=PENDING 503\n"


def test_a_node_without_scancel_is_said_and_harms_nothing(
    batch: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv(circuit_breaker.CANCEL_PENDING, "scancel 503")

    circuit_breaker.stop_if_tripped(batch, "a", SHAPE, stop_after=1)

    said = capsys.readouterr().err
    assert (
        "1 run failed with ValueError: got N classes, in loop.py step: what has not begun" in said
    )
    assert "scancel: " in said


def test_a_folder_that_cannot_be_written_is_said_and_harms_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    circuit_breaker.stop_if_tripped(tmp_path / "gone" / "1.jsonl", "a", SHAPE, stop_after=1)

    assert "how a run ended could not be noted" in capsys.readouterr().err


def test_runs_that_begin_after_too_many_failures_are_left_untouched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [{"data": "mnist", "lr": rate} for rate in (0.1, 0.2, 0.3)]  # there is no such data here
    batch = write_batch(tmp_path, *runs, stop_after=2, data_dir=str(tmp_path / "nowhere"))

    codes = [run_element(batch, index, job="test") for index in range(3)]

    assert codes == [EXIT_RUNS_FAILED, EXIT_RUNS_FAILED, EXIT_SKIPPED]
    assert "held back: 2 runs in a row failed with" in capsys.readouterr().err
    assert len(list(tmp_path.glob("*/attempts"))) == 2
    assert (
        run_element(batch, 0, job="test") == EXIT_RUNS_FAILED
    )  # what has a result is told as before


def test_the_last_batch_that_was_stopped_is_found_by_its_grid(tmp_path: Path) -> None:
    folder = GridFolder(tmp_path)
    folder.batches.mkdir()
    batches = [folder.batches / f"{number}.jsonl" for number in (1, 2, 3)]
    assert circuit_breaker.latest(batches) is None

    for batch, error in zip(batches, (SHAPE, OTHER), strict=False):
        circuit_breaker.note(batch, "a", error, stop_after=1)

    found = circuit_breaker.latest(batches)
    assert found is not None
    assert found.failure.type == "KeyError"
    assert circuit_breaker.latest(batches[2:]) is None
