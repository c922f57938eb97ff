"""What a process loads before it forks runs, for all of them."""

from __future__ import annotations

import contextlib
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
from anlp.training.optimizers import OPTIMIZERS, Make, OptimizerOptions

ATTEMPT = "anlp.training.attempt"
OF_SAVING = "torch.utils.serialization.config"  # comes with torch.save, from torch 2.7 on


def warm_up() -> None:
    """Load what training needs; no gradient is computed, as autograd's threads survive no fork."""
    torch.set_num_threads(1)
    importlib.import_module(ATTEMPT)
    with contextlib.suppress(ModuleNotFoundError):
        importlib.import_module(OF_SAVING)
    for name in TASKS.built_in:
        importlib.import_module(TASKS[name].builder.partition(":")[0])
    for make in OPTIMIZERS.values():
        _step_once(make)


def _step_once(make: Make) -> None:
    """Load what torch loads with the first step of an optimizer."""
    weight = nn.Parameter(torch.zeros(1))
    weight.grad = torch.zeros(1)
    make([weight], OptimizerOptions(lr=1.0)).step()


def prepare(batch: Path, cleanup: ExitStack, *, index: int | None = None) -> DatasetCache:
    """Load the data sets of a batch file, and start wandb's service where runs mirror to it.

    What cannot be loaded is left to the runs that need it, which report it in their results.

    Args:
        batch: the batch file.
        cleanup: gets what is to be ended after the runs.
        index: of the one element to load for; None: all.
    """
    warm_up()
    forms = list(islice(read_jsonl(batch), index, None if index is None else index + 1))
    datasets = DatasetCache(Path(forms[0]["options"]["data_dir"]), batch.resolve().parents[2])
    elements = [element_from_json(form) for form in forms]
    tasks = {spec.task for element in elements for spec in element.specs}
    for name in tasks - TASKS.built_in.keys():
        with contextlib.suppress(Exception):  # the runs of that task report it
            importlib.import_module(TASKS[name].builder.partition(":")[0])
    datasets.preload_elements(elements)
    if _mirrors(forms) and "WANDB_SERVICE" not in os.environ:
        preload()
        importlib.import_module("anlp.tracking.wandb")
        service = start_shared_service()
        cleanup.callback(service.stop)
        os.environ.update(service.environment)
    return datasets


def _mirrors(forms: Iterable[Mapping[str, Any]]) -> bool:
    return any(form["options"]["wandb"]["mode"] != "disabled" for form in forms)
