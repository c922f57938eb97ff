"""Finds out which settings a function of the user's own takes, without torch on this machine.

They are read from the source of its settings class where that is plain. Else the module is imported
once in a child process in which torch and its like cannot be imported.
"""

from __future__ import annotations

import ast
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anlp.core.errors import UserError
from anlp.core.spec import Scalar
from jobs.common.external import TIMED_OUT, run

LIMIT_S = 20.0
BOOTSTRAP = Path(__file__).with_name("function_bootstrap.py")
MAX_SOURCE = 10_000_000  # bytes
KINDS: Mapping[str, type] = {"bool": bool, "int": int, "float": float, "str": str}
BOUNDS = ("gt", "ge", "lt", "le")
_CAPITAL_BOUNDS = {"Gt": "gt", "Ge": "ge", "Lt": "lt", "Le": "le"}


@dataclass(frozen=True, slots=True)
class FunctionSetting:
    """One field of a settings class."""

    name: str
    kind: type
    choices: tuple[Scalar, ...] = ()
    default: Scalar | None = None  # None: it has to be given
    bounds: tuple[tuple[str, float], ...] = ()  # ("gt", 0.0)


@dataclass(frozen=True, slots=True)
class Function:
    """A function of the user's own.

    Args:
        settings: what its first argument takes.
        is_class: whether the name is that of a settings class with a builder, a whole task.
    """

    settings: tuple[FunctionSetting, ...]
    is_class: bool = False


class NotPlainError(Exception):
    """The source alone does not tell the settings."""


def read_function(file: Path, name: str, interpreter: str) -> Function:
    """Return what a function takes.

    Args:
        file: of Python.
        name: of the function in it.
        interpreter: the Python that carries the runs out.

    Raises:
        UserError: there is no such function, or its settings cannot be found.
    """
    try:
        content = file.read_bytes()
        if len(content) > MAX_SOURCE:
            raise UserError(f"{file}: expected a Python file, got {len(content):,} bytes")
        module = ast.parse(content, filename=str(file))
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from None
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        where = f"{file}:{line}" if line else str(file)
        raise UserError(f"{where}: {getattr(error, 'msg', error)}") from None
    definition = _definition(module, name)
    if definition is None:
        raise UserError(f"{file}: no function {name!r}{_others(module)}")
    if isinstance(definition, ast.ClassDef):
        return Function((), is_class=True)
    try:
        return Function(_from_source(module, definition))
    except NotPlainError:
        return Function(_from_import(file, name, interpreter))


Definition = ast.FunctionDef | ast.ClassDef


def _definition(module: ast.Module, name: str) -> Definition | None:
    for node in module.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            return node
    return None


def _others(module: ast.Module) -> str:
    names = [
        node.name
        for node in module.body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    ]
    return f" (it has: {', '.join(names[:10])})" if names else ""


def _from_source(module: ast.Module, function: ast.FunctionDef) -> tuple[FunctionSetting, ...]:
    """Return the fields of the class that annotates the first argument.

    Raises:
        NotPlainError: the class is elsewhere, or a field is more than a type and a value.
    """
    arguments = [*function.args.posonlyargs, *function.args.args]
    annotation = arguments[0].annotation if arguments else None
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        annotation = ast.parse(annotation.value, mode="eval").body
    if not isinstance(annotation, ast.Name):
        raise NotPlainError
    settings = _definition(module, annotation.id)
    if not isinstance(settings, ast.ClassDef) or not _is_plain_class(settings):
        raise NotPlainError
    return tuple(
        _field(node)
        for node in settings.body
        if isinstance(node, ast.AnnAssign) and not _is_class_variable(node)
    )


def _is_plain_class(node: ast.ClassDef) -> bool:
    """Tell whether a class is a dataclass or a pydantic model without another base."""
    bases = [_last_name(base) for base in node.bases]
    marks = [
        _last_name(mark.func if isinstance(mark, ast.Call) else mark)
        for mark in node.decorator_list
    ]
    return bases == ["BaseModel"] or (not bases and marks == ["dataclass"])


def _is_class_variable(node: ast.AnnAssign) -> bool:
    return "ClassVar" in ast.dump(node.annotation)


def _field(node: ast.AnnAssign) -> FunctionSetting:
    if not isinstance(node.target, ast.Name):
        raise NotPlainError
    kind, choices, bounds = _type(node.annotation)
    default, more = _default(node.value)
    setting = FunctionSetting(node.target.id, kind, choices, default, (*bounds, *more))
    return _typed(setting)


def _typed(setting: FunctionSetting) -> FunctionSetting:
    """Return a setting whose default has its type: `lr: float = 1` is 1.0."""
    if setting.kind is float and type(setting.default) is int:
        default = float(setting.default)
        return FunctionSetting(setting.name, float, setting.choices, default, setting.bounds)
    return setting


Bounds = tuple[tuple[str, float], ...]


def _type(node: ast.expr) -> tuple[type, tuple[Scalar, ...], Bounds]:
    """Return the type, choices and bounds of an annotation."""
    if isinstance(node, ast.Name) and node.id in KINDS:
        return KINDS[node.id], (), ()
    if isinstance(node, ast.Subscript):
        name = _last_name(node.value)
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if name == "Literal":
            choices = tuple(_literal(part) for part in parts)
            return type(choices[0]), choices, ()
        if name == "Annotated":
            kind, choices, bounds = _type(parts[0])
            return (
                kind,
                choices,
                (*bounds, *(bound for part in parts[1:] for bound in _bounds(part))),
            )
    raise NotPlainError


def _bounds(node: ast.expr) -> Bounds:
    """Return the bounds of `Field(gt=0)` or `Gt(0)`."""
    if not isinstance(node, ast.Call):
        raise NotPlainError
    name = _last_name(node.func)
    if name in _CAPITAL_BOUNDS and len(node.args) == 1:
        return ((_CAPITAL_BOUNDS[name], _number(node.args[0])),)
    if name != "Field":
        raise NotPlainError
    return tuple(
        (word.arg, _number(word.value)) for word in node.keywords if word.arg in BOUNDS and word.arg
    )


def _default(node: ast.expr | None) -> tuple[Scalar | None, Bounds]:
    """Return the default and bounds of `= 0.1`, `= field(default=0.1)`, `= Field(0.1, gt=0)`."""
    if node is None:
        return None, ()
    if not isinstance(node, ast.Call):
        return _literal(node), ()
    if _last_name(node.func) not in ("field", "Field"):
        raise NotPlainError
    named = {word.arg: word.value for word in node.keywords}
    if "default_factory" in named:
        raise NotPlainError
    value = named.get("default", node.args[0] if node.args else None)
    bounds = _bounds(node) if _last_name(node.func) == "Field" else ()
    if value is None or (isinstance(value, ast.Constant) and value.value is ...):
        return None, bounds
    return _literal(value), bounds


def _literal(node: ast.expr) -> Scalar:
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError):
        raise NotPlainError from None
    if not isinstance(value, bool | int | float | str):
        raise NotPlainError
    return value


def _number(node: ast.expr) -> float:
    value = _literal(node)
    if isinstance(value, bool | str):
        raise NotPlainError
    return value


def _last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _from_import(file: Path, name: str, interpreter: str) -> tuple[FunctionSetting, ...]:
    """Return the settings as the imported module tells them.

    Raises:
        UserError: it needs torch or its like, takes too long, or its settings are no scalars.
    """
    descriptor, answer_file = tempfile.mkstemp(prefix="function-", suffix=".json")
    os.close(descriptor)
    try:
        argv = [interpreter, "-B", str(BOOTSTRAP), str(file), name, answer_file]
        answer = run(argv, timeout_s=LIMIT_S, name=f"reading {file.name}")
        text = Path(answer_file).read_text(encoding="utf-8")
    finally:
        Path(answer_file).unlink(missing_ok=True)
    if answer.code == TIMED_OUT:
        raise UserError(
            f"{file}: its import took more than {LIMIT_S:g} s; put the settings class in a module "
            "that imports little"
        )
    try:
        told = json.loads(text)
    except ValueError:
        last = answer.err.strip().rpartition("\n")[2] or f"exit code {answer.code}"
        raise UserError(f"{file}: cannot be imported: {last}") from None
    if "error" in told:
        raise UserError(f"{file}: {told['error']}")
    return tuple(_told_setting(form) for form in told["settings"])


def _told_setting(form: Mapping[str, Any]) -> FunctionSetting:
    choices: Sequence[Scalar] = form["choices"]
    setting = FunctionSetting(
        form["name"],
        KINDS[form["kind"]],
        tuple(choices),
        form["default"],
        tuple((name, float(value)) for name, value in form["bounds"]),
    )
    return _typed(setting)
