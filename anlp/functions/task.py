"""A whole task of the user's own, a settings class with a builder: trained as a built-in one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from anlp.core.spec import RunSpec, Scalar, TaskSettings
from anlp.functions.load import load_function


def typed_spec(spec: RunSpec, code: Path, place: str, name: str) -> RunSpec:
    """Return the run with settings of its own class; its id stays what it was.

    Args:
        spec: the run, with open settings.
        code: the folder of the project, or of its copy.
        place: the file, relative to it.
        name: of the class.
    """
    kind = load_function(code, place, name)
    values: Mapping[str, Scalar] = spec.settings.values()
    if not isinstance(kind, type) or not issubclass(kind, TaskSettings):
        raise TypeError(f"{place}:{name}: expected a settings class, got {kind!r}")
    return RunSpec(spec.task, kind.model_validate(values), spec.seed)
