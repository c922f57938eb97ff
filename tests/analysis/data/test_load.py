from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence

import pytest

import analysis
from analysis import convergence, importance, plot, report, tables
from analysis.data.frames import (
    RUN_COLUMNS,
    frame,
    history_frame,
    metric_columns,
    setting_columns,
    varying_settings,
)
from analysis.data.load import from_disk
from anlp.core.errors import UserError
from anlp.records.folders import RunFolder
from anlp.records.results import Outcome
from anlp.tasks import TASKS
from tests.support.run_folders import Grid


def test_a_run_comes_back_as_it_was_written(grid: Grid) -> None:
    folder = grid.add(
        0.98, seed=3, val=0.97, purpose="confirm", lr=0.01, history=[{"epoch": 0, "val/acc": 0.1}]
    )

    (record,) = from_disk(grid.path)

    assert (record.run_id, record.seed, record.purpose, record.outcome) == (
        folder.run_id,
        3,
        "confirm",
        Outcome.OK,
    )
    assert record.result is not None
    assert record.result.metrics == {"test/acc": 0.98, "val/acc": 0.97}
    assert record.settings.values()["lr"] == 0.01
    assert record.history == ({"epoch": 0, "val/acc": 0.1},)


def test_frame_has_a_row_per_run_and_a_column_per_setting_and_metric(grid: Grid) -> None:
    grid.add(0.98, lr=0.01)
    grid.add(0.97, lr=0.1)

    runs = grid.frame()

    assert len(runs) == 2
    assert dict(zip(runs["lr"], runs["test/acc"], strict=True)) == {0.01: 0.98, 0.1: 0.97}
    assert set(metric_columns(runs)) == {"test/acc", "val/acc"}
    assert varying_settings(runs) == ["lr"]
    assert runs["baseline/majority"].tolist() == [0.1135, 0.1135]


def test_settings_without_effect_are_missing_and_do_not_vary(grid: Grid) -> None:
    grid.add(0.98, optimizer="sgd", momentum=0.9)
    grid.add(0.97, optimizer="adam")

    runs = grid.frame()

    assert varying_settings(runs) == ["optimizer"]
    assert runs.set_index("optimizer")["momentum"].isna().to_dict() == {"sgd": False, "adam": True}


def test_a_metric_never_hides_a_setting(grid: Grid) -> None:
    grid.add(0.98, lr=0.01, metrics={"lr": 0.5})

    assert grid.frame()["lr"].tolist() == [0.01]


@pytest.mark.parametrize("task", TASKS)
def test_no_setting_has_the_name_of_a_run_column(task: str) -> None:
    names = set(TASKS[task].settings.model_fields)

    assert not names & set(RUN_COLUMNS)
    assert not any("/" in name for name in names)


def test_history_has_a_row_per_epoch_and_drops_a_torn_last_line(grid: Grid) -> None:
    folder = grid.add(
        outcome=None, history=[{"epoch": 0, "val/acc": 0.1}, {"epoch": 1, "val/acc": 0.5}]
    )
    with folder.metrics.open("a") as file:
        file.write('{"epoch": 2, "val/')

    history = history_frame(from_disk(grid.path))

    assert history["epoch"].tolist() == [0, 1]
    assert history["run_id"].unique().tolist() == [folder.run_id]


def test_a_live_run_is_unfinished(grid: Grid) -> None:
    grid.add(outcome=None)

    assert grid.frame()["outcome"].tolist() == ["unfinished"]


def test_what_cannot_be_read_is_skipped_with_a_note_each(grid: Grid) -> None:
    good = grid.add(0.98, seed=0)
    torn = grid.add(0.98, seed=1)
    torn.result.write_text('{"run_id": "x", "outc')
    unreadable = grid.add(0.98, seed=2)
    unreadable.spec.write_text("{")
    (grid.path / "notes").mkdir()
    (grid.path / "batches").mkdir()
    (grid.path / "grid.yaml").write_text("task: mnist")
    shutil.copytree(good.path, grid.path / "copy")
    other = grid.add(0.98, seed=4)
    other.spec.write_text(
        json.dumps({"spec": {"run_id": other.run_id, "task": "gone", "settings": {}, "seed": 0}})
    )
    by_hand = grid.add(0.98, seed=5)
    by_hand.spec.write_text(by_hand.spec.read_text().replace('"seed": 5', '"seed": "five"'))
    notes: list[str] = []

    records = from_disk(grid.path, notes.append)

    assert {record.run_id: record.outcome for record in records} == {
        good.run_id: Outcome.OK,
        torn.run_id: None,
    }
    assert sorted(notes) == sorted(
        [
            f"{torn.run_id}: result.json cannot be read (not JSON from character 17 on), "
            "the run counts as unfinished",
            f"{unreadable.run_id}: skipped, spec.json cannot be read "
            "(not JSON from character 2 on)",
            "notes: skipped, spec.json is missing",
            f"copy: skipped, a copy of run {good.run_id}",
            f"{other.run_id}: skipped, task 'gone' is not installed here; "
            "install the package that brings it",
            f"{by_hand.run_id}: skipped, spec.json is not of a run known here "
            "(seed: expected a whole number, got 'five')",
        ]
    )


@pytest.mark.parametrize(
    "text", ["[]", '{"outcome": "ok"}', '{"run_id": "x", "outcome": "ok", "metrics": [1]}']
)
def test_a_result_of_another_form_counts_as_unfinished(grid: Grid, text: str) -> None:
    grid.add(0.98).result.write_text(text)
    notes: list[str] = []

    (record,) = from_disk(grid.path, notes.append)

    assert record.outcome is None
    assert len(notes) == 1


def test_load_is_the_way_in_for_a_notebook(grid: Grid, monkeypatch: pytest.MonkeyPatch) -> None:
    grid.add(0.98, history=[{"epoch": 0, "val/acc": 0.1}])
    monkeypatch.chdir(grid.path.parent.parent)

    loaded = analysis.load("study")

    assert (loaded.grid, len(loaded.runs), len(loaded.history), loaded.notes) == ("study", 1, 1, ())


def test_an_empty_grid_has_frames_with_columns(grid: Grid) -> None:
    records = from_disk(grid.path)

    assert list(frame(records).columns) == list(RUN_COLUMNS)
    assert list(history_frame(records).columns) == ["run_id", "epoch"]
    assert setting_columns(frame(records)) == []


def test_importing_analysis_imports_nothing_heavy() -> None:
    code = (
        "import sys, analysis; print(sorted({'pandas', 'numpy', "
        "'matplotlib', 'torch'} & set(sys.modules)))"
    )

    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "[]"


def rewrite_spec(
    folder: RunFolder, drop: str = "", task: str = "mnist", **settings: object
) -> None:
    form = json.loads(folder.spec.read_text())
    form["spec"]["task"] = task
    form["spec"]["settings"] |= settings
    form["spec"]["settings"].pop(drop, None)
    folder.spec.write_text(json.dumps(form))


def test_a_setting_that_was_removed_does_not_become_the_default(grid: Grid) -> None:
    for seed in range(3):
        rewrite_spec(grid.add(0.98, seed=seed, lr=0.02), drop="lr")
    grid.add(0.5, lr=0.03)

    loaded = analysis.load(grid.path)

    assert loaded.runs["lr"].tolist() == [0.03]
    (note,) = loaded.notes
    assert note.startswith("3 runs (")
    assert "left out, its id does not fit its settings" in note


def test_a_key_that_is_no_setting_does_not_drop_the_run(grid: Grid) -> None:
    for seed in range(3):
        rewrite_spec(grid.add(0.98, seed=seed), note="by hand")

    loaded = analysis.load(grid.path)

    assert len(loaded.runs) == 3
    (note,) = loaded.notes
    assert note.endswith("no settings of task mnist, ignored: note")
    assert analysis.load(grid.path).notes == loaded.notes


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        (tables.main, []),
        (convergence.main, []),
        (importance.main, []),
        (report.main, []),
        (plot.main, ["sweep"]),
    ],
)
def test_runs_of_a_task_that_is_not_installed_have_started(
    grid: Grid, command: Callable[[Sequence[str]], int], kind: list[str]
) -> None:
    for seed in range(3):
        rewrite_spec(grid.add(0.98, seed=seed), task="table")

    with pytest.raises(UserError, match=r"no runs to .*task 'table' is not installed") as caught:
        command([*kind, str(grid.path)])

    assert "has started" not in str(caught.value)
