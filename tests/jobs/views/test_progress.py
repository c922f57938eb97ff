from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console

from anlp.core.spec import RunSpec, varying
from anlp.records.files import write_json
from anlp.records.folders import GridFolder
from anlp.records.results import Outcome, RunError, RunResult, RunState
from anlp.tasks import make_spec
from jobs.runs.status import NO_RESULT, classify
from jobs.schedulers.base import Cause, JobState, Phase
from jobs.schedulers.local.events import ElementEnded, ElementStarted, Notice, Tick
from jobs.views.progress import MOST_LINES, ProgressScreen, last_line, standing_of, why_of
from jobs.views.progress_model import ProgressState, render_metric


def make_specs(n: int = 4, epochs: int = 10) -> list[RunSpec]:
    return [
        make_spec("mnist", {"lr": 0.1 * (i + 1), "epochs": epochs, "data": "digits"}, 0)
        for i in range(n)
    ]


def ended(
    index: int, cause: Cause | None = None, detail: str = "", exit_code: int | None = 0
) -> ElementEnded:
    return ElementEnded(index, JobState(Phase.ENDED, cause, detail), exit_code, seconds=1.5)


def log_epoch(folder: GridFolder, spec: RunSpec, epoch: int) -> None:
    path = folder.run(spec.run_id).metrics
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(
            json.dumps({"epoch": epoch, "train/loss": 1.0, "val/acc": epoch / 100, "val/loss": 2.0})
            + "\n"
        )


def write_result(
    folder: GridFolder, spec: RunSpec, outcome: Outcome, error: RunError | None = None
) -> None:
    path = folder.run(spec.run_id).result
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, RunResult(spec.run_id, outcome, {"val/acc": 0.93126}, error=error).to_json())


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Stage:
    """A screen that writes into a string, as a terminal or not."""

    def __init__(
        self, folder: GridFolder, specs: Sequence[RunSpec], *, terminal: bool, quiet: bool = False
    ) -> None:
        self.clock = Clock()
        self.out = io.StringIO()
        console = Console(
            file=self.out, force_terminal=terminal, width=100, height=20, legacy_windows=False
        )
        self.screen = ProgressScreen(
            folder, specs, "tag", console=console, quiet=quiet, clock=self.clock
        )

    def text(self) -> str:
        return self.out.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> GridFolder:
    return GridFolder(tmp_path / "digits")


def test_the_view_counts_what_ended_and_shows_what_runs() -> None:
    state = ProgressState(make_specs(), now=0.0)
    for index in range(3):
        state.start(index, now=1.0)
    state.end(0, RunState.DONE)
    state.end(1, RunState.FAILED)
    state.measure(2, {"epoch": 5, "val/acc": 0.25})

    view = state.view(now=11.0)

    assert (view.total, view.ended, view.counts) == (4, 2, {RunState.DONE: 1, RunState.FAILED: 1})
    assert [(row.label, row.epoch, row.metric, row.seconds) for row in view.active] == [
        ("lr=0.3", "5/10", "val/acc 0.2500", 10.0)
    ]
    assert view.progress == 2.5
    assert view.left_s == pytest.approx(10 * 1.5 / 2.5)
    assert view.summary() == "2/4  1 done, 1 failed, 1 running  11 s, about 6 s left"


def test_before_anything_has_run_no_end_is_foretold() -> None:
    state = ProgressState(make_specs(), now=0.0)

    assert state.view(3.0).left_s is None
    assert state.view(3.0).summary() == "0/4  starting  3 s"


def test_a_requeued_run_is_not_under_way_until_it_starts_again() -> None:
    state = ProgressState(make_specs(), now=0.0)
    state.start(1, 1.0)
    state.requeue(1)

    assert state.view(2.0).active == ()


def test_only_settings_that_vary_and_apply_are_named() -> None:
    specs = [
        make_spec("mnist", {"model": model, "filters": n}, 0)
        for model, n in [("dense", 16), ("cnn", 8)]
    ]
    seeds = [make_spec("mnist", {}, seed) for seed in range(2)]

    assert varying(spec.values for spec in specs) == ["model", "filters"]
    assert ProgressState(specs, 0.0).label(0) == "model=dense"
    assert ProgressState(specs, 0.0).label(1) == "model=cnn filters=8"
    assert ProgressState(seeds, 0.0).label(1) == "seed=1"


@pytest.mark.parametrize(
    ("metrics", "monitored", "text"),
    [
        ({"val/loss": 0.123456, "val/acc": 0.93126}, "val/acc", "val/acc 0.9313"),
        ({"val/loss": 0.123456, "val/acc": 0.93126}, "val/loss", "val/loss 0.1235"),
        ({"val/loss": 0.123456}, "val/acc", "val/loss 0.1235"),
        ({"train/loss": 1, "val/f1": 0.5}, "val/acc", "val/f1 0.5000"),
        ({"val/loss": None}, "val/acc", "val/loss nan"),
        ({"train/loss": 1.0}, "val/acc", ""),
    ],
)
def test_the_metric_shown_is_the_one_that_the_run_monitors(
    metrics: dict[str, float], monitored: str, text: str
) -> None:
    assert render_metric(metrics, monitored) == text


@pytest.mark.parametrize(
    ("content", "epoch"),
    [
        ("", None),
        ('{"epoch": 0}\n{"epoch": 1}\n', 1),
        ('{"epoch": 0}\n{"epoch": 1', 0),
        ('{"epoch": 0}\n' + '{"epoch": 2, "x": "' + "y" * 5000 + '"}\n', 2),
        ("nonsense\n", None),
    ],
)
def test_the_last_whole_line_is_read_from_the_end(
    tmp_path: Path, content: str, epoch: int | None
) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(content)

    found = last_line(path)

    assert (found and found["epoch"]) == epoch


def test_a_file_that_is_not_there_has_no_last_line(tmp_path: Path) -> None:
    assert last_line(tmp_path / "metrics.jsonl") is None


@pytest.mark.parametrize(
    ("event", "state", "why"),
    [
        (
            ended(0, Cause.OUT_OF_MEMORY, "used 2.1 of 2.0 GiB"),
            RunState.LOST,
            "out of memory: used 2.1 of 2.0 GiB",
        ),
        (ended(0, Cause.CANCELLED), RunState.INTERRUPTED, "cancelled"),
        (
            ended(0, exit_code=4, detail="another process is training it"),
            RunState.RUNNING,
            "another process is training it",
        ),
        (ended(0, exit_code=0), RunState.LOST, NO_RESULT),
    ],
)
def test_a_run_without_a_result_is_judged_by_how_it_ended(
    folder: GridFolder, event: ElementEnded, state: RunState, why: str
) -> None:
    standing, result = standing_of(event, folder.run("x"), "tag")

    assert (standing.state, why_of(standing, result)) == (state, why)


def test_a_failed_run_is_told_by_the_last_line_of_its_traceback() -> None:
    error = RunError("RuntimeError", "CUDA out of memory\nmore", "Traceback ...")

    result = RunResult("x", Outcome.FAILED, error=error)

    assert why_of(classify(None, result), result) == "RuntimeError: CUDA out of memory"


def test_without_a_terminal_each_finished_run_is_a_line(folder: GridFolder) -> None:
    specs = make_specs(2)
    write_result(folder, specs[0], Outcome.OK)
    write_result(folder, specs[1], Outcome.FAILED, RunError("ValueError", "bad \x1b[31mvalue", "…"))
    stage = Stage(folder, specs, terminal=False)

    with stage.screen as screen:
        screen.on_event(Notice("NO GPU HERE"))
        for index in range(2):
            screen.on_event(ElementStarted(index, 1, 0))
            screen.on_event(Tick())
            screen.on_event(ended(index, exit_code=index))

    assert stage.text().splitlines() == [
        "NO GPU HERE",
        f"1/2  done  {specs[0].run_id[:8]} lr=0.1  val/acc 0.9313  1.5 s",
        f"failed  {specs[1].run_id[:8]} lr=0.2: ValueError: bad value",
        f"  {folder.run(specs[1].run_id).log}",
    ]


def test_large_grids_get_a_summary_now_and_then_instead(folder: GridFolder) -> None:
    specs = make_specs(MOST_LINES + 1)
    write_result(folder, specs[0], Outcome.OK)
    stage = Stage(folder, specs, terminal=False)

    with stage.screen as screen:
        screen.on_event(ElementStarted(0, 1, 0))
        screen.on_event(ended(0))
        for _ in range(25):
            stage.clock.now += 1.0
            screen.on_event(Tick())

    lines = stage.text().splitlines()
    assert len(lines) == 2
    assert lines[0] == "1/101  1 done  10 s, about 16 min 40 s left"


def test_quiet_says_only_what_went_wrong(folder: GridFolder) -> None:
    specs = make_specs(2)
    write_result(folder, specs[0], Outcome.OK)
    stage = Stage(folder, specs, terminal=True, quiet=True)

    with stage.screen as screen:
        screen.on_event(ended(0))
        screen.on_event(ended(1, Cause.SIGNAL, "signal 9"))

    assert "done" not in stage.text()
    assert "killed by signal 9" in stage.text()


def test_the_live_display_draws_the_bar_and_the_runs_under_way(
    folder: GridFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    specs = make_specs()
    stage = Stage(folder, specs, terminal=True)
    write_result(folder, specs[0], Outcome.OK)

    with stage.screen as screen:
        for index in (0, 1, 2):
            screen.on_event(ElementStarted(index, 1, 0))
        log_epoch(folder, specs[1], 7)
        screen.on_event(ended(0))
        screen.on_event(ended(2, Cause.OUT_OF_MEMORY, "used 2.1 of 2.0 GiB"))
        stage.clock.now += 9.0
        screen.on_event(Tick())
        drawn = stage.text()

    assert "digits" in drawn
    assert "━" in drawn
    assert "2/4  1 done, 1 lost, 1 running  9 s" in drawn
    assert specs[1].run_id[:8] in drawn
    assert "epoch 7/10" in drawn
    assert "val/acc 0.0700" in drawn
    assert "out of memory: used 2.1 of 2.0 GiB" in drawn


def test_the_display_has_no_colour_where_none_is_wanted(
    folder: GridFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    stage = Stage(folder, make_specs(), terminal=True)

    with stage.screen as screen:
        screen.on_event(Notice("something"))
        stage.clock.now += 1.0
        screen.on_event(ElementStarted(0, 1, 0))

    assert "\x1b[3" not in stage.text()
