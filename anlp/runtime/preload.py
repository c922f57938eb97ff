"""What a process loads before it forks runs, so that none of them has to."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import nn

from anlp.data.dataset_cache import DatasetCache
from anlp.records.files import read_jsonl
from anlp.tasks import TASKS, element_from_json
from anlp.tracking.wandb_service import preload, start_shared_service
from anlp.training.optimizers import make_optimizer

LAZY_MODULES = (
    "anlp.training.attempt",
    "torch.utils.serialization.config",
)  # the second comes with torch.save


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


def prepare(batch: Path, cleanup: ExitStack, *, index: int | None = None) -> DatasetCache:
    """The data sets of a batch file, loaded; runs that mirror to wandb find its service in their environment.

    With an index, only what that element needs.

    What cannot be loaded is left to the runs that need it, which report it in their results.
    """
    warm_up()
    forms = list(islice(read_jsonl(batch), index, None if index is None else index + 1))
    sources = DatasetCache(Path(forms[0]["options"]["data_dir"]), batch.resolve().parents[2])
    sources.preload_elements(map(element_from_json, forms))
    if _mirrors(forms) and "WANDB_SERVICE" not in os.environ:
        preload()
        importlib.import_module("anlp.tracking.wandb")
        service = start_shared_service()
        cleanup.callback(service.stop)
        os.environ.update(service.environment)
    return sources


def _mirrors(forms: Iterable[Mapping[str, Any]]) -> bool:
    return any(form["options"]["wandb"]["mode"] != "disabled" for form in forms)
