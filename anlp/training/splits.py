"""What is trained on, selected on and tested on; the split is drawn from the run's seed."""

from __future__ import annotations

import torch

from anlp.data.samples import DataSet
from anlp.settings.base import TrainingSettings
from anlp.training import seeding
from anlp.training.problem import Split


def make_splits(
    data: DataSet, settings: TrainingSettings, seed: int, device: torch.device
) -> tuple[Split, Split, Split]:
    """Training, validation and test samples of a run, on `device`; the data set's own validation set where it has one.

    Raises:
        ValueError: fewer than two samples.
    """
    whole, test = Split.whole(data.train.to(device)), Split.whole(data.test.to(device))
    overfit = settings.overfit_batches * settings.batch_size
    if data.val is not None and not overfit:
        order = torch.randperm(len(whole), generator=seeding.generator(seed, "split"))[: settings.train_samples or None]
        return (whole.take(order) if settings.train_samples else whole), Split.whole(data.val.to(device)), test
    train, val = split_training_set(
        whole, seed, val_fraction=settings.val_fraction, samples=settings.train_samples, overfit_samples=overfit
    )
    return train, val, test


def split_training_set(
    whole: Split, seed: int, *, val_fraction: float, samples: int = 0, overfit_samples: int = 0
) -> tuple[Split, Split]:
    """What is trained on and what is held out for selection.

    Args:
        whole: the training set.
        seed: of the run; decides which samples are taken and which are held out.
        val_fraction: share held out, in (0, 1); at least one sample is, and one is not.
        samples: take only this many of the training set, both parts together; 0: all.
        overfit_samples: train on the first this many of the training part and select on the same ones; 0: off.

    Raises:
        ValueError: fewer than two samples.
    """
    order = torch.randperm(len(whole), generator=seeding.generator(seed, "split"))[: samples or None]
    if len(order) < 2:
        raise ValueError(f"expected at least 2 training samples to split, got {len(order)}")
    held_out = min(max(1, round(val_fraction * len(order))), len(order) - 1)
    train, val = whole.take(order[held_out:]), whole.take(order[:held_out])
    if overfit_samples:
        fixed = train.take(torch.arange(min(overfit_samples, len(train))))
        return fixed, fixed
    return train, val
