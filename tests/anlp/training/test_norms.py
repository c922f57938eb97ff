"""The norm of gradients, with a torch that has a function for it and one that has none."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from anlp.training.norms import total_norm


@pytest.mark.parametrize("is_old", [False, True])
def test_the_norm_of_all_gradients_is_the_same_with_an_older_torch(
    monkeypatch: pytest.MonkeyPatch, is_old: bool
) -> None:
    gradients = [torch.tensor([3.0, 0.0]), torch.tensor([[4.0], [12.0]])]
    if is_old:
        monkeypatch.delattr(nn.utils, "get_total_norm")

    assert total_norm(gradients) == torch.tensor(13.0)
    assert total_norm([]) == torch.tensor(0.0)
