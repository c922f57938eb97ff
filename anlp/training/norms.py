"""The norm of gradients, with the releases of torch that sites offer as well."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def total_norm(gradients: Sequence[Tensor]) -> Tensor:
    """Return the 2-norm of all gradients together; 0 where there is none."""
    known = getattr(nn.utils, "get_total_norm", None)  # from torch 2.6 on
    if known is not None:
        norm: Tensor = known(gradients)
    elif gradients:
        norm = torch.linalg.vector_norm(torch.stack(list(map(torch.linalg.vector_norm, gradients))))
    else:
        norm = torch.tensor(0.0)
    return norm
