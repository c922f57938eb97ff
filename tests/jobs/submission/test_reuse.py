"""Results of equal runs in other grids: named in the plan, taken over where that is asked for."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from anlp.records.files import read_json
from anlp.records.folders import GridFolder
from jobs import status as status_command
from tests.support.quick_runner import call_submit
from tests.support.small_study import counts, make_folder  # noqa: F401 - a fixture


@pytest.fixture
def done(folder: GridFolder, capsys: pytest.CaptureFixture[str]) -> GridFolder:
    assert call_submit("study.yaml", "-q", "--only", "lr<0.25") == 0
    capsys.readouterr()
    return folder


@pytest.mark.parametrize("text", ["runs/study/grid.yaml", "study", "runs/study"])
def test_the_kept_file_of_a_grid_continues_it(
    text: str, done: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("study.yaml").unlink()

    assert call_submit(text, "-n") == 0

    said = capsys.readouterr().out
    assert said.startswith("study: 6 runs")
    assert "  done              4" in said


def test_the_kept_file_of_another_runs_folder_is_refused(
    done: GridFolder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANLP_RUNS", "elsewhere")

    assert call_submit("runs/study/grid.yaml") == 2

    assert "set ANLP_RUNS to continue it" in capsys.readouterr().err


def test_status_takes_the_kept_file_for_its_grid(
    done: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_command.main(["runs/study/grid.yaml"]) == 0

    assert capsys.readouterr().out.startswith("study: 4 runs")


def test_the_plan_says_which_runs_are_done_in_another_grid(
    done: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy("study.yaml", "final.yaml")

    assert call_submit("final.yaml", "-n") == 0
    assert "  note: 4 of these are done in study; --reuse takes their results" in (
        capsys.readouterr().out
    )
    assert call_submit("study.yaml", "-n") == 0
    assert "note:" not in capsys.readouterr().out
    assert not (done.path.parent / "final").exists()


def test_reuse_takes_results_and_trains_the_rest(
    done: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy("study.yaml", "final.yaml")
    for run in done.path.glob("*/result.json"):
        run.with_name("weights.pt").write_bytes(b"weights")
    before = {path: path.stat().st_mtime_ns for path in done.path.rglob("*") if path.is_file()}

    assert call_submit("final.yaml", "-q", "--reuse") == 0

    said = capsys.readouterr().out
    assert "note: 4 of these are done in study: their results are taken" in said
    assert "  to submit         2" in said
    assert "final: 4 results taken from other grids" in said
    final = GridFolder(done.path.parent / "final")
    assert counts(final) == {"done": 6}
    assert counts(done) == {"done": 4}
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    taken = [form for form in map(read_json, final.path.glob("*/result.json")) if form]
    origins = [form["provenance"].get("reused_from") for form in taken]
    assert sorted(map(str, origins)) == ["None", "None", *["study"] * 4]
    assert len(list(final.path.glob("*/weights.pt"))) == 4
    capsys.readouterr()
    assert status_command.main(["final", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cost"]["runs"] == 2


def test_a_grid_that_is_done_elsewhere_is_taken_without_a_job(
    done: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy("study.yaml", "final.yaml")

    assert call_submit("final.yaml", "--only", "lr<0.25", "--reuse") == 0
    assert call_submit("final.yaml", "--only", "lr<0.25", "--reuse") == 0

    said = capsys.readouterr().out
    assert "final: 4 results taken from other grids" in said
    assert said.endswith("nothing to submit: 4 done\n")
    assert call_submit("final.yaml", "--reuse", "--replace", "-y") == 2


def test_a_failed_run_elsewhere_is_no_result(
    folder: GridFolder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUICK_FAIL", "0.1")
    assert call_submit("study.yaml", "-q", "--only", "lr=0.1") == 1
    shutil.copy("study.yaml", "final.yaml")

    assert call_submit("final.yaml", "-n") == 0

    assert "done in" not in capsys.readouterr().out


@pytest.mark.parametrize("made", ["zero", "pipe"])
def test_a_grid_file_without_an_end_is_one_sentence(
    made: str, folder: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path("endless.yaml")
    if made == "zero":
        path.symlink_to("/dev/zero")
    else:
        os.mkfifo(path)

    assert call_submit(str(path), "-n") == 2

    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert ("at most 1 MB, got one without an end" in said) == (made == "zero")
