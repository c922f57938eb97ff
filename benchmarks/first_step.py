"""Runs elements as the pool does and notes when each has made its first update; `overhead` puts it into a pool."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from torch import Tensor

from anlp.run import run_element as run_as_ever
from anlp.training.trainer import Trainer
from benchmarks.made import note_path


def run_element(batch: Path, index: int, *, job: str, datasets: Any) -> int:
    """As `anlp.run.run_element`; called in a child of its own, so that nothing needs to be put back."""
    step, note = Trainer._train_step, note_path(batch, index)

    def noting_step(trainer: Trainer, rows: Tensor, lr: float) -> None:
        step(trainer, rows, lr)
        if not trainer.updates:
            note.write_text(repr(time.monotonic()))

    Trainer._train_step = noting_step  # type: ignore[method-assign, assignment] # a stop-watch
    return run_as_ever(batch, index, job=job, datasets=datasets)
