"""Cost of an image: its start, importing torch from it, and a whole run with and without it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from anlp.records.folders import GridFolder
from anlp.records.options import RunOptions, WandbOptions
from benchmarks.made import specs, write_batch
from benchmarks.measure import Spread, run, spread
from jobs.containers.apptainer import Container, binds_of

IMPORT = ("python", "-c", "import torch")


def measure_image(root: Path, image: Path, repeats: int, **settings: object) -> dict[str, Spread]:
    """Seconds, both sides in turns, after one round that warms the caches.

    Args:
        root: an empty folder.
        image: the image.
        repeats: rounds that count.
        settings: of the run.
    """
    container = Container(image, binds=binds_of([root]), cwd=root)
    options = RunOptions(device="cpu", batch="b", wandb=WandbOptions(mode="disabled"))
    pairs = {
        "nothing (true)": (("true",), ("true",)),
        "import torch": (IMPORT, (sys.executable, *IMPORT[1:])),
    }
    found: dict[str, list[float]] = {}
    for number in range(repeats + 1):
        batch = write_batch(GridFolder(root / str(number)), specs(2, **settings), options).path
        words = [("-m", "anlp.run", "--batch", str(batch), "--index", index) for index in "01"]
        a_run = {
            "a run of 2 steps (anlp.run)": (("python", *words[0]), (sys.executable, *words[1]))
        }
        for name, (inside, outside) in {**pairs, **a_run}.items():
            costs = _seconds(container, inside), run(outside).wall_s
            if number:
                found.setdefault(f"{name} in the image, s", []).append(costs[0])
                found.setdefault(f"{name} without, s", []).append(costs[1])
    return {name: spread(values) for name, values in found.items()}


def _seconds(container: Container, command: Sequence[str]) -> float:
    return run(container.exec_argv(*command), container.environment(os.environ)).wall_s
