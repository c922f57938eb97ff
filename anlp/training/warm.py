"""What a process loads before it forks runs, so that none of them has to."""

from __future__ import annotations

import importlib

import torch
from torch import nn

from anlp.settings import TASKS
from anlp.training.optimizers import make_optimizer

LAZY_MODULES = ("anlp.training.attempt", "torch.utils.serialization.config")  # the second comes with torch.save


def warm_up() -> None:
    """Loads all that training needs, without computing a gradient: autograd's threads do not survive a fork."""
    torch.set_num_threads(1)
    for module in LAZY_MODULES:
        importlib.import_module(module)
    for task in TASKS.values():
        importlib.import_module(task.builder.partition(":")[0])
    for name in ("sgd", "adam", "adamw", "rmsprop"):
        _step_once(name)


def _step_once(name: str) -> None:
    """Whatever torch loads with the first step of an optimizer is loaded then."""
    weight = nn.Parameter(torch.zeros(1))
    weight.grad = torch.zeros(1)
    make_optimizer(name, [weight], lr=1.0).step()
