"""Imports a function of the user's own, and makes the settings object that it takes."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from anlp.core.spec import Scalar

PREFIX = "anlp_user_"  # of the modules' names, so that a file called random.py replaces nothing
Train = Callable[..., Any]


def load_function(code: Path, place: str, name: str) -> Train:
    """Return the function.

    Args:
        code: the folder of the project, or of its copy.
        place: a file relative to it, or the name of a module.
        name: of the function.

    Raises:
        AttributeError: the module has no such function.
        Exception: what importing the module raises.
    """
    module = _load_file(code / place) if place.endswith(".py") else _load_module(code, place)
    found: Train = getattr(module, name)
    return found


def _load_file(path: Path) -> ModuleType:
    """Import a file under a name of its own; modules beside it are found, as by `python FILE`."""
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    name = PREFIX + path.stem
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path}: it is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _load_module(code: Path, name: str) -> ModuleType:
    if code.is_dir() and str(code) not in sys.path:
        sys.path.insert(0, str(code))
    return importlib.import_module(name)


def make_settings(train: Train, values: Mapping[str, Scalar]) -> Any:
    """Return the object that the function's first argument is annotated with.

    Raises:
        TypeError: the function has no annotated first argument, or its class takes other names.
    """
    parameters = list(inspect.signature(train).parameters.values())
    hints = typing.get_type_hints(train)
    kind = hints.get(parameters[0].name) if parameters else None
    if kind is None:
        raise TypeError(
            f"{train.__name__} needs an annotated first argument: "
            f"def {train.__name__}(settings: Settings, run)"
        )
    return kind(**values)
