"""The tasks by name: the settings each takes and, as text, the builder that a compute node imports for it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from anlp.core.errors import SpecError
from anlp.core.spec import RunSpec, TaskSettings
from anlp.records.elements import Element
from anlp.records.options import options_from_json
from anlp.tasks.cifar10 import Cifar10Settings
from anlp.tasks.fma import FmaEmotionSettings, FmaGenreSettings
from anlp.tasks.images_transfer import ImagesTransferSettings
from anlp.tasks.mnist import MnistSettings
from anlp.tasks.points import PointsSettings
from anlp.tasks.spoken_digits import SpokenDigitsSettings


@dataclass(frozen=True, slots=True)
class Task:
    """A task: its settings class and `module:function` of its builder (imported on the compute node only)."""

    settings: type[TaskSettings]
    builder: str


TASKS: Mapping[str, Task] = {
    "cifar10": Task(Cifar10Settings, "anlp.builders.cifar10:build"),
    "fma_emotion": Task(FmaEmotionSettings, "anlp.builders.fma_emotion:build"),
    "fma_genre": Task(FmaGenreSettings, "anlp.builders.fma_genre:build"),
    "images_transfer": Task(ImagesTransferSettings, "anlp.builders.images_transfer:build"),
    "mnist": Task(MnistSettings, "anlp.builders.mnist:build"),
    "points": Task(PointsSettings, "anlp.builders.points:build"),
    "spoken_digits": Task(SpokenDigitsSettings, "anlp.builders.spoken_digits:build"),
}


def make_spec(task: str, values: Mapping[str, Any], seed: int) -> RunSpec:
    """The run of `task` with `values` over the task's defaults.

    Raises:
        KeyError: no such task.
        pydantic.ValidationError: a value is of the wrong type or out of range, or a name is unknown.
    """
    return RunSpec(task, TASKS[task].settings.model_validate(values), seed)


def spec_from_json(form: Mapping[str, Any]) -> RunSpec:
    """Inverse of `RunSpec.to_json`; raises as `make_spec` does."""
    return make_spec(form["task"], form["settings"], form["seed"])


def element_from_json(form: Mapping[str, Any]) -> Element:
    """Inverse of `Element.to_json`; raises as `make_spec` does."""
    specs = tuple(spec_from_json(spec) for spec in form["specs"])
    shared = {name: form[name] for name in ("at_once", "mem_limit_mib") if name in form}
    return Element(specs, options_from_json(form["options"]), **shared)


def read_element(batch: Path, index: int) -> Element:
    """Element `index` (from 0) of a batch file.

    Raises:
        SpecError: the file has no such element or cannot be read.
    """
    try:
        with batch.open(
            "rb"
        ) as lines:  # only the one line is parsed: the last of 10,000 would take 0.1 s otherwise
            form = json.loads(next(islice(lines, index, None)))
    except (OSError, ValueError, StopIteration):
        raise SpecError(
            f"{batch}: no element {index} in this batch file; submit the grid again to write a new one"
        ) from None
    return element_from_json(form)
