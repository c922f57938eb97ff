"""`python -m benchmarks.pull`: time until thousands of runs are in a DataFrame.

From folders: a loop over the JSON files, against `analysis.load`. From wandb: the loop of its
documentation over runs, their config, summary and rows, against `analysis.load`, both on a stub of
the server that takes 50 ms per request. Each side is a process of its own, in turns. The files of
both sides are in the memory of the operating system.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anlp.console.command import run_command
from anlp.core.errors import EXIT_OK, UserError
from anlp.core.spec import RunSpec
from anlp.records.results import Outcome, RunResult
from benchmarks.made import specs, trained_grid
from benchmarks.measure import Cost, describe_machine, run, spread

if TYPE_CHECKING:
    import pandas as pd

Frames = tuple["pd.DataFrame", "pd.DataFrame"]
LATENCY_S = 0.05
ADDRESS = "wandb://me/anlp/made"
CLOSE = 1e-9  # sums over the same numbers in another order


def naive_folders(place: str) -> Frames:
    """Read result files as people do."""
    import pandas as pd

    runs, epochs = [], []
    for folder in sorted(Path(place).glob("*")):
        spec = json.loads((folder / "spec.json").read_text())["spec"]
        result = json.loads((folder / "result.json").read_text())
        runs.append({"run_id": spec["run_id"], **spec["settings"], **result["metrics"]})
        lines = (folder / "metrics.jsonl").read_text().splitlines()
        epochs += [{"run_id": spec["run_id"], **json.loads(line)} for line in lines]
    return pd.DataFrame(runs), pd.DataFrame(epochs)


def naive_wandb(place: str) -> Frames:
    """Export a project as wandb's documentation does, with all rows instead of a sample of 500."""
    import pandas as pd
    import wandb

    runs, epochs = [], []
    for found in wandb.Api().runs(place.removeprefix("wandb://").rpartition("/")[0]):
        runs.append({"run_id": found.id, **found.config, **dict(found.summary)})
        epochs += [
            {"run_id": found.id, "epoch": row["_step"], **row} for row in found.scan_history()
        ]
    return pd.DataFrame(runs), pd.DataFrame(epochs)


def ours(place: str) -> Frames:
    """`analysis.load`, from what is in its cache."""
    import analysis

    loaded = analysis.load(place)
    return loaded.runs, loaded.history


SIDES: Mapping[str, Callable[[str], Frames]] = {
    "folders": naive_folders,
    "wandb": naive_wandb,
    "ours": ours,
}


def measure(
    side: str, place: str, environment: Mapping[str, str] | None = None
) -> tuple[Cost, dict[str, float]]:
    """Return what one side cost in a process of its own, from start to end, and what it found."""
    cost = run([sys.executable, "-m", "benchmarks.pull", "--side", side, place], environment)
    return cost, json.loads(cost.output)


def compare_folders(root: Path, count: int, epochs: int, rounds: int) -> None:
    """Prints the figures for a grid's folders."""
    folder = trained_grid(root, count, epochs).path
    time.sleep(3)  # what changed within the last two seconds would be read again
    found: dict[str, list[Cost]] = {
        "JSON loop": [],
        "first look": [],
        "again": [],
        "again, one run is new": [],
    }
    sums = []
    for number in range(rounds):
        shutil.rmtree(folder / ".pulled", ignore_errors=True)
        for name, side in zip(found, ("folders", "ours", "ours", "ours"), strict=True):
            if name.endswith("new"):
                shutil.copytree(
                    trained_grid(root / f"more{number}", 1, epochs + 1 + number).path,
                    folder,
                    dirs_exist_ok=True,
                )
            cost, checks = measure(side, str(folder))
            found[name].append(cost)
            sums += [] if name.endswith("new") else [checks]
    _print(f"{count:,} runs x {epochs} epochs from folders", found, "JSON loop")
    _require_equal(sums[:3])


def compare_wandb(count: int, epochs: int) -> None:
    """Prints the figures for a wandb project, served by the stub of the tests."""
    from tests.support.wandb_server import KEY, Stub

    stub = Stub(latency_s=LATENCY_S)
    try:
        made = specs(count, epochs=epochs)
        stub.put({f"me/anlp/{spec.run_id}": _stored(spec, epochs) for spec in made})
        with tempfile.TemporaryDirectory() as home:
            known = {
                "BASE_URL": stub.url,
                "API_KEY": KEY,
                "SILENT": "true",
                "ERROR_REPORTING": "false",
            }
            environment = {f"WANDB_{name}": value for name, value in known.items()} | {
                "HOME": home,
                "ANLP_RUNS": home,
            }
            found, asked, sums = {}, {}, []
            for name, side in (
                ("wandb.Api loop", "wandb"),
                ("first look", "ours"),
                ("again", "ours"),
            ):
                before = sum(stub.counts().values())
                cost, checks = measure(side, ADDRESS, environment)
                found[name], asked[name] = [cost], sum(stub.counts().values()) - before
                sums.append(checks)
    finally:
        stub.close()
    _print(f"{count:,} runs x {epochs} epochs from wandb", found, "wandb.Api loop", asked)
    _require_equal(sums)


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the figures that the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pull", description=__doc__)
    parser.add_argument(
        "--runs", type=int, default=10_000, help="in the grid's folders (%(default)s)"
    )
    parser.add_argument("--epochs", type=int, default=100, help="of each run (%(default)s)")
    parser.add_argument(
        "--wandb-runs", type=int, default=100, help="in the wandb project (%(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="of the folders (%(default)s)")
    parser.add_argument("--side", nargs=2, metavar=("NAME", "PLACE"), help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.side:
        print(json.dumps(_checks(*SIDES[options.side[0]](options.side[1]))))
        return EXIT_OK
    print("\n".join(f"{name}: {value}" for name, value in describe_machine().items()))
    with tempfile.TemporaryDirectory() as root:
        compare_folders(Path(root), options.runs, options.epochs, options.rounds)
    compare_wandb(options.wandb_runs, options.epochs)
    return EXIT_OK


def _stored(spec: RunSpec, epochs: int) -> dict[str, Any]:
    """Return a run as the stub keeps it."""
    rows = [
        {"_step": epoch, "val/acc": 1 - 1 / (2 + epoch), "val/loss": 1 / (1 + epoch)}
        for epoch in range(epochs + 1)
    ]
    result = RunResult(
        spec.run_id, Outcome.OK, {"test/acc": 0.98}, epoch=epochs, epochs=epochs, seconds=10.0
    )
    config = {
        **spec.settings.values(),
        "task": spec.task,
        "seed": spec.seed,
        "config_id": spec.config_id,
    }
    return {
        "entity": "me",
        "project": "anlp",
        "run_id": spec.run_id,
        "name": "x",
        "id": spec.run_id,
        "tags": [],
        "history": rows,
        "summary": {"_step": epochs, **result.to_summary(), "outcome": "ok"},
        "exit_code": 0,
        "config": config,
        "raw_config": json.dumps({name: {"value": value} for name, value in config.items()}),
        "state": "finished",
        "group": "made",
        "job_type": "search",
        "is_preempted": False,
    }


def _checks(runs: pd.DataFrame, epochs: pd.DataFrame) -> dict[str, float]:
    """Return what both sides must agree in."""
    return {
        "runs": len(runs),
        "epochs": len(epochs),
        "test/acc": math.fsum(runs["test/acc"]),
        "lr": math.fsum(runs["lr"]),
        "val/acc": math.fsum(epochs["val/acc"]),
    }


def _require_equal(found: Sequence[Mapping[str, float]]) -> None:
    first, *others = found
    for other in others:
        if any(not math.isclose(first[name], other[name], rel_tol=CLOSE) for name in first):
            raise UserError(f"the sides do not agree: {first} and {other}")
    print(
        f"  all sides agree: {first['runs']:,} runs, {first['epochs']:,} epochs, sums to {CLOSE:g}"
    )


def _print(
    title: str,
    found: Mapping[str, Sequence[Cost]],
    base: str,
    requests: Mapping[str, int] | None = None,
) -> None:
    print(
        f"{title}\n  {'':22} {'wall s':24} {'ratio':20} {'CPU s':24} {'peak MiB':10} "
        f"{'requests' if requests else ''}"
    )
    for name, costs in found.items():
        wall, cpu = spread([cost.wall_s for cost in costs]), spread([cost.cpu_s for cost in costs])
        ratio = spread(
            [before.wall_s / after.wall_s for before, after in zip(found[base], costs, strict=True)]
        )
        peak = max(cost.peak_mib for cost in costs)
        words = f"{name:22} {wall.render():24} {ratio.render(1):20} {cpu.render():24} {peak:<10.0f}"
        print(f"  {words} {requests[name] if requests else ''}".rstrip())


if __name__ == "__main__":
    sys.exit(run_command(main))
