"""Measures of a model on a split, without learning."""

from __future__ import annotations

import torch
from torch import Tensor

from anlp.training.meters import MetricAccumulator
from anlp.training.workload import Split, Workload


@torch.inference_mode()
def evaluate(
    problem: Workload, split: Split, prefix: str, precision: torch.dtype = torch.float32
) -> dict[str, float]:
    """Means over `split` in evaluation mode, named `prefix/loss` and so on, and the problem's summary of all of it."""
    device = split.rows.device
    problem.model.eval()
    tally = MetricAccumulator(problem.objective.names, device)
    outputs: list[Tensor] = []
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == torch.bfloat16):
        for batch in problem.batches(split):
            output = problem.model(*batch.inputs)
            tally.add(problem.objective(output, batch.targets, training=False), len(batch))
            if problem.summary:
                outputs.append(output.float())
    return tally.means(prefix) | _summary(problem, split, outputs, prefix)


def _summary(
    problem: Workload, split: Split, outputs: list[Tensor], prefix: str
) -> dict[str, float]:
    if problem.summary is None:
        return {}
    targets = tuple(target.index_select(0, split.rows) for target in split.samples.targets)
    return {
        f"{prefix}/{name}": value
        for name, value in problem.summary(torch.cat(outputs), targets).items()
    }
