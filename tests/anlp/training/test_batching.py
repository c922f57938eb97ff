from __future__ import annotations

import torch

from anlp.data.samples import Samples
from anlp.workloads.batching import like_lengths_together, trim


def test_every_sample_is_in_the_order_once() -> None:
    lengths = torch.randint(4, 94, (1003,), generator=torch.Generator().manual_seed(0))

    order = like_lengths_together(lengths, 32, torch.Generator().manual_seed(1))

    assert order.sort().values.tolist() == list(range(1003))


def test_batches_hold_samples_of_like_length() -> None:
    lengths = torch.randint(4, 94, (6600,), generator=torch.Generator().manual_seed(0))

    order = like_lengths_together(lengths, 32, torch.Generator().manual_seed(1))

    padded = sum(int(lengths[rows].max()) * len(rows) for rows in torch.split(order, 32))
    assert padded < 1.05 * int(lengths.sum())


def test_orders_differ_between_epochs_and_not_between_machines() -> None:
    lengths = torch.arange(200) % 17

    first, again, other = (
        like_lengths_together(lengths, 8, torch.Generator().manual_seed(s)) for s in (1, 1, 2)
    )

    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_batch_is_cut_to_its_longest_sequence() -> None:
    batch = Samples((torch.ones(2, 9, 3), torch.tensor([4, 6])), (torch.zeros(2),))

    assert trim(batch).inputs[0].shape == (2, 6, 3)
