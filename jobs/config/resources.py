"""What a job asks of a machine, in one unit each, parsed once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class Resources:
    """Per element. Not part of a run's id: where a run ran is not what it was. None: the backend's default."""

    gpus: int = 0
    cpus: int = 1
    mem_mib: int | None = None
    walltime_min: float | None = None
    queue: str | None = None  # Slurm: partition
    account: str | None = None
    qos: str | None = None
    gpu_type: str | None = None
    constraint: str | None = None  # node features
    exclude: str | None = None  # nodes not to use
    nodes: int = 1
    extra: tuple[str, ...] = ()  # options passed to the scheduler as they are


def resources_from_json(form: Mapping[str, Any]) -> Resources:
    """Inverse of `dataclasses.asdict` through JSON; fields that this version does not know are left aside."""
    known = {field.name: form[field.name] for field in fields(Resources) if field.name in form}
    return Resources(**{**known, "extra": tuple(form.get("extra", ()))})
