"""`python -m benchmarks.packing`: short runs on Slurm, one per job against several (`--pack`).

One GPU is pretended: a side has one job at a time (`--max-parallel 1`). Each side submits the same
grid anew, in turns; its time is from the submit command to the last result, with all that a job
costs: scheduling, Python, torch, the data.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from anlp.console.command import run_command
from anlp.core.errors import EXIT_OK, UserError
from anlp.records.folders import RunFolder
from anlp.records.results import Outcome, read_result
from benchmarks.measure import Spread, describe_machine, load, run, spread

ALONE = "one run per job"
PATIENCE_S = 900.0
POLL_S = 0.2
S_PER_HOUR = 3600.0
GRID = {
    "task": "mnist",
    "fixed": {"data": "digits", "hidden": 64, "epochs": 3},
    "wandb": {"mode": "disabled"},
}


def make_sides(runs: int, pack: int) -> dict[str, list[str]]:
    """Return what each side adds to the command line of submit."""
    chain = str(-(-runs // pack))
    return {
        ALONE: [],
        f"--chain {runs}": ["--chain", str(runs)],
        f"--pack {pack} --chain {chain}": ["--pack", str(pack), "--chain", chain],
    }


def measure(root: Path, name: str, runs: int, words: Sequence[str]) -> float:
    """Seconds from the command to the last of `runs` results.

    Raises:
        UserError: a run failed, or they took too long.
    """
    grid = root / f"{name}.yaml"
    grid.write_text(json.dumps({**GRID, "seeds": runs}))  # JSON is YAML
    argv = [
        sys.executable,
        "-m",
        "jobs.submit",
        str(grid),
        "--on",
        "slurm",
        "--max-parallel",
        "1",
        "--time",
        "30m",
    ]
    began = time.monotonic()
    run([*argv, *words], {"ANLP_RUNS": str(root / "runs")})
    while (done := _count_results(root / "runs" / name)) < runs:
        if time.monotonic() - began > PATIENCE_S:
            raise UserError(f"{name}: {done} of {runs} runs have a result after {PATIENCE_S:g} s")
        time.sleep(POLL_S)
    return time.monotonic() - began


def _count_results(folder: Path) -> int:
    results = [read_result(RunFolder(path.parent)) for path in folder.glob("*/result.json")]
    if any(result is not None and result.outcome is not Outcome.OK for result in results):
        raise UserError(f"{folder}: a run did not end well; see its log.txt")
    return len(results)


def compare(root: Path, runs: int, pack: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of each side, round by round."""
    found: dict[str, list[float]] = defaultdict(list)
    for number in range(rounds):
        for side, (name, words) in enumerate(make_sides(runs, pack).items()):
            found[name].append(measure(root, f"round{number}side{side}", runs, words))
            print(f"round {number + 1}: {name}: {found[name][-1]:.1f} s", file=sys.stderr)
    return found


def summarise(seconds: Mapping[str, Sequence[float]], runs: int) -> dict[str, dict[str, Spread]]:
    """Runs per hour of each side, and how many times those of one run per job, round by round."""
    alone = seconds[ALONE]
    return {
        name: {
            "runs per hour": spread([S_PER_HOUR * runs / took for took in some]),
            "times": spread([before / took for before, took in zip(alone, some, strict=True)]),
        }
        for name, some in seconds.items()
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.packing", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--runs", type=int, default=16, help="of each side")
    parser.add_argument(
        "--pack", type=int, default=2, help="at the same time, on the side that packs"
    )
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(argv)
    if shutil.which("sbatch") is None or "SLURM_CONF" not in os.environ:
        raise UserError(
            "no Slurm here: tests/support/schedulers/slurm/cluster.sh up, "
            "then set SLURM_CONF to the slurm.conf it names"
        )
    machine = describe_machine()
    with tempfile.TemporaryDirectory() as scratch:
        found = summarise(compare(Path(scratch), args.runs, args.pack, args.rounds), args.runs)
    if args.json:
        forms = {
            name: {key: asdict(value) for key, value in side.items()}
            for name, side in found.items()
        }
        print(json.dumps({"machine": machine, **forms}, indent=1))
        return EXIT_OK
    print(", ".join(f"{name} {value}" for name, value in machine.items()) + "\n")
    for name, side in found.items():
        print(
            f"{name:24}{side['runs per hour'].render(0):>20} runs/h{side['times'].render(1):>18} x"
        )
    print(f"\nload at the end {load()}")
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(run_command(main))
