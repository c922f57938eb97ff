"""`python -m benchmarks.overhead`: cost of the suite: time to the first step, planning, memory.

The start is timed on the embedded digits, so that measuring the untrained model (epoch 0) takes a
few ms of it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from anlp.console.command import run_command
from anlp.core.errors import EXIT_OK, UserError
from anlp.records.folders import GridFolder
from anlp.records.options import RunOptions, WandbOptions
from benchmarks.container_start import measure_image
from benchmarks.made import RUNNER, finished_grid, note_path, specs, write_batch
from benchmarks.measure import KIB_PER_MIB, Spread, describe_machine, load, run, spread
from jobs.config.resources import Resources
from jobs.schedulers.local.events import ElementEnded, ElementStarted, Event
from jobs.schedulers.local.scheduler import LocalScheduler
from jobs.schedulers.local.worker_pool import PoolOptions
from tests.support.schedulers.slurm import fake_slurm

MANY = 10_000
SOME = 400
SHORT = {"data": "digits", "epochs": 1, "train_samples": 128, "hidden": 64}
LONG = {"data": "mnist", "epochs": 1}  # long enough to be looked at twice a second


@dataclass(slots=True)
class Watch:
    """What the launcher sees of a submission, timed as it sees it."""

    ended: list[float] = field(default_factory=list)
    running: set[int] = field(default_factory=set)  # process ids
    pool_pid: int = 0
    pool_mib: float = 0.0  # resident, libraries and data sets included
    child_mib: float = 0.0  # its own, without what it shares with the pool

    def on_event(self, event: Event) -> None:
        """Notes times and, on every event, how much memory is in use."""
        if isinstance(event, ElementEnded):
            self.ended.append(time.monotonic())
            self.running.clear()  # one slot
        elif isinstance(event, ElementStarted):
            self.running.add(event.pid)
            self.pool_pid = self.pool_pid or _parent_of(event.pid)
        else:
            self.pool_mib = max(self.pool_mib, _memory_mib(self.pool_pid, "Rss"))
            self.child_mib = max(
                [self.child_mib, *(_memory_mib(pid, r"Private_\w+") for pid in self.running)]
            )


def follow(
    root: Path, count: int, mode: Literal["offline", "disabled"], **settings: object
) -> tuple[Watch, Path]:
    """Runs `count` runs in one slot of a local pool; what was seen, and their batch file.

    Raises:
        UserError: a run did not end well.
    """
    folder = GridFolder(root / f"{mode}-{count}-{settings['data']}")
    data_dir = os.path.abspath(os.environ.get("ANLP_DATA") or "data")  # noqa: PTH100 - text for an option
    options = RunOptions(data_dir=data_dir, device="cpu", batch="b", wandb=WandbOptions(mode=mode))
    batch = write_batch(folder, specs(count, **settings), options)
    watch = Watch()
    scheduler = LocalScheduler(slots=1, pool=PoolOptions(runner=RUNNER))
    scheduler.submit(batch, Resources())
    summary = scheduler.follow(watch.on_event)
    failed = [ended for ended in summary.ended.values() if ended.exit_code != EXIT_OK]
    if failed:
        raise UserError(f"{len(failed)} of {count} runs failed: {failed[0]}")
    return watch, batch.path


def measure_start(
    root: Path, mode: Literal["offline", "disabled"], count: int
) -> dict[str, Spread]:
    """Return the ms from the end of a run to the next first step in its slot, and end to end."""
    watch, batch = follow(root, count, mode, **SHORT)
    first = [float(note_path(batch, index).read_text()) for index in range(count)]
    starts = [1000 * (step - before) for step, before in zip(first[1:], watch.ended, strict=False)]
    wholes = [
        1000 * (after - before) for before, after in zip(watch.ended, watch.ended[1:], strict=False)
    ]
    return {
        f"start to first step, wandb {mode}, ms": spread(starts),
        f"a whole run of 2 steps, wandb {mode}, ms": spread(wholes),
    }


def measure_memory(root: Path) -> dict[str, Spread]:
    """MiB of a pool with MNIST loaded, and what a child adds to it while it trains."""
    found = {}
    for model in ("dense", "cnn"):
        watch, _ = follow(root / model, 1, "offline", model=model, **LONG)
        found[f"memory of a {model} run beyond its pool, MiB"] = spread([watch.child_mib])
        found[f"memory of its pool, resident, MiB ({model})"] = spread([watch.pool_mib])
    return found


def measure_commands(root: Path, repeats: int) -> dict[str, Spread]:
    """Seconds and MiB of commands that people wait for."""
    command = ["jobs.submit", str(_write_many(root)), "-n"]
    found = _repeat(f"plan of {MANY:,} runs (jobs.submit -n)", command, root, repeats)
    for count in (SOME, MANY):
        folder = finished_grid(root, count)
        command = ["jobs.status", folder.name]
        found |= _repeat(f"jobs.status of {count:,} runs, first time", command, root, 1)
        found |= _repeat(f"jobs.status of {count:,} runs, again", command, root, repeats)
    return found


def measure_cluster(root: Path, repeats: int) -> dict[str, Spread]:
    """Measure the client's part of a submit to Slurm and of a status, with an instant Slurm."""
    path = f"{fake_slurm.install(root / 'slurm')}:{os.environ['PATH']}"
    grid, found, costs = _write_many(root), {}, []
    for number in range(repeats):
        words = ["jobs.submit", str(grid), "--on", "slurm", "--name", f"cluster{number}"]
        costs.append(run([sys.executable, "-m", *words], {"ANLP_RUNS": str(root), "PATH": path}))
    found[f"jobs.submit of {MANY:,} runs to Slurm, s"] = spread([cost.wall_s for cost in costs])
    look = ["jobs.status", "cluster0"]
    running = f"jobs.status of {MANY:,} running runs"
    found |= _repeat(f"{running}, Slurm asked", [*look, "--fresh"], root, repeats, PATH=path)
    found |= _repeat(f"{running}, from the last answer", look, root, repeats, PATH=path)
    return found


def _write_many(root: Path) -> Path:
    """Return a grid file of `MANY` runs."""
    axes = {"model": ["dense", "cnn"], "lr": {"logspace": [1e-5, 1e-1, MANY // 10]}}
    form = {"task": "mnist", "fixed": {"data": "digits"}, "grid": axes, "seeds": 5}
    path = root / "many.yaml"
    path.write_text(json.dumps(form))  # JSON is YAML
    return path


def _repeat(
    name: str, command: Sequence[str], root: Path, repeats: int, **environment: str
) -> dict[str, Spread]:
    costs = [
        run([sys.executable, "-m", *command], {"ANLP_RUNS": str(root), **environment})
        for _ in range(repeats)
    ]
    return {
        f"{name}, s": spread([cost.wall_s for cost in costs]),
        f"{name}, MiB": spread([cost.peak_mib for cost in costs]),
    }


def _memory_mib(pid: int, kind: str) -> float:
    """Sum of the lines of `smaps_rollup` whose name is `kind`; 0 when the process is gone."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0
    return sum(map(int, re.findall(rf"^{kind}:\s+(\d+) kB$", text, re.MULTILINE))) / KIB_PER_MIB


def _parent_of(pid: int) -> int:
    match = re.search(r"^PPid:\s+(\d+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(match[1]) if match else 0


def render(found: Mapping[str, Spread], machine: Mapping[str, str]) -> str:
    """Return the figures for people: median (range)."""
    lines = [", ".join(f"{name} {value}" for name, value in machine.items()), ""]
    width = max(map(len, found))
    lines += [
        f"{name:{width}}  {figures.render(2 if name.endswith(' s') else 0)}"
        for name, figures in found.items()
    ]
    return "\n".join([*lines, "", f"load at the end {load()}"])


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.overhead", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--runs", type=int, default=30, help="short runs per mode of wandb")
    parser.add_argument("--repeats", type=int, default=3, help="of each command")
    parser.add_argument(
        "--image", type=Path, help="an Apptainer image: only what starting runs in it costs"
    )
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Measures and prints."""
    args = parse_arguments(argv)
    machine = describe_machine()
    found: dict[str, Spread] = {}
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        parts: list[Callable[[], dict[str, Spread]]] = [
            lambda: measure_start(root, "disabled", args.runs),
            lambda: measure_start(root, "offline", args.runs),
            lambda: measure_memory(root),
            lambda: measure_commands(root, args.repeats),
            lambda: measure_cluster(root, args.repeats),
        ]
        if args.image:
            parts = [lambda: measure_image(root, args.image.resolve(), args.repeats, **SHORT)]
        for part in parts:
            found |= part()
    form: dict[str, Any] = {
        "machine": machine,
        **{name: asdict(figures) for name, figures in found.items()},
    }
    print(json.dumps(form, indent=1) if args.json else render(found, machine))
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(run_command(main))
