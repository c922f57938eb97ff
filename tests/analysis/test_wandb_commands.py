"""Every command on a project of a wandb server, and on one that people and other programs have
written into by hand.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import wandb

import analysis
from analysis import convergence, curves, export, importance, parallel, plot, report, tables
from anlp.console.command import run_command
from anlp.records.results import Outcome, RunResult
from anlp.tasks import make_spec
from tests.support.curves import learned
from tests.support.wandb_server import KEY, Stub

pytestmark = pytest.mark.slow

ADDRESS = "wandb://me/anlp/study"
BASELINES, SIZES = (
    {"random": 0.1, "majority": 0.1135},
    {"train": 54_000, "val": 6_000, "test": 10_000},
)


@pytest.fixture(scope="module", autouse=True)
def service() -> Iterator[None]:
    yield
    wandb.teardown()  # ends the process that sends the requests


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Stub]:
    server = Stub()
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "BASE_URL": server.url,
        "API_KEY": KEY,
        "ERROR_REPORTING": "false",
        "SILENT": "true",
    }.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    yield server
    server.close()


def history_of(acc: float, epochs: int = 12) -> list[dict[str, Any]]:
    return [{"_step": line.pop("epoch"), **line} for line in map(dict, learned(acc, epochs))]


def stored(
    acc: float, seed: int, *, history: list[dict[str, Any]] | None = None, **settings: Any
) -> dict[str, Any]:
    """A run of this suite as the server has it."""
    spec = make_spec("mnist", {"epochs": 12, **settings}, seed)
    config = {
        **spec.settings.values(),
        "task": spec.task,
        "seed": spec.seed,
        "config_id": spec.config_id,
    }
    metrics = {"test/acc": acc, "val/acc": acc, "val/loss": 1 - acc, "test/loss": 1 - acc}
    result = RunResult(
        spec.run_id,
        Outcome.OK,
        metrics,
        epoch=12,
        epochs=12,
        seconds=2.0,
        baselines=BASELINES,
        sizes=SIZES,
    )
    return {
        **dict.fromkeys(("entity", "project", "group"), "me"),
        "project": "anlp",
        "group": "study",
        **dict.fromkeys(("run_id", "id", "name"), spec.run_id),
        "tags": ["keep", "paper & more"],
        "history": history_of(acc) if history is None else history,
        "summary": {"_step": 12, **metrics, **result.to_summary(), "outcome": "ok"},
        "exit_code": 0,
        "job_type": "search",
        "config": config,
        "raw_config": json.dumps({name: {"value": value} for name, value in config.items()}),
        "state": "finished",
        "is_preempted": False,
    }


def by_hand(
    run: dict[str, Any], config: dict[str, Any] | None = None, **changes: Any
) -> dict[str, Any]:
    """The same with what a person, or another program, made of it; a value of None takes a key of
    the config away.
    """
    new = {**run["config"], **(config or {})}
    kept = {name: value for name, value in new.items() if value is not None}
    raw = json.dumps({name: {"value": value} for name, value in kept.items()})
    return {**run, "config": kept, "raw_config": raw, **changes}


def study() -> list[dict[str, Any]]:
    return [
        stored(
            0.9 + 0.03 * (lr == 0.01) - 0.02 * (optimizer == "adam") + 0.002 * seed,
            seed,
            lr=lr,
            optimizer=optimizer,
        )
        for lr in (0.1, 0.01, 0.001)
        for optimizer in ("sgd", "adam")
        for seed in range(3)
    ]


def put(stub: Stub, runs: Sequence[dict[str, Any]]) -> None:
    stub.put({f"{run['entity']}/{run['project']}/{run['run_id']}": run for run in runs})


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "tables": tables.main,
    "tables of losses": lambda argv: tables.main(
        [*argv, "--select", "val/loss", "--pivot", "lr", "optimizer"]
    ),
    "parallel": parallel.main,
    "page": lambda argv: parallel.main([*argv, "--html"]),
    "curves": curves.main,
    "convergence": convergence.main,
    "importance": lambda argv: importance.main([*argv, "--no-forest"]),
    "export": lambda argv: export.main([*argv, "--csv", "runs.csv"]),
    "plot": lambda argv: plot.main(["box", *argv, "--by", "lr"]),
    "report": report.main,
}


def test_every_command_takes_a_project(stub: Stub, capsys: pytest.CaptureFixture[str]) -> None:
    put(stub, study())

    for name, main in COMMANDS.items():
        code = run_command(lambda main=main: main(["--from", ADDRESS]))  # type: ignore[misc] # bound to this turn
        printed = capsys.readouterr()
        assert (name, code, "Traceback" in printed.err) == (name, 0, False), printed.err
        assert printed.out.strip() or Path("runs.csv").exists()

    page = Path("runs/.wandb/me/anlp/study/report/report.md").read_text()
    assert "python -m analysis.tables wandb://me/anlp/study" in page
    assert "lr=0.01 optimizer=sgd: test/acc 93.200 ± 0.497 % (n = 3)" in page


def tampered() -> list[dict[str, Any]]:
    """A project in which people worked by hand, and another program."""
    sound = study()
    first = sound[0]
    other = {
        **stored(0.5, 100),
        **dict.fromkeys(("run_id", "id"), "othertool"),
        "summary": {"loss": "NaN", "model": {"kind": "x"}, "best": None},
        "history": [{"_step": 0, "loss": {"a": 1}, "image": {"_type": "image-file"}}],
    }
    return [
        *sound,
        {**by_hand(other), "config": {"lr": 3}, "raw_config": json.dumps({"lr": {"value": 3}})},
        by_hand(stored(0.5, 101), {"task": None}),
        by_hand(stored(0.5, 102), {"seed": None}),
        by_hand(stored(0.5, 103), {"lr": "fast"}),
        by_hand(stored(0.5, 104), {"lr": {"start": 0.1, "end": 0.01}}),
        by_hand(stored(0.5, 105), {"seed": "five"}),
        by_hand(stored(0.5, 106), {"learning_rate": 0.1}),
        by_hand(stored(0.8, 107, lr=0.1), state="crashed", summary={"_step": 3}),
        by_hand(
            stored(0.8, 108, lr=0.1), summary={**first["summary"], "result": "{", "test/acc": "NaN"}
        ),
        by_hand(
            stored(0.8, 109, lr=0.1),
            summary={"outcome": "ok", "test/acc": "NaN", "val/acc": {"max": 0.8}},
        ),
        by_hand(
            stored(0.8, 110, lr=0.1),
            history=[{"_step": i, "val/acc": 0.8, "note": "x"} for i in range(1500)],
        ),
        by_hand(
            stored(0.8, 111, lr=0.1),
            history=[{"_step": 0, "val/acc": {"_type": "histogram"}}, {"_step": 1}],
        ),
        by_hand(stored(0.8, 112, lr=0.1), {"task": ["mnist"]}),
    ]


def test_a_project_changed_by_hand_gives_notes_and_every_answer(
    stub: Stub, capsys: pytest.CaptureFixture[str]
) -> None:
    put(stub, tampered())

    for name, main in COMMANDS.items():
        code = run_command(lambda main=main: main(["--from", ADDRESS]))  # type: ignore[misc] # bound to this turn
        assert (name, code) == (name, 0), capsys.readouterr().err
        capsys.readouterr()

    loaded = analysis.load(ADDRESS)
    notes = {note.partition(":")[0]: note for note in loaded.notes}
    spoilt = {str(run["seed"]) for _, run in loaded.runs.iterrows() if run["seed"] >= 100}
    assert spoilt == {"106", "107", "108", "109", "110", "111"}
    foreign = (
        "othertool: skipped, its config names no task: no run of this suite, or changed by hand"
    )
    assert notes["othertool"] == foreign
    said = " ".join(loaded.notes)
    assert "seed: expected a whole number, got None" in said
    assert "seed: expected a whole number, got 'five'" in said
    assert (
        "lr: Input should be a valid number, unable to parse string as a number, got 'fast'" in said
    )
    assert "lr: Input should be a valid number, got {'start': 0.1, 'end': 0.01}" in said
    assert "no settings of task mnist, ignored: learning_rate" in said
    assert "a task that is not known here: ['mnist']" in said
    long = loaded.runs.loc[loaded.runs["seed"] == 110, "run_id"].iloc[0]
    assert (loaded.history["run_id"] == long).sum() == 1500
    outcomes = loaded.runs.set_index("seed")["outcome"]
    assert outcomes[107] == "unfinished"
    nan = loaded.runs.loc[loaded.runs["seed"] == 109, "test/acc"].iloc[0]
    assert math.isnan(nan)
