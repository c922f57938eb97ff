from __future__ import annotations

import json
from pathlib import Path

import pytest

from anlp.core.errors import UserError
from anlp.records.folders import GridFolder
from anlp.records.results import RunState
from jobs import cancel
from jobs.runs import journal
from jobs.runs.journal import Journal
from jobs.runs.polling import JobPoller
from jobs.runs.queries import read_grid
from jobs.schedulers.base import Cause
from tests.support.grids import (
    GONE,
    a_spec,
    finish,
    hold_lock_elsewhere,
    journal_lines,
    log_epochs,
    lose,
    start,
    submit,
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GridFolder:
    monkeypatch.setenv("ANLP_RUNS", str(tmp_path))
    return GridFolder(tmp_path / "demo")


def cancelled(folder: GridFolder, tag: str) -> set[int]:
    return Journal(folder).cancelled(tag)


def test_queued_and_running_runs_are_asked_to_stop(
    folder: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    specs = [a_spec(seed=seed) for seed in range(5)]
    tag = submit(folder, specs)
    finish(folder, specs[0], tag)
    start(folder, specs[1])
    lose(folder, tag, 2, Cause.SIGNAL)

    assert cancel.main(["demo"]) == 0

    assert "demo: asked 2 queued and 1 running runs to stop\n" in capsys.readouterr().out
    assert cancelled(folder, tag) == {1, 3, 4}


def test_only_matching_runs_are_stopped(
    folder: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    first = submit(folder, [a_spec(lr=0.1), a_spec(lr=0.2)])
    second = submit(folder, [a_spec(lr=0.3), a_spec(lr=0.4)])

    cancel.main(["demo", "--only", "lr>=0.2 lr<0.4"])

    assert "asked 2 queued runs to stop" in capsys.readouterr().out
    assert (cancelled(folder, first), cancelled(folder, second)) == ({1}, {0})


def test_what_was_stopped_is_told_as_json(
    folder: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    specs = [a_spec(lr=0.1), a_spec(lr=0.2)]
    submit(folder, specs)

    cancel.main(["demo", "--only", "lr=0.2", "--json"])
    cancel.main(["demo", "--only", "lr=0.2 state=done", "--json"])

    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first == {"grid": "demo", "stopped": [specs[1].run_id]}
    assert second == {"grid": "demo", "stopped": []}


def test_a_run_is_cancelled_in_its_latest_submission(folder: GridFolder) -> None:
    spec = a_spec()
    first, second = submit(folder, [spec], launcher=GONE), submit(folder, [spec])

    cancel.main(["demo"])

    assert (cancelled(folder, first), cancelled(folder, second)) == (set(), {0})


def test_how_others_ended_goes_on_record(folder: GridFolder) -> None:
    gone, _ = submit(folder, [a_spec()], launcher=GONE), submit(folder, [a_spec(seed=1)])

    cancel.main(["demo"])

    endings = [
        (line["tag"], line["cause"]) for line in journal_lines(folder) if line["event"] == "ended"
    ]
    assert endings == [(gone, "LAUNCHER")]


def test_where_nothing_is_active_nothing_is_written(
    folder: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = a_spec()
    finish(folder, spec, submit(folder, [spec]))
    before = journal_lines(folder)

    assert cancel.main(["demo", "--only", "state=done"]) == 0

    assert "no matching run is queued or running" in capsys.readouterr().out
    assert journal_lines(folder) == before


def test_more_than_ten_runs_are_stopped_only_when_the_user_agrees(
    folder: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    tag = submit(folder, [a_spec(seed=seed) for seed in range(11)])

    with pytest.raises(UserError, match=r"Stop 11 queued runs of demo\? .*--yes"):
        cancel.main(["demo"])
    assert cancelled(folder, tag) == set()

    cancel.main(["demo", "--yes"])
    assert cancelled(folder, tag) == set(range(11))


def test_ten_runs_are_stopped_without_asking(folder: GridFolder) -> None:
    tag = submit(folder, [a_spec(seed=seed) for seed in range(10)])

    cancel.main(["demo"])

    assert len(cancelled(folder, tag)) == 10


def test_runs_that_share_a_job_are_stopped_with_it_and_counted(
    folder: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    specs = [a_spec(seed=seed) for seed in range(4)]
    tag = submit(folder, specs, per_element=2)

    cancel.main(["demo", "--only", f"id={specs[0].run_id}", "--yes"])

    assert "asked 2 queued runs to stop (1 share a job with them)" in capsys.readouterr().out
    assert cancelled(folder, tag) == {0}


def test_a_run_that_ended_while_we_asked_is_left_alone(folder: GridFolder) -> None:
    specs = [a_spec(seed=seed) for seed in range(2)]
    tag = submit(folder, specs)
    finish(folder, specs[0], tag)

    request = cancel.cancel_runs(
        folder, [spec.run_id for spec in specs], JobPoller.for_viewing(folder)
    )

    assert [status.run_id for status in request.stopped] == [specs[1].run_id]
    assert cancelled(folder, tag) == {1}


@pytest.mark.slow
def test_nothing_is_written_while_another_command_holds_the_grid(
    folder: GridFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    tag = submit(folder, [a_spec()])
    holder = hold_lock_elsewhere(folder)
    monkeypatch.setattr(journal.Journal.locked.__wrapped__, "__defaults__", (0.1,))  # type: ignore[attr-defined]  # patience
    try:
        with pytest.raises(
            UserError, match=f"another command is at work on this grid .*process {holder.pid}"
        ):
            cancel.main(["demo"])
    finally:
        holder.kill()
        holder.communicate()

    assert cancelled(folder, tag) == set()


def test_a_cancelled_run_keeps_its_metrics_and_can_be_continued(folder: GridFolder) -> None:
    spec = a_spec()
    tag = submit(folder, [spec])
    log_epochs(folder, spec, [0.1, 0.2])
    cancel.main(["demo"])
    lose(folder, tag, 0, Cause.CANCELLED)  # what the launcher writes when it obeys

    (status,) = read_grid(folder)

    assert status.state is RunState.INTERRUPTED
    assert status.folder.metrics.exists()
