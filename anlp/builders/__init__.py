"""One builder per task: it puts model, data and objective of a run together."""

from __future__ import annotations

import importlib

import torch

from anlp.core.spec import RunSpec
from anlp.data import DatasetCache
from anlp.tasks import TASKS
from anlp.tasks.user_code import is_user_code
from anlp.workloads.workload import Workload


def build_workload(spec: RunSpec, datasets: DatasetCache, device: torch.device) -> Workload:
    """Build what a run trains, by the builder of its task, or of its own settings class."""
    builder = spec.settings.builder if is_user_code(spec.task) else TASKS[spec.task].builder
    module, _, function = builder.partition(":")
    build = getattr(importlib.import_module(module), function)
    workload = build(spec.settings, spec.seed, datasets, device)
    if not isinstance(workload, Workload):
        raise TypeError(
            f"task {spec.task}: its builder returned {type(workload).__name__}, expected a Workload"
        )
    return workload
