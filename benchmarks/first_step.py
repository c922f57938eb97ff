"""Run elements as the pool does and record when each has made its first update."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from torch import Tensor

from anlp.run import run_element as run_as_ever
from anlp.training.trainer import Trainer
from benchmarks.made import note_path


def run_element(batch: Path, index: int, *, job: str, datasets: Any) -> int:
    """Stand in for `anlp.run.run_element`, in a child process whose patches end with it."""
    step, note = Trainer._train_step, note_path(batch, index)

    def noting_step(trainer: Trainer, rows: Tensor, lr: float) -> None:
        step(trainer, rows, lr)
        if not trainer.updates:
            note.write_text(repr(time.monotonic()))

    Trainer._train_step = noting_step  # type: ignore[method-assign, assignment] # a stop-watch
    return run_as_ever(batch, index, job=job, datasets=datasets)
