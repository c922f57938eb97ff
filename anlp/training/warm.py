"""What a process loads before it forks runs, so that none of them has to."""

from __future__ import annotations

import importlib

import torch
from torch import nn

from anlp.settings import TASKS
from anlp.training.optimizers import make_optimizer

LAZY_MODULES = ("anlp.training.attempt", "torch._dynamo")  # torch loads the second with the first optimizer: seconds


def warm_up() -> None:
    """Loads all that training needs, without computing a gradient: autograd's threads do not survive a fork."""
    torch.set_num_threads(1)
    for module in LAZY_MODULES:
        importlib.import_module(module)
    for task in TASKS.values():
        importlib.import_module(task.builder.partition(":")[0])
    for name in ("sgd", "adam"):
        make_optimizer(name, [nn.Parameter(torch.zeros(1))], lr=1.0)
