"""Task `fma_emotion`: valence, energy and danceability of a piece of music.

The backbone is trained from scratch, or taken from a run that has learned genres.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import nn

from anlp.builders.fma_genre import make_backbone
from anlp.core.errors import UserError
from anlp.data import DataSet, DatasetCache
from anlp.models.recurrent import Headed
from anlp.tasks.fma import FmaEmotionSettings
from anlp.training.checkpoint import load_weights
from anlp.workloads import seeding
from anlp.workloads.batching import trim
from anlp.workloads.objectives import Regression
from anlp.workloads.split_metrics import spearman
from anlp.workloads.splits import make_splits
from anlp.workloads.workload import Workload


def build(
    settings: FmaEmotionSettings, seed: int, datasets: DatasetCache, device: torch.device
) -> Workload:
    """Build model, data and objective of one run, on `device`."""
    data = datasets.get(settings.data_key())
    dropout = 0.0 if settings.overfit_batches else settings.dropout
    torch.manual_seed(seeding.key(seed, "init"))
    model = Headed(make_backbone(settings, data, dropout), data.classes, dropout=dropout)
    if settings.init_from:
        take_backbone(model.backbone, settings.init_from, datasets)
    if settings.freeze:
        model.freeze()
    train, val, test = make_splits(data, settings, seed, device)
    return Workload(
        model=model.to(device),
        train=train,
        val=val,
        test=test,
        names=data.names,
        objective=Regression(_weights(settings)),
        summary=partial(spearman, names=data.names),
        collate=trim,
        lengths=data.train.inputs[1][train.rows.cpu()],
        is_stochastic=dropout > 0,
        eval_batch=64,
        baselines=_baselines(data),
    )


def take_backbone(backbone: nn.Module, run_id: str, datasets: DatasetCache) -> None:
    """Give a backbone the weights that an earlier run kept; the read-out stays new.

    Raises:
        UserError: there is no such run, its weights cannot be read, or its backbone is another one.
    """
    weights = load_weights(datasets.weights_of(run_id))
    own = {
        name.removeprefix("backbone."): w
        for name, w in weights.items()
        if name.startswith("backbone.")
    }
    try:
        backbone.load_state_dict(own)
    except RuntimeError as error:
        line = str(error).splitlines()[-1].strip()
        raise UserError(
            f"init_from: the backbone of run {run_id} is not this one ({line}); "
            "use the same model, features and sizes"
        ) from error


def _weights(settings: FmaEmotionSettings) -> tuple[float, ...]:
    if settings.target != "all":
        return (1.0,)
    return settings.valence_weight, settings.energy_weight, settings.danceability_weight


def _baselines(data: DataSet) -> dict[str, float]:
    """Return the mean absolute error on the test set of always answering the training mean."""
    mean = data.train.targets[0].mean(0)
    return {"mean": float((data.test.targets[0] - mean).abs().mean())}
