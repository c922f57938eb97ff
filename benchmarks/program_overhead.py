"""`python -m benchmarks.program_overhead`: what the suite adds to a run of the user's own program.

In each round the bare command and a grid of it take turns, one run at a time. The time added to a
run is the distance from one run's first line of the log to the next one's, less the bare command;
the suite's own start is not a run's. The memory added is what the processes between the pool and
the program hold for themselves (Pss), read while the program sleeps.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from anlp.console.command import run_command
from anlp.core.errors import EXIT_OK, UserError
from anlp.records.files import read_json
from benchmarks.measure import describe_machine, load, spread

PROGRAM = """\
import argparse, json, os, time
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.1)
parser.add_argument("--sleep", type=float, default=0.0)
args = parser.parse_args()
time.sleep(args.sleep)
with open(os.environ["ANLP_METRICS"], "a") as file:
    file.write(json.dumps({"epoch": 1, "val_acc": args.lr}) + "\\n")
"""
GRID = """\
program: train.py
grid: {{lr: [{values}]}}
fixed: {{sleep: {sleep}}}
snapshot: none
wandb: {{mode: disabled}}
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.program_overhead", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--runs", type=int, default=30, help="of a grid (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="(%(default)s)")
    parser.add_argument("--json", action="store_true", help="all figures as JSON")
    given = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "train.py").write_text(PROGRAM)
        bare, suite, added = [], [], []
        for number in range(given.rounds):
            bare.append(_bare_s(folder, given.runs))
            suite.append(_grid_s(folder, given.runs, f"round{number}"))
            added.append(1000 * (suite[-1] - bare[-1]))
        memory = _memory_mib(folder)
    figures = {
        "bare_ms": asdict(spread([1000 * value for value in bare])),
        "suite_ms": asdict(spread([1000 * value for value in suite])),
        "added_ms": asdict(spread(added)),
        "added_mib": memory,
        "machine": describe_machine(),
    }
    if given.json:
        print(json.dumps(figures, indent=1))
        return EXIT_OK
    print(", ".join(f"{name}: {text}" for name, text in describe_machine().items()))
    print(f"{given.rounds} rounds of {given.runs} runs, one at a time, load {load()}")
    print(f"bare command      {spread([1000 * value for value in bare]).render()} ms")
    print(f"run of the suite  {spread([1000 * value for value in suite]).render()} ms")
    print(f"added to a run    {spread(added).render()} ms, {memory:.1f} MiB")
    return EXIT_OK


def _environment(folder: Path) -> Mapping[str, str]:
    return {
        **os.environ,
        "ANLP_RUNS": str(folder / "runs"),
        "ANLP_METRICS": str(folder / "bare.jsonl"),
        "OMP_NUM_THREADS": "1",
    }


def _bare_s(folder: Path, runs: int) -> float:
    """Return the seconds that a bare command takes."""
    began = time.perf_counter()
    for number in range(runs):
        argv = [sys.executable, str(folder / "train.py"), "--lr", str(number)]
        subprocess.run(argv, env=_environment(folder), check=True)
    return (time.perf_counter() - began) / runs


def _grid_s(folder: Path, runs: int, name: str) -> float:
    """Return the seconds from one run of a grid to the next, the median of all."""
    _submit(folder, name, ", ".join(f"{number}.5" for number in range(runs)), 0.0).wait()
    starts = []
    for path in (folder / "runs" / name).glob("*/attempts/000001.json"):
        record = read_json(path) or {}
        starts.append(float(record["since"]))
    if len(starts) != runs:
        raise UserError(f"expected {runs} runs, {len(starts)} began")
    starts.sort()
    return statistics.median(later - earlier for earlier, later in itertools.pairwise(starts))


def _submit(folder: Path, name: str, values: str, sleep: float) -> subprocess.Popen[bytes]:
    grid = folder / f"{name}.yaml"
    grid.write_text(GRID.format(values=values, sleep=sleep))
    words = ["-m", "jobs.submit", str(grid), "--on", "local", "--slots", "1", "-q", "-y"]
    return subprocess.Popen(
        [sys.executable, *words],
        env=_environment(folder),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _memory_mib(folder: Path) -> float:
    """Return what the processes between the pool and a sleeping program hold for themselves."""
    process = _submit(folder, "memory", "0.5", 5.0)
    deadline = time.monotonic() + 60
    found = 0.0
    while process.poll() is None and time.monotonic() < deadline:
        chain = _chain(process.pid)
        if chain:
            found = max(found, sum(_pss_mib(pid) for pid in chain))
        time.sleep(0.2)
    process.wait()
    return found


def _chain(root: int) -> list[int]:
    """Return the processes below the pool and above the program; empty before it runs."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(path.parent.name)] = int(fields[1])
    programs = [
        pid for pid in parents if "--sleep" in _command(pid) and "train.py" in _command(pid)
    ]
    for program in programs:
        above = []
        pid = parents.get(program, 0)
        while pid > 1 and pid != root:
            above.append(pid)
            pid = parents.get(pid, 0)
        if pid == root:
            return above[:-1]  # the last is the pool
    return []


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def _pss_mib(pid: int) -> float:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0
    line = next(line for line in text.splitlines() if line.startswith("Pss:"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    sys.exit(run_command(main))
