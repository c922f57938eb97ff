"""`predictions.npz`: a trained model's outputs for each test sample, and what charts show of it.

Arrays: `outputs` (N, C) as the model gives them (logits of classes, values of quantities),
`targets` (N,) or one `target_K` (N,) for each of several, `names` (C,); for images `noted` (M,)
positions of samples that are worth a look (the most confident mistakes, the least confident hits,
and the most confident hits of each class) and `noted_inputs` (M, ...), large ones made smaller; for
sequences `pieces` (P,) positions of one sample of each class (or of the lowest, the middle and the
highest quantity), `piece_inputs` (P, T, F) in 256 steps from `piece_low` to `piece_high` (F,) of
each feature, and `piece_lengths` (P,), how much of each is no padding; for a plane that was probed
`probe` (P, 2), `probe_outputs` (P, C) and `points` (N, 2), the test samples themselves.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from anlp.core.files import write_whole
from anlp.workloads.workload import Workload

NOTED = 64  # of each kind
SHOWN = 32  # hits of all classes in turn
SIDE = 96  # pixels of a kept picture
PIECES = 12
STEPS = 255


@torch.inference_mode()
def write_predictions(
    path: Path, workload: Workload, precision: torch.dtype = torch.float32
) -> None:
    """Write the model's outputs for the test set, by rename."""
    workload.model.eval()
    outputs = _outputs(workload, precision)
    rows = workload.test.rows
    targets = [target.index_select(0, rows).cpu() for target in workload.test.samples.targets]
    arrays: dict[str, Tensor] = {"outputs": outputs}
    if len(targets) == 1:
        arrays["targets"] = targets[0]
    else:
        arrays |= {f"target_{k}": target for k, target in enumerate(targets)}
    inputs = workload.test.samples.inputs[0]
    pictures = inputs if workload.pictures is None else workload.pictures
    if pictures.dim() == 4 and len(targets) == 1:  # images, in classes
        noted = note_samples(outputs, targets[0])
        places = rows[noted.to(rows.device)].to(pictures.device)
        arrays |= {"noted": noted, "noted_inputs": _small(pictures.index_select(0, places).cpu())}
    if inputs.dim() == 3:
        arrays |= _pieces(workload, targets[0])
    if workload.probe is not None:
        arrays["points"] = inputs.index_select(0, rows).cpu()
        arrays |= {
            "probe": workload.probe[0].cpu(),
            "probe_outputs": workload.model(*workload.probe).float().cpu(),
        }
    buffer = io.BytesIO()
    contents: dict[str, Any] = {
        "names": np.array(workload.names),
        **{name: t.numpy() for name, t in arrays.items()},
    }
    np.savez_compressed(buffer, **contents)
    write_whole(path, buffer.getvalue())


def note_samples(outputs: Tensor, targets: Tensor, most: int = NOTED, shown: int = SHOWN) -> Tensor:
    """Return positions of the most confident mistakes, the least confident hits, and plain hits.

    Args:
        outputs: (N, C) logits.
        targets: (N,) classes.
        most: of the first two kinds, each.
        shown: of the third: the most confident hit of each class, then the second of each, and so
            on.
    """
    confidence, answers = outputs.softmax(1).max(1)
    wrong = answers != targets
    by_confidence = torch.where(wrong, confidence, -1.0).argsort(descending=True, stable=True)
    mistakes = by_confidence[: int(wrong.sum())][:most]
    hits = torch.where(wrong, 2.0, confidence).argsort(stable=True)[: int((~wrong).sum())]
    hard, plain = hits[:most], hits[most:].flip(0)
    return torch.cat([mistakes, hard, plain[_turns(targets[plain]).argsort(stable=True)][:shown]])


def _small(pictures: Tensor) -> Tensor:
    """Return pictures of at most `SIDE` pixels in width and height."""
    sides = [min(side, SIDE) for side in pictures.shape[2:]]
    if list(pictures.shape[2:]) == sides or not len(pictures):
        return pictures
    return functional.interpolate(pictures.float(), sides, mode="area").round().to(pictures.dtype)


def _turns(classes: Tensor) -> Tensor:
    """Return (N,) how many samples of its class come before each."""
    same = functional.one_hot(classes, int(classes.max()) + 1 if len(classes) else 1)
    before: Tensor = (same.cumsum(0) - same).gather(1, classes[:, None]).squeeze(1)
    return before


def _pieces(workload: Workload, target: Tensor) -> dict[str, Tensor]:
    """Return some sequences to look at, in bytes: 256 steps are enough to see."""
    if target.is_floating_point():
        first = target.reshape(len(target), -1)[:, 0]
        ends = first.argsort()[torch.tensor([0, len(first) // 2, len(first) - 1])]
        chosen: Tensor = torch.unique(ends)
    else:
        kinds: Tensor = torch.unique(target)
        chosen = torch.cat([torch.nonzero(target == kind).flatten()[:1] for kind in kinds])[:PIECES]
    frames, lengths = (
        part.index_select(0, workload.test.rows[chosen]).cpu()
        for part in workload.test.samples.inputs
    )
    frames = frames[:, : int(lengths.max())].float()
    inside = torch.arange(frames.shape[1]) < lengths[:, None]
    low, high = (end(frames[inside], 0) for end in (torch.amin, torch.amax))
    steps = (frames - low) / (high - low).clamp(min=1e-12) * STEPS
    kept = (steps.round().clamp(0, STEPS) * inside[..., None]).to(torch.uint8)
    return {
        "pieces": chosen,
        "piece_inputs": kept,
        "piece_lengths": lengths,
        "piece_low": low,
        "piece_high": high,
    }


def _outputs(workload: Workload, precision: torch.dtype) -> Tensor:
    device = workload.test.rows.device
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == torch.bfloat16):
        pieces = [
            workload.model(*batch.inputs).float().cpu() for batch in workload.batches(workload.test)
        ]
    return torch.cat(pieces)
