"""The tasks by name, and the runs that batch files hold of them."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from anlp.core.errors import SpecError
from anlp.core.files import describe_fault
from anlp.core.json_text import parse_json
from anlp.core.spec import RunSpec, TaskSettings
from anlp.records.elements import Element
from anlp.records.options import options_from_json
from anlp.tasks.registry import TaskRegistry
from anlp.tasks.task import Task

__all__ = [
    "TASKS",
    "Task",
    "element_from_json",
    "make_spec",
    "read_element",
    "register_task",
    "spec_from_json",
]

TASKS = TaskRegistry(
    {
        "cifar10": "anlp.tasks.cifar10:Cifar10Settings",
        "fma_emotion": "anlp.tasks.fma:FmaEmotionSettings",
        "fma_genre": "anlp.tasks.fma:FmaGenreSettings",
        "images_transfer": "anlp.tasks.images_transfer:ImagesTransferSettings",
        "mnist": "anlp.tasks.mnist:MnistSettings",
        "points": "anlp.tasks.points:PointsSettings",
        "spoken_digits": "anlp.tasks.spoken_digits:SpokenDigitsSettings",
    }
)


def register_task(name: str, settings_class: type[TaskSettings], builder: str) -> None:
    """Add a task, for this process.

    Runs are carried out by other processes: a package whose task they are to find names the module
    that calls this function in an entry point of the group `anlp.tasks`, see `docs/new-task.md`.

    Args:
        name: as in `task:` of a grid file.
        settings_class: what a grid may set; its module is imported on the login node and must not
            need torch.
        builder: `module:function`, imported on the compute node only and called with the settings,
            the seed, the `DatasetCache` and the device; it returns a `Workload`.

    Raises:
        UserError: the name is taken, or `builder` is not of that form.
    """
    TASKS.register(name, settings_class, builder)


def make_spec(task: str, values: Mapping[str, Any], seed: int) -> RunSpec:
    """Return the run of `task` with `values` over the task's defaults.

    Raises:
        KeyError: no such task.
        pydantic.ValidationError: a value is of the wrong type or out of range, or a name is
            unknown.
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
    """Return element `index` (from 0) of a batch file.

    Raises:
        SpecError: the file has no such element or cannot be read, or a task is not installed here.
    """
    try:
        # only the one line is parsed: the last of 10,000 would take 0.1 s otherwise
        with batch.open("rb") as lines:
            form = parse_json(next(islice(lines, index, None)))
    except OSError as error:
        raise SpecError(f"batch file: cannot be read: {describe_fault(error)}") from error
    except (ValueError, StopIteration):
        raise SpecError(
            f"{batch}: no element {index} in this batch file; "
            "submit the grid again to write a new one"
        ) from None
    for spec in form["specs"]:
        if spec["task"] not in TASKS:
            raise SpecError(
                f"{batch}: task {spec['task']!r} is unknown on this machine; "
                "install its package here"
            )
    return element_from_json(form)
