"""Measures of a model on a split, without learning."""

from __future__ import annotations

import torch
from torch import Tensor

from anlp.training.meters import MetricAccumulator
from anlp.workloads.workload import Split, Workload


@torch.inference_mode()
def evaluate(
    workload: Workload, split: Split, prefix: str, precision: torch.dtype = torch.float32
) -> dict[str, float]:
    """Measure a model on a split in evaluation mode; names are `prefix/loss` and so on.

    The means over the samples, and the workload's summary of all of them.
    """
    device = split.rows.device
    workload.model.eval()
    meters = MetricAccumulator(workload.objective.names, device)
    outputs: list[Tensor] = []
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == torch.bfloat16):
        for batch in workload.batches(split):
            output = workload.model(*batch.inputs)
            meters.add(workload.objective(output, batch.targets, training=False), len(batch))
            if workload.summary:
                outputs.append(output.float())
    return meters.means(prefix) | _summary(workload, split, outputs, prefix)


def _summary(
    workload: Workload, split: Split, outputs: list[Tensor], prefix: str
) -> dict[str, float]:
    if workload.summary is None:
        return {}
    targets = tuple(target.index_select(0, split.rows) for target in split.samples.targets)
    return {
        f"{prefix}/{name}": value
        for name, value in workload.summary(torch.cat(outputs), targets).items()
    }
