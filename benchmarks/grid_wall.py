"""`python -m benchmarks.grid_wall`: a grid by this suite against a loop over separate processes.

Both sides are whole commands, imports and all, in turns: in each round the loop trains one dense
and one convolutional configuration, a fresh process each, and the suite trains the whole grid. Half
of the grid is dense, half convolutional. `one core`: both sides on one core with one thread.
`machine`: both sides as they come, the loop with torch's default threads, the suite with its
default slots.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from anlp.console.command import run_command
from anlp.core.errors import EXIT_OK, UserError
from anlp.datasets import catalogue
from anlp.records.files import read_json
from anlp.records.folders import GridFolder, RunFolder
from benchmarks.measure import Cost, describe_machine, load, run, spread

# optimizer and learning rate of each pair of configurations
PAIRS = (
    ("adam", 0.001),
    ("sgd", 0.1),
    ("adam", 0.0003),
    ("sgd", 0.03),
    ("adam", 0.003),
    ("sgd", 0.01),
)
MODELS = ("dense", "cnn")
PARTS = ("one core", "machine")

Configuration = tuple[str, str, float]  # model, optimizer, learning rate


@dataclass(frozen=True, slots=True)
class Naive:
    """How the loop is carried out."""

    textbook: bool = False
    workers: int = 0

    def describe(self) -> str:
        """Return the heading of the figures."""
        code = "models as in textbooks" if self.textbook else "the suite's model code"
        return f"{code}, {self.workers or 'no'} loader workers"


@dataclass(frozen=True, slots=True)
class Bench:
    """Everything that stays the same over the rounds."""

    runs: int
    epochs: int
    rounds: int
    naive: Naive
    mnist: Path  # torchvision's folder
    data_dir: Path
    scratch: Path

    @property
    def pairs(self) -> Sequence[tuple[str, float]]:
        """Optimizer and learning rate, each of which goes with both models."""
        return PAIRS[: self.runs // len(MODELS)]


@dataclass(slots=True)
class Found:
    """Measurements of one part."""

    naive: dict[Configuration, list[Cost]] = field(default_factory=dict)
    suite: list[Cost] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)  # of wall time per run, one per round
    cpu_ratios: list[float] = field(default_factory=list)
    naive_acc: dict[Configuration, list[float]] = field(default_factory=dict)
    suite_acc: dict[Configuration, list[float]] = field(default_factory=dict)


def measure(bench: Bench, parts: Sequence[str]) -> dict[str, Found]:
    """Runs all rounds, one part after the other within each."""
    found = {part: Found() for part in parts}
    for number in range(bench.rounds):
        for part in parts:
            _measure_round(bench, part, number, found[part])
            wall, cpu = found[part].ratios[-1], found[part].cpu_ratios[-1]
            _say(
                f"round {number + 1} of {bench.rounds}, {part}: "
                f"{wall:.2f} (CPU {cpu:.2f}), load {load()}"
            )
    return found


def _measure_round(bench: Bench, part: str, number: int, found: Found) -> None:
    optimizer, lr = bench.pairs[number % len(bench.pairs)]
    costs = []
    for model in MODELS:
        configuration = (model, optimizer, lr)
        costs.append(_run_naive(bench, part, configuration, seed=number))
        found.naive.setdefault(configuration, []).append(costs[-1])
        accuracy = json.loads(costs[-1].output.splitlines()[-1])["test/acc"]
        found.naive_acc.setdefault(configuration, []).append(accuracy)
    suite = _run_suite(bench, part, number, found)
    found.suite.append(suite)
    found.ratios.append(
        statistics.mean(cost.wall_s for cost in costs) / (suite.wall_s / bench.runs)
    )
    found.cpu_ratios.append(
        statistics.mean(cost.cpu_s for cost in costs) / (suite.cpu_s / bench.runs)
    )


def _run_naive(bench: Bench, part: str, configuration: Configuration, *, seed: int) -> Cost:
    model, optimizer, lr = configuration
    argv = [
        *(sys.executable, "-m", "benchmarks.naive_loop"),
        *("--model", model, "--optimizer", optimizer, "--lr", str(lr)),
        *(
            "--epochs",
            str(bench.epochs),
            "--seed",
            str(seed),
            "--workers",
            str(bench.naive.workers),
        ),
        *("--data", str(bench.mnist), "--wandb-dir", str(bench.scratch)),
        *(["--textbook"] if bench.naive.textbook else []),
    ]
    return run(*_confine(part, argv))


def _run_suite(bench: Bench, part: str, number: int, found: Found) -> Cost:
    grid = bench.scratch / f"grid{number}.yaml"
    grid.write_text(json.dumps(_grid(bench, seed=number)))  # JSON is YAML
    root = bench.scratch / part.replace(" ", "-")
    argv = [sys.executable, "-m", "jobs.submit", str(grid), "--yes", "--quiet", "--device", "cpu"]
    argv += ["--slots", "1"] if part == "one core" else []
    command, environment = _confine(part, argv)
    cost = run(command, {**environment, "ANLP_RUNS": str(root), "ANLP_DATA": str(bench.data_dir)})
    for folder in GridFolder(root / grid.stem).path.glob("*/result.json"):
        _note_accuracy(RunFolder(folder.parent), found)
    return cost


def _note_accuracy(folder: RunFolder, found: Found) -> None:
    spec, result = read_json(folder.spec), read_json(folder.result)
    if spec is None or result is None:
        raise UserError(f"{folder.path}: the run left no result")
    settings = spec["spec"]["settings"]
    configuration = (settings["model"], settings["optimizer"], settings["lr"])
    found.suite_acc.setdefault(configuration, []).append(result["metrics"]["test/acc"])


def _grid(bench: Bench, *, seed: int) -> dict[str, Any]:
    optimizers, rates = zip(*bench.pairs, strict=True)
    return {
        "task": "mnist",
        "fixed": {"epochs": bench.epochs, "batch_size": 64, "test_at": "last"},
        "grid": {"model": list(MODELS)},
        "zip": {"optimizer": list(optimizers), "lr": list(rates)},
        "seeds": [seed],
        "wandb": {"project": "suite", "mode": "offline"},
    }


def _confine(part: str, argv: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Return the command and its environment, kept to one core where the part says so."""
    if part == "machine":
        return list(argv), {}
    core = min(os.sched_getaffinity(0))
    return ["taskset", "-c", str(core), *argv], {"OMP_NUM_THREADS": "1"}


def prepare_mnist(data_dir: Path, root: Path) -> None:
    """MNIST as torchvision wants to find it, in `root`.

    Raises:
        UserError: the files are not in `data_dir`.
    """
    files = catalogue.find("mnist", data_dir)
    if files is None:
        raise UserError(catalogue.where_to_put("mnist", data_dir))
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, path in files.items():
        content = path.read_bytes()
        (raw / name).write_bytes(gzip.decompress(content) if path.suffix == ".gz" else content)


def render(bench: Bench, found: Mapping[str, Found], machine: Mapping[str, str]) -> str:
    """Return the figures for people."""
    lines = [
        ", ".join(f"{name} {value}" for name, value in machine.items()),
        f"{bench.runs} runs of {bench.epochs} epochs, half dense, half cnn, batch 64, "
        f"{bench.rounds} rounds",
        f"naive loop: {bench.naive.describe()}",
    ]
    for part, figures in found.items():
        naive = [cost for costs in figures.naive.values() for cost in costs]
        lines += [
            "",
            part,
            f"  wall time, naive / suite   {spread(figures.ratios).render()}",
            f"  CPU time, naive / suite    {spread(figures.cpu_ratios).render()}",
            f"  naive, wall s per run      {_render_seconds([cost.wall_s for cost in naive], 1)}",
            "  suite, wall s per run      "
            f"{_render_seconds([cost.wall_s for cost in figures.suite], bench.runs)}",
            f"  naive, CPU s per run       {_render_seconds([cost.cpu_s for cost in naive], 1)}",
            "  suite, CPU s per run       "
            f"{_render_seconds([cost.cpu_s for cost in figures.suite], bench.runs)}",
        ]
    return "\n".join([*lines, "", *_render_accuracies(list(found.values()))])


def _render_seconds(values: Sequence[float], runs: int) -> str:
    return spread([value / runs for value in values]).render(1)


def _render_accuracies(found: Sequence[Found]) -> list[str]:
    """Mean test accuracy in percent per configuration, both sides; every round has its own seed."""
    lines = [f"{'test accuracy, %':24}{'naive':>8}{'suite':>8}{'difference':>12}"]
    for configuration in found[0].suite_acc:
        naive, suite = (
            [
                100 * value
                for figures in found
                for value in getattr(figures, side).get(configuration, [])
            ]
            for side in ("naive_acc", "suite_acc")
        )
        if naive:
            ours, theirs = statistics.mean(suite), statistics.mean(naive)
            lines.append(
                f"{' '.join(map(str, configuration)):24}"
                f"{theirs:8.2f}{ours:8.2f}{ours - theirs:+12.2f}"
            )
    return lines


def form(bench: Bench, found: Mapping[str, Found], machine: Mapping[str, str]) -> dict[str, Any]:
    """Return the figures for machines."""
    parts = {
        part: {
            "wall_ratio": asdict(spread(figures.ratios)),
            "cpu_ratio": asdict(spread(figures.cpu_ratios)),
            "suite": [{"wall_s": cost.wall_s, "cpu_s": cost.cpu_s} for cost in figures.suite],
            "naive": [
                {"configuration": configuration, "wall_s": cost.wall_s, "cpu_s": cost.cpu_s}
                for configuration, costs in figures.naive.items()
                for cost in costs
            ],
            "naive_acc": {
                " ".join(map(str, key)): values for key, values in figures.naive_acc.items()
            },
            "suite_acc": {
                " ".join(map(str, key)): values for key, values in figures.suite_acc.items()
            },
        }
        for part, figures in found.items()
    }
    size = {
        "runs": bench.runs,
        "epochs": bench.epochs,
        "rounds": bench.rounds,
        "naive": asdict(bench.naive),
    }
    return {"machine": dict(machine), **size, "parts": parts}


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.grid_wall", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument(
        "--runs", type=int, default=12, help=f"size of the grid, even, 2 to {2 * len(PAIRS)}"
    )
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("ANLP_DATA") or "data"))
    parser.add_argument("--part", action="append", choices=PARTS, help="only this part")
    parser.add_argument(
        "--textbook",
        action="store_true",
        help="the naive loop takes models as tutorials write them",
    )
    parser.add_argument(
        "--workers", type=int, default=0, help="the naive loop's DataLoader workers"
    )
    parser.add_argument(
        "--quick", action="store_true", help="one round on one core, 4 runs: about 90 s"
    )
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(argv)
    if args.runs % 2 or not 2 <= args.runs <= 2 * len(PAIRS):
        parser.error(f"--runs: expected an even number from 2 to {2 * len(PAIRS)}, got {args.runs}")
    if args.epochs < 1 or args.rounds < 1:
        parser.error("--epochs and --rounds: expected at least 1")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Measures and prints."""
    args = parse_arguments(argv)
    parts, runs, rounds = args.part or PARTS, args.runs, args.rounds
    if args.quick:
        parts, runs, rounds = ["one core"], 4, 1
    if "one core" in parts and shutil.which("taskset") is None:
        raise UserError(
            "taskset is not installed, so nothing can be kept to one core; add --part machine"
        )
    machine = describe_machine()
    with tempfile.TemporaryDirectory() as scratch:
        mnist = Path(scratch) / "torchvision"
        prepare_mnist(args.data.absolute(), mnist)
        naive = Naive(args.textbook, args.workers)
        bench = Bench(runs, args.epochs, rounds, naive, mnist, args.data.absolute(), Path(scratch))
        found = measure(bench, parts)
    print(
        json.dumps(form(bench, found, machine), indent=1)
        if args.json
        else render(bench, found, machine)
    )
    return EXIT_OK


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(run_command(main))
