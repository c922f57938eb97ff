"""Run by `jobs.programs.functions` in a child: imports a file and tells a function's settings.

It needs the standard library only, so that any Python can run it.
"""

import dataclasses
import importlib.abc
import importlib.util
import inspect
import json
import os
import sys
import typing
from typing import Any

HEAVY = ("torch", "tensorflow", "jax", "flax", "lightning", "pytorch_lightning", "transformers")
KINDS = {bool: "bool", int: "int", float: "float", str: "str"}
BOUNDS = ("gt", "ge", "lt", "le")


class RefusedError(Exception):
    """The settings cannot be told; the text is a sentence for people."""


class NoHeavyModules(importlib.abc.MetaPathFinder):
    """Refuses the import of torch and its like."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:  # noqa: ARG002 - of importlib
        """Raise for such a module; else leave it to the others."""
        if name.partition(".")[0] in HEAVY:
            raise RefusedError(
                f"its settings cannot be read without importing {name.partition('.')[0]}: put the "
                "settings class in this file with plain types, or import it inside the function"
            )
        return


def main(file: str, name: str) -> dict[str, Any]:
    """Return the settings of the function in the file."""
    sys.meta_path.insert(0, NoHeavyModules())
    sys.path.insert(0, os.path.dirname(os.path.abspath(file)))  # noqa: PTH100, PTH120 - any Python
    spec = importlib.util.spec_from_file_location("user_module", file)
    if spec is None or spec.loader is None:
        raise RefusedError("it is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules["user_module"] = module
    spec.loader.exec_module(module)
    function = getattr(module, name)
    parameters = list(inspect.signature(function).parameters.values())
    hints = typing.get_type_hints(function)
    if not parameters or parameters[0].name not in hints:
        raise RefusedError(
            f"{name} needs an annotated first argument: def {name}(settings: Settings, run)"
        )
    return {"settings": _settings(hints[parameters[0].name])}


def _settings(kind: Any) -> list[dict[str, Any]]:
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind, include_extras=True)
        fields = [
            (field.name, hints[field.name], _default_of(field), ())
            for field in dataclasses.fields(kind)
        ]
    elif hasattr(kind, "model_fields"):
        fields = [
            (name, field.annotation, None if field.is_required() else field.default, field.metadata)
            for name, field in kind.model_fields.items()
        ]
    else:
        raise RefusedError(f"{kind.__name__} is neither a dataclass nor a pydantic model")
    return [_setting(*field) for field in fields]


def _default_of(field: Any) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return None


def _setting(name: str, annotation: Any, default: Any, marks: Any) -> dict[str, Any]:
    marks = list(marks)
    if hasattr(annotation, "__metadata__"):
        marks += annotation.__metadata__
        annotation = annotation.__origin__
    choices = []
    if typing.get_origin(annotation) is typing.Literal:
        choices = list(typing.get_args(annotation))
        annotation = type(choices[0])
    if annotation not in KINDS:
        raise RefusedError(f"setting {name!r} has the type {annotation}, and a setting is a scalar")
    bounds = []
    for mark in marks:
        for inner in [mark, *getattr(mark, "metadata", ())]:
            bounds += [
                (key, getattr(inner, key))
                for key in BOUNDS
                if getattr(inner, key, None) is not None
            ]
    return {
        "name": name,
        "kind": KINDS[annotation],
        "choices": choices,
        "default": default,
        "bounds": bounds,
    }


if __name__ == "__main__":
    try:
        answer = main(sys.argv[1], sys.argv[2])
    except RefusedError as error:
        answer = {"error": str(error)}
    except Exception as error:  # the user's own module may raise anything
        answer = {"error": f"cannot be imported: {type(error).__name__}: {error}"}
    with open(sys.argv[3], "w", encoding="utf-8") as file:  # noqa: PTH123 - any Python
        json.dump(answer, file)
