"""What `jobs.submit` takes of a grid, and what it leaves alone."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from anlp.records.folders import GridFolder
from anlp.tasks import spec_from_json
from jobs.runs.status import read_states
from jobs.schedulers import registry
from tests.support.grids import GONE, a_spec, finish
from tests.support.grids import submit as made_submit
from tests.support.quick_runner import call_submit
from tests.support.small_study import (
    GRID,
    attempts,
    counts,
    make_folder,  # noqa: F401 - a fixture
    runs_by_lr,
)
from tests.support.submits import Place, make_place, tree_of

pytestmark = pytest.mark.slow


def test_a_grid_is_trained_once_and_then_there_is_nothing_to_do(
    folder: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call_submit("study.yaml") == 0
    before = tree_of(folder.path)
    capsys.readouterr()

    assert call_submit("study.yaml") == 0

    assert "nothing to submit: 6 done" in capsys.readouterr().out
    assert {name for name in tree_of(folder.path) if "finished" not in name} == {
        n for n in before if "finished" not in n
    }
    assert (counts(folder), attempts(folder)) == ({"done": 6}, 6)


def test_a_dry_run_writes_nothing_at_all(
    folder: GridFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call_submit("study.yaml", "-n") == 0
    assert not (tmp_path / "runs").exists()
    call_submit("study.yaml", "--only", "lr=0.1")
    folder.finished.unlink(missing_ok=True)  # a look at the states would write it
    before = tree_of(tmp_path)

    assert call_submit("study.yaml", "--dry-run") == 0

    assert tree_of(tmp_path) == before
    listed = [
        line.split()[1]
        for line in capsys.readouterr().out.splitlines()
        if len(line.split()[0]) == 12
    ]
    assert (listed.count("new"), listed.count("done")) == (10, 2)


def test_the_plan_as_json_is_the_same_each_time(
    folder: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    call_submit("study.yaml", "--only", "lr=0.1")
    capsys.readouterr()
    plans = []
    for _ in range(2):
        assert call_submit("study.yaml", "-n", "--json") == 0
        plans.append(capsys.readouterr().out)

    plan = json.loads(plans[0])
    assert plans[0] == plans[1]
    assert (plan["grid"], plan["counts"], plan["submit"]) == ("study", {"new": 4, "done": 2}, 4)
    assert [run["submit"] for run in plan["runs"]] == [False, False, True, True, True, True]
    assert {"run_id", "task", "settings", "seed", "state"} <= plan["runs"][0].keys()


def test_an_edited_grid_adds_only_its_new_runs(
    folder: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    call_submit("study.yaml")
    Path("study.yaml").write_text(GRID.replace("0.3]", "0.4, 0.5]"))
    capsys.readouterr()

    assert call_submit("study.yaml") == 0

    said = capsys.readouterr().out
    assert "to submit         4" in said
    assert "note: 2 other runs" in said
    assert attempts(folder) == 10
    assert len(list(folder.path.glob("grid*.yaml"))) == 2


def test_more_seeds_extend_a_grid(folder: GridFolder) -> None:
    call_submit("study.yaml")

    assert call_submit("study.yaml", "--seeds", "3") == 0

    assert attempts(folder) == 9
    assert sorted(status.values["seed"] for status in runs_by_lr(folder, 0.1)) == [0, 1, 2]


def test_only_and_set_restrict_and_replace(folder: GridFolder) -> None:
    assert call_submit("study.yaml", "--only", "lr<0.25 seed=1", "--set", "epochs=7") == 0

    found = read_states(folder, registry.states).values()
    assert {(s.values["lr"], s.values["seed"], s.values["epochs"]) for s in found} == {
        (0.1, 1, 7),
        (0.2, 1, 7),
    }


def test_the_estimate_appears_with_history(
    folder: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    call_submit("study.yaml", "-n")
    assert "about" not in capsys.readouterr().out
    call_submit("study.yaml", "--only", "lr=0.1")

    call_submit("study.yaml", "-n", "--set", "epochs=30", "--slots", "2")

    assert "about 3 min" in capsys.readouterr().out.replace(
        "6 runs", ""
    )  # 6 runs of 30 epochs of 2 s, two at a time


def test_names_are_taken_for_folders_and_files_with_blanks_need_one(
    folder: GridFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("my grid.yaml").write_text(GRID + "name: my-grid.v2\n")

    assert call_submit("my grid.yaml", "--only", "lr=0.1") == 0
    assert call_submit("study.yaml", "--name", "other", "--only", "lr=0.1") == 0

    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["my-grid.v2", "other"]


# --- failed, lost, replaced


def test_failed_and_lost_runs_are_repeated_by_retry_only(
    folder: GridFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("QUICK_FAIL", "0.1")
    monkeypatch.setenv("QUICK_DIE", "0.2")
    monkeypatch.setenv("QUICK_DIVERGE", "0.3")
    assert call_submit("study.yaml") == 1
    assert counts(folder) == {"failed": 2, "lost": 2, "diverged": 2}
    for name in ("QUICK_FAIL", "QUICK_DIE", "QUICK_DIVERGE"):
        monkeypatch.delenv(name)
    capsys.readouterr()

    assert call_submit("study.yaml") == 0
    assert "repeated by --retry" in capsys.readouterr().out
    assert attempts(folder) == 6
    assert call_submit("study.yaml", "--retry") == 0

    assert counts(folder) == {"done": 4, "diverged": 2}
    assert attempts(folder) == 10


def test_replace_asks_and_redoes_everything(
    folder: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    call_submit("study.yaml")

    assert call_submit("study.yaml", "--replace") == 2
    assert "Throw away the results of 6 finished runs" in capsys.readouterr().err
    assert attempts(folder) == 6
    assert call_submit("study.yaml", "--replace", "--yes") == 0

    assert (counts(folder), attempts(folder)) == ({"done": 6}, 12)


def test_a_replacement_that_was_stopped_before_a_run_is_carried_out_by_any_submit(
    folder: GridFolder,
) -> None:
    call_submit("study.yaml")
    old = runs_by_lr(folder, 0.3)[0]
    made_submit(folder, [spec_from_json(old.form)], redo="all", launcher=GONE)
    assert counts(folder) == {"done": 5, "interrupted": 1}

    assert call_submit("study.yaml") == 0

    new = runs_by_lr(folder, 0.3)[0]
    assert old.result is not None
    assert new.result is not None
    assert new.result.provenance["batch"] != old.result.provenance["batch"]
    assert (counts(folder), attempts(folder)) == ({"done": 6}, 7)


def test_results_without_journal_are_not_thrown_away_unasked(
    folder: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    call_submit("study.yaml")
    folder.journal.unlink()

    assert call_submit("study.yaml", "--replace") == 2

    assert "Throw away the results of 6 finished runs" in capsys.readouterr().err


# --- confirming


def test_confirm_runs_the_best_of_each_value_with_fresh_seeds_once(folder: GridFolder) -> None:
    call_submit("study.yaml", "--set", "optimizer=sgd,adam")

    for _ in range(2):
        words = (
            "--set",
            "optimizer=sgd,adam",
            "--confirm",
            "1",
            "--per",
            "optimizer",
            "--seeds",
            "3",
        )
        assert call_submit("study.yaml", *words) == 0

    confirmed = [s for s in read_states(folder, registry.states).values() if s.purpose == "confirm"]
    assert sorted((s.values["optimizer"], s.values["lr"], s.values["seed"]) for s in confirmed) == [
        (optimizer, 0.3, seed) for optimizer in ("adam", "sgd") for seed in (1000, 1001, 1002)
    ]
    assert attempts(folder) == 18
    assert call_submit("study.yaml", "--confirm", "1", "--seeds", "²") == 2


def test_confirm_takes_the_best_by_what_the_runs_monitor(
    folder: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    call_submit("study.yaml", "--set", "monitor=val/loss")
    capsys.readouterr()

    assert (
        call_submit("study.yaml", "--set", "monitor=val/loss", "--confirm", "1", "--seeds", "1")
        == 0
    )

    (confirmed,) = [
        s for s in read_states(folder, registry.states).values() if s.purpose == "confirm"
    ]
    assert confirmed.values["lr"] == 0.1  # the lowest, as losses are better when lower
    assert "the 1 best by val/loss with 1 fresh seed" in capsys.readouterr().out


def test_a_plan_to_confirm_says_which_configurations(
    folder: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    call_submit("study.yaml")
    capsys.readouterr()

    assert call_submit("study.yaml", "--confirm", "1", "-n") == 0

    assert re.search(
        r"note: confirms lr=0\.3 \(val/acc 0\.\d{4} over \d seeds\)", capsys.readouterr().out
    )


def test_confirming_before_anything_has_finished_says_so(
    folder: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call_submit("study.yaml", "--confirm", "2") == 2

    assert capsys.readouterr().err.startswith("--confirm: no run of this grid has finished yet")


@pytest.mark.slow
def test_ten_thousand_runs_are_planned_in_three_seconds(tmp_path: Path) -> None:
    axes = "grid: {lr: {logspace: [0.001, 0.1, 100]}, dropout: {linspace: [0, 0.5, 100]}}\n"
    place = make_place(tmp_path, "task: mnist\nfixed: {data: digits}\n" + axes)
    code = (
        "import sys, time, resource\nbegan = time.process_time()\nfrom jobs.submit import main\n"
        "main([sys.argv[1], '-n'])\n"
        "assert 'torch' not in sys.modules\n"
        "mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
        "print(f'{time.process_time() - began:.2f} s {mib:.0f} MiB', file=sys.stderr)\n"
    )
    best: tuple[float, str] = min(_measured(place, code) for _ in range(3))

    print(best[1])
    assert best[0] < 5.0  # processor seconds, beside other work


def _measured(place: Place, code: str) -> tuple[float, str]:
    argv = [sys.executable, "-c", code, str(place.file)]
    done: Any = subprocess.run(
        argv, env=place.environment, capture_output=True, text=True, check=True
    )
    return float(done.stderr.split()[-4]), done.stderr


def test_the_command_imports_no_torch() -> None:
    code = "import sys, jobs.submit\nsys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_unasked_history_is_told_and_left_alone(
    folder: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    other = a_spec(0, lr=0.9)
    finish(folder, other, made_submit(folder, [other]))

    call_submit("study.yaml", "-n")

    assert "note: 1 other runs" in capsys.readouterr().out
