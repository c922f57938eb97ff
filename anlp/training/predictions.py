"""`predictions.npz`: what a trained model says about each test sample, for confusion matrices and galleries.

Arrays: `outputs` (N, C) as the model gives them (logits of classes, values of quantities), `targets` (N,) or one
`target_K` (N,) for each of several, `names` (C,); for images `noted` (M,) positions of samples that are worth a look
(the most confident mistakes and the least confident hits) and `noted_inputs` (M, ...) as stored; for a plane that was
probed `probe` (P, 2), `probe_outputs` (P, C) and `points` (N, 2), the test samples themselves.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from anlp.record import write_whole
from anlp.training.problem import Problem

NOTED = 64  # of each kind


@torch.inference_mode()
def write_predictions(path: Path, problem: Problem, precision: torch.dtype = torch.float32) -> None:
    """Writes what the model says about the test set, by rename."""
    problem.model.eval()
    outputs = _outputs(problem, precision)
    rows = problem.test.rows
    targets = [target.index_select(0, rows).cpu() for target in problem.test.samples.targets]
    arrays: dict[str, Tensor] = {"outputs": outputs}
    arrays |= {"targets": targets[0]} if len(targets) == 1 else {f"target_{k}": t for k, t in enumerate(targets)}
    inputs = problem.test.samples.inputs[0]
    if inputs.dim() == 4 and len(targets) == 1:  # images, in classes
        noted = note_samples(outputs, targets[0])
        arrays |= {"noted": noted, "noted_inputs": inputs.index_select(0, rows[noted.to(rows.device)]).cpu()}
    if problem.probe is not None:
        arrays["points"] = inputs.index_select(0, rows).cpu()
        arrays |= {"probe": problem.probe[0].cpu(), "probe_outputs": problem.model(*problem.probe).float().cpu()}
    buffer = io.BytesIO()
    contents: dict[str, Any] = {"names": np.array(problem.names), **{name: t.numpy() for name, t in arrays.items()}}
    np.savez_compressed(buffer, **contents)
    write_whole(path, buffer.getvalue())


def note_samples(outputs: Tensor, targets: Tensor, most: int = NOTED) -> Tensor:
    """Positions of the most confident mistakes, then of the least confident hits.

    Args:
        outputs: (N, C) logits.
        targets: (N,) classes.
        most: of each kind.
    """
    confidence, answers = outputs.softmax(1).max(1)
    wrong = answers != targets
    mistakes = torch.where(wrong, confidence, -1.0).argsort(descending=True, stable=True)[: int(wrong.sum())][:most]
    hits = torch.where(wrong, 2.0, confidence).argsort(stable=True)[: int((~wrong).sum())][:most]
    return torch.cat([mistakes, hits])


def _outputs(problem: Problem, precision: torch.dtype) -> Tensor:
    device = problem.test.rows.device
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == torch.bfloat16):
        pieces = [problem.model(*batch.inputs).float().cpu() for batch in problem.batches(problem.test)]
    return torch.cat(pieces)
