from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from made_grids import GONE, a_spec, an_error, fail, finish, journal_lines, lose, submit

from anlp.errors import UserError
from anlp.record import GridFolder, RunState
from jobs import retry
from jobs.schedulers.base import Cause
from jobs.selection import read_grid


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GridFolder:
    monkeypatch.setenv("ANLP_RUNS", str(tmp_path))
    return GridFolder(tmp_path / "demo")


def test_a_dry_run_shows_what_would_be_repeated_and_writes_nothing(
    folder: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    specs = [a_spec(seed=seed) for seed in range(4)]
    tag = submit(folder, specs)
    finish(folder, specs[0], tag)
    fail(folder, specs[1], tag, an_error())
    lose(folder, tag, 2, Cause.SIGNAL, "signal 9")
    lose(folder, tag, 3, Cause.CANCELLED)
    before = journal_lines(folder)

    assert retry.main(["demo", "-n"]) == 0

    text = capsys.readouterr().out
    assert text.startswith("demo: 2 runs to repeat; 1 interrupted: any submit of the grid continues them\n")
    assert "1x ValueError: bad shape at epoch 0" in text
    assert "1x killed by signal 9" in text
    assert journal_lines(folder) == before


def test_where_nothing_failed_nothing_is_submitted(folder: GridFolder, capsys: pytest.CaptureFixture[str]) -> None:
    spec = a_spec()
    finish(folder, spec, submit(folder, [spec]))

    assert retry.main(["demo"]) == 0
    assert capsys.readouterr().out == "demo: no run failed or was lost\n"


def test_only_narrows_what_is_repeated(folder: GridFolder, capsys: pytest.CaptureFixture[str]) -> None:
    specs = [a_spec(lr=lr) for lr in (0.1, 0.2, 0.3)]
    tag = submit(folder, specs)
    for spec in specs:
        fail(folder, spec, tag, an_error())

    retry.main(["demo", "-n", "--only", "lr>0.1"])

    assert capsys.readouterr().out.startswith("demo: 2 runs to repeat\n")


def test_more_than_ten_runs_are_repeated_only_when_somebody_agrees(folder: GridFolder) -> None:
    specs = [a_spec(seed=seed) for seed in range(11)]
    tag = submit(folder, specs)
    for spec in specs:
        fail(folder, spec, tag, an_error())
    before = journal_lines(folder)

    with pytest.raises(UserError, match=r"Submit these 11 runs again\? .*--yes"):
        retry.main(["demo"])

    assert journal_lines(folder) == before


def test_a_wrong_resource_is_one_sentence(folder: GridFolder) -> None:
    spec = a_spec()
    fail(folder, spec, submit(folder, [spec]), an_error())

    with pytest.raises(UserError, match="--mem: expected an amount of memory"):
        retry.main(["demo", "--mem", "lots"])


@pytest.mark.slow
def test_failed_and_lost_runs_are_trained_without_the_grid_file(folder: GridFolder) -> None:
    specs = [a_spec(seed=seed, epochs=1, train_samples=64) for seed in range(4)]
    tag = submit(folder, specs, launcher=GONE)
    finished = finish(folder, specs[0], tag).result.read_text()
    fail(folder, specs[1], tag, an_error())
    lose(folder, tag, 2, Cause.SIGNAL, "signal 9")
    lose(folder, tag, 3, Cause.CANCELLED)

    done = subprocess.run(
        [sys.executable, "-m", "jobs.retry", "demo", "--wandb", "disabled", "-q"],
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert done.returncode == 0, done.stderr
    states = {status.run_id: status.state for status in read_grid(folder)}
    assert [states[spec.run_id] for spec in specs] == [
        RunState.DONE,
        RunState.DONE,
        RunState.DONE,
        RunState.INTERRUPTED,
    ]
    assert folder.run(specs[0].run_id).result.read_text() == finished
