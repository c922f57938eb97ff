from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from anlp.core import lease
from anlp.core.errors import UserError
from anlp.core.units import render_duration
from anlp.records.folders import GridFolder
from anlp.records.results import Outcome
from jobs import status
from jobs.common import terminal
from jobs.common.text import render_value
from jobs.runs.polling import PollInterval, SchedulerReport
from jobs.runs.status import read_states
from jobs.schedulers.base import Cause
from jobs.views import status as status_view
from jobs.views.json_output import overview_json
from tests.support.grids import (
    GONE,
    a_spec,
    an_error,
    fail,
    finish,
    log_epochs,
    lose,
    start,
    submit,
    write_result,
)
from tests.support.processor_time import processor_s


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GridFolder:
    monkeypatch.setenv("ANLP_RUNS", str(tmp_path))
    return GridFolder(tmp_path / "demo")


def show(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert status.main(["demo", *arguments]) == 0
    return capsys.readouterr().out


def show_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    form: dict[str, Any] = json.loads(show(capsys, "--json", *arguments))
    return form


def a_mixed_grid(folder: GridFolder) -> None:
    """One run in each state but new; lr tells them apart."""
    specs = [a_spec(lr=lr) for lr in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)]
    tag = submit(folder, specs)
    finish(folder, specs[0], tag, **{"val/acc": 0.91})
    write_result(folder, specs[1], tag, Outcome.DIVERGED)
    fail(folder, specs[2], tag, an_error(epoch=3))
    lose(folder, tag, 3, Cause.TIMEOUT)
    lose(folder, tag, 4, Cause.CANCELLED)
    log_epochs(folder, specs[5], [0.1, 0.25])
    start(folder, specs[5])


def test_the_screen_counts_states_and_shows_the_rows_worth_a_look(
    folder: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    a_mixed_grid(folder)

    text = show(capsys)

    assert "demo: 7 runs" in text
    counts = "1 queued   1 running   1 done   1 diverged   1 interrupted   1 failed   1 lost"
    assert text.splitlines()[1].strip() == counts
    assert "epoch 1/10  val/acc 0.2500" in text
    assert "1x ValueError: bad shape at epoch 3" in text
    assert "1x time limit" in text
    assert "1x cancelled; submit the grid again" in text
    assert "0.9100  lr=0.1" in text
    assert "python -m jobs.logs demo --failed" in text
    assert "python -m jobs.retry demo" in text


def test_a_screen_is_drawn_from_values_without_the_disk(
    folder: GridFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_mixed_grid(folder)
    runs = tuple(read_states(folder, lambda jobs: {}).values())
    look = status_view.Overview(folder, runs, runs, "", time.time())
    look = status.read_details(look, every_run=True)
    before = status_view.render_overview(look, terminal.Canvas(), every_run=True)
    as_json = overview_json(look)

    shutil.rmtree(folder.path)

    assert "epoch 1/10 val/acc 0.2500" in before
    assert status_view.render_overview(look, terminal.Canvas(), every_run=True) == before
    assert overview_json(look) == as_json


def test_the_best_runs_come_first_by_the_monitored_metric(
    folder: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    specs = [a_spec(lr=lr, monitor="val/loss") for lr in (0.1, 0.2, 0.3)]
    tag = submit(folder, specs)
    for spec, loss in zip(specs, (0.5, 0.1, float("nan")), strict=True):
        finish(folder, spec, tag, **{"val/loss": loss})

    text = show(capsys)

    assert "best of 3 done by val/loss" in text
    assert text.index("lr=0.2") < text.index("lr=0.1")
    assert "lr=0.3" not in text


def test_rows_show_the_settings_that_vary_and_apply(
    folder: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    specs = [a_spec(model="dense", epochs=3), a_spec(model="cnn", filters=8, epochs=3)]
    tag = submit(folder, specs)
    for spec in specs:
        finish(folder, spec, tag)

    rows = show(capsys, "--all")

    assert "model=cnn filters=8" in rows
    assert "model=dense\n" in rows
    assert "epochs=" not in rows


def test_only_narrows_by_setting_state_and_metric(
    folder: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    a_mixed_grid(folder)

    assert "2 of 7 runs (lr<=0.2)" in show(capsys, "--only", "lr<=0.2")
    assert show_json(capsys, "--only", "state=failed,lost")["n"] == 2
    assert show_json(capsys, "--only", "val/acc>0.9")["n"] == 1
    assert "no run matches" in show(capsys, "--only", "lr=17")


def test_what_failures_have_in_common_is_judged_against_all_runs(
    folder: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    specs = [a_spec(lr=lr, seed=seed) for lr in (0.1, 0.2) for seed in (0, 1)]
    tag = submit(folder, specs)
    for spec in specs:
        fail(folder, spec, tag, an_error()) if spec.settings.values()["lr"] == 0.2 else finish(
            folder, spec, tag
        )

    assert "2x ValueError: bad shape at epoch 0, all lr=0.2" in show(
        capsys, "--only", "state=failed"
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["demo", "--only", "lrr=0.1"], "unknown name 'lrr'"),
        (["demo", "--only", "lr"], "expected NAME=VALUE"),
        (["dmeo"], "did you mean 'demo'?"),
        (["empty"], "nothing was submitted to this grid yet"),
    ],
)
def test_a_mistake_is_one_sentence(folder: GridFolder, arguments: list[str], sentence: str) -> None:
    a_mixed_grid(folder)
    (folder.path.parent / "empty").mkdir()

    with pytest.raises(UserError, match=sentence.replace("?", r"\?")):
        status.main(arguments)


def test_json_is_one_value_with_every_state_and_run(
    folder: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    a_mixed_grid(folder)

    form = show_json(capsys)

    assert set(form) == {
        "grid",
        "folder",
        "time",
        "only",
        "n",
        "counts",
        "varying",
        "failures",
        "runs",
        "cost",
        "schedulers",
    }
    assert form["counts"]["new"] == 0
    assert sum(form["counts"].values()) == form["n"] == len(form["runs"]) == 7
    by_state = {run["state"]: run for run in form["runs"]}
    assert by_state["running"]["progress"] == {
        "epoch": 1,
        "epochs": 10,
        "metrics": {"epoch": 1, "val/acc": 0.25},
    }
    assert by_state["failed"]["error"] == {"type": "ValueError", "message": "bad shape", "epoch": 3}
    assert by_state["lost"]["cause"] == "time limit"
    assert by_state["done"]["metrics"]["val/acc"] == 0.91


def test_json_has_null_for_nan(folder: GridFolder, capsys: pytest.CaptureFixture[str]) -> None:
    spec = a_spec()
    finish(folder, spec, submit(folder, [spec]), **{"val/loss": float("nan")})

    assert show_json(capsys)["runs"][0]["metrics"]["val/loss"] is None


def test_all_lists_every_run(folder: GridFolder, capsys: pytest.CaptureFixture[str]) -> None:
    a_mixed_grid(folder)

    lines = show(capsys, "--all").splitlines()

    assert sum(any(f"lr=0.{digit}" in line for digit in range(1, 8)) for line in lines[2:11]) >= 7


def test_watch_ends_when_nothing_is_active(
    folder: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = a_spec()
    finish(folder, spec, submit(folder, [spec]))

    assert "1 done" in show(capsys, "--watch")


def test_watch_shows_the_change_and_then_ends(
    folder: GridFolder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = a_spec()
    tag = submit(folder, [spec])

    def finish_meanwhile(*_: Any) -> float:
        finish(folder, spec, tag)
        return 0.0

    monkeypatch.setattr(PollInterval, "wait_s", finish_meanwhile)

    text = show(capsys, "--watch")

    assert text.index("1 queued") < text.index("1 done")
    assert text.count("demo: 1 run") == 2


def test_ctrl_c_is_the_usual_way_out_of_watching(
    folder: GridFolder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    submit(folder, [a_spec()])
    monkeypatch.setattr(time, "sleep", interrupt)

    assert "1 queued" in show(capsys, "--watch")


def test_a_dead_launcher_leaves_interrupted_runs(
    folder: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    submit(folder, [a_spec()], launcher=GONE)

    assert "1x its launcher ended; submit the grid again" in show(capsys)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_colour_is_for_terminals_without_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert terminal.canvas_of(Terminal()).colour
    assert not terminal.canvas_of(io.StringIO()).colour
    assert terminal.canvas_of(io.StringIO()).width is None

    monkeypatch.setenv("NO_COLOR", "1")
    assert not terminal.canvas_of(Terminal()).colour


def test_a_narrow_terminal_gets_clipped_lines(folder: GridFolder) -> None:
    a_mixed_grid(folder)
    runs = tuple(read_states(folder, lambda jobs: {}).values())
    look = status_view.Overview(folder, runs, runs, "", time.time())

    text = status_view.render_overview(look, terminal.Canvas(width=60), every_run=True)

    assert max(map(len, text.splitlines()[2:])) == 60


def test_what_a_scheduler_said_is_whole_on_a_narrow_terminal(folder: GridFolder) -> None:
    a_mixed_grid(folder)
    runs = tuple(read_states(folder, lambda jobs: {}).values())
    outage = "there is no squeue here: run this on a login node of the cluster"
    look = status_view.Overview(
        folder, runs, runs, "", time.time(), reports=(SchedulerReport("slurm", None, outage),)
    )

    lines = status_view.render_overview(look, terminal.Canvas(width=60)).splitlines()

    assert max(map(len, lines[2:])) <= 60
    assert outage in " ".join(line.strip() for line in lines)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.6, "1 min"),
        (61, "1 min 1 s"),
        (7800, "2 h 10 min"),
        (3600, "1 h"),
        (360000, "4 d 4 h"),
        (-3, "0 s"),
    ],
)
def test_a_duration_has_its_two_largest_units(seconds: float, text: str) -> None:
    assert render_duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(1e-5, "1e-05"), (0.1, "0.1"), (0.123456789, "0.123456789"), (3, "3"), (True, "true")],
)
def test_a_value_is_shown_so_that_a_filter_finds_it(value: Any, text: str) -> None:
    assert render_value(value) == text


@pytest.mark.slow
def test_the_command_starts_light_and_ends_with_code_2_on_mistakes(folder: GridFolder) -> None:
    a_mixed_grid(folder)
    code = (
        "import sys; from jobs import status; status.main(['demo']); "
        "print(sorted(sys.modules), file=sys.stderr)"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ
    )
    wrong = subprocess.run(
        [sys.executable, "-m", "jobs.status", "dmeo"], capture_output=True, text=True
    )

    assert done.returncode == 0
    assert not {"torch", "numpy", "pandas", "wandb", "scipy", "rich"} & set(eval(done.stderr))
    assert wrong.returncode == 2
    assert wrong.stderr.count("\n") == 1


def test_of_each_lost_run_the_last_attempt_is_read_once(
    folder: GridFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    specs = [a_spec(seed) for seed in range(3)]
    tag = submit(folder, specs)
    for index, spec in enumerate(specs):
        (start(folder, spec)).release(ending="killed")
        lose(folder, tag, index, Cause.OUT_OF_MEMORY)
    opened: list[Path] = []
    whole = lease.read

    def read(path: Path) -> dict[str, Any]:
        opened.append(path)
        return whole(path)

    monkeypatch.setattr(lease, "read", read)

    status.main(["demo"])

    assert "3 lost" in capsys.readouterr().out
    assert sorted(opened) == sorted(
        folder.run(spec.run_id).attempts / "000001.json" for spec in specs
    )


@pytest.mark.slow
def test_four_hundred_runs_are_shown_within_a_second(folder: GridFolder) -> None:
    specs = [a_spec(seed, lr=lr) for lr in (0.1, 0.01, 0.001, 0.0001) for seed in range(100)]
    tag = submit(folder, specs)
    for spec in specs[:390]:
        finish(folder, spec, tag)
    command = [sys.executable, "-m", "jobs.status", "demo"]

    took = []
    for _ in range(3):
        began = processor_s()
        subprocess.run(command, check=True, capture_output=True)
        took.append(processor_s() - began)

    assert min(took) < 2.0  # processor seconds, beside other work


def test_without_a_grid_all_grids_are_listed(
    folder: GridFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    specs = [a_spec(seed) for seed in range(3)]
    finish(folder, specs[0], submit(folder, specs))
    finish(
        GridFolder(tmp_path / "other"), a_spec(), submit(GridFolder(tmp_path / "other"), [a_spec()])
    )
    (tmp_path / "no grid").mkdir()

    assert status.main([]) == 0
    text = capsys.readouterr().out
    assert status.main(["--json"]) == 0
    form = json.loads(capsys.readouterr().out)

    title, heading, *rows = text.splitlines()
    assert title == f"2 grids in {tmp_path}"
    assert heading.split() == ["grid", "runs", "states", "submitted"]
    assert [row.split("  ")[1] for row in rows[:2]] == ["other", "demo"]
    assert "2 queued, 1 done" in rows[1]
    assert [(one["grid"], one["n"], one["counts"]["done"]) for one in form["grids"]] == [
        ("demo", 3, 1),
        ("other", 1, 1),
    ]


def test_options_for_one_grid_need_its_name(folder: GridFolder) -> None:
    with pytest.raises(UserError, match="for one grid: name it"):
        status.main(["--watch"])
