"""Training, validation and test samples of a run; the split is drawn from the run's seed."""

from __future__ import annotations

import torch
from torch import Tensor

from anlp.core.training_settings import TrainingSettings
from anlp.data.samples import DataSet
from anlp.workloads import seeding
from anlp.workloads.workload import Split


def make_splits(
    data: DataSet, settings: TrainingSettings, seed: int, device: torch.device
) -> tuple[Split, Split, Split]:
    """Return training, validation and test samples of a run, on `device`.

    A validation set of the data set itself is used where it has one; where it has groups, whole
    groups are held out.

    Raises:
        ValueError: fewer than two samples.
    """
    whole, test = Split.whole(data.train.to(device)), Split.whole(data.test.to(device))
    overfit = settings.overfit_batches * settings.batch_size
    if data.val is not None and not overfit:
        return _fewer(whole, seed, settings.train_samples), Split.whole(data.val.to(device)), test
    if data.groups is not None and not overfit:
        train, val = split_by_groups(whole, data.groups, seed, val_fraction=settings.val_fraction)
        return _fewer(train, seed, settings.train_samples), val, test
    train, val = split_training_set(
        whole,
        seed,
        val_fraction=settings.val_fraction,
        samples=settings.train_samples,
        overfit_samples=overfit,
    )
    return train, val, test


def split_by_groups(
    whole: Split, groups: Tensor, seed: int, *, val_fraction: float
) -> tuple[Split, Split]:
    """Return training and validation samples, whole groups each.

    Args:
        whole: the training set.
        groups: (N,) which group each sample is of; at least two different ones.
        seed: of the run; decides which groups are held out.
        val_fraction: share of the groups held out, in (0, 1); at least one is, and one is not.
    """
    kinds: Tensor = torch.unique(groups)
    order = kinds[torch.randperm(len(kinds), generator=seeding.generator(seed, "split"))]
    count = min(max(1, round(val_fraction * len(kinds))), len(kinds) - 1)
    held_out = torch.isin(groups, order[:count])
    train, val = (torch.nonzero(rows).flatten() for rows in (~held_out, held_out))
    return whole.take(train), whole.take(val)


def _fewer(split: Split, seed: int, samples: int) -> Split:
    """Return so many random samples of a split; 0: all of them."""
    if not samples:
        return split
    return split.take(
        torch.randperm(len(split), generator=seeding.generator(seed, "split"))[:samples]
    )


def split_training_set(
    whole: Split, seed: int, *, val_fraction: float, samples: int = 0, overfit_samples: int = 0
) -> tuple[Split, Split]:
    """Return training and validation samples.

    Args:
        whole: the training set.
        seed: of the run; decides which samples are taken and which are held out.
        val_fraction: share held out, in (0, 1); at least one sample is, and one is not.
        samples: take only this many of the training set, both parts together; 0: all.
        overfit_samples: train on the first this many of the training part and select on the same
            ones; 0: off.

    Raises:
        ValueError: fewer than two samples.
    """
    order = torch.randperm(len(whole), generator=seeding.generator(seed, "split"))
    order = order[: samples or None]
    if len(order) < 2:
        raise ValueError(f"expected at least 2 training samples to split, got {len(order)}")
    held_out = min(max(1, round(val_fraction * len(order))), len(order) - 1)
    train, val = whole.take(order[held_out:]), whole.take(order[:held_out])
    if overfit_samples:
        fixed = train.take(torch.arange(min(overfit_samples, len(train))))
        return fixed, fixed
    return train, val
