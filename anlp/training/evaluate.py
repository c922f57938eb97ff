"""Measures of a model on a split, without learning."""

from __future__ import annotations

import torch

from anlp.training.problem import Problem, Split
from anlp.training.tally import Tally


@torch.inference_mode()
def evaluate(problem: Problem, split: Split, prefix: str, precision: torch.dtype = torch.float32) -> dict[str, float]:
    """Means over `split` in evaluation mode, named `prefix/loss` and so on."""
    device = split.rows.device
    problem.model.eval()
    tally = Tally(problem.objective.names, device)
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == torch.bfloat16):
        for batch in split.batches(problem.eval_batch):
            output = problem.model(*batch.inputs)
            tally.add(problem.objective(output, batch.targets, training=False), len(batch))
    return tally.means(prefix)
