"""Run a program up to its argument parser and write what the parser declares to a pipe.

The program's own interpreter runs this file: it imports nothing of the suite, and it may be an
older Python. Usage: `python ask_bootstrap.py PROGRAM DESCRIPTOR`, the program by its absolute path.
"""

from __future__ import annotations

import argparse
import datetime
import enum
import hashlib
import json
import os
import runpy
import socket
import sys
import time
from pathlib import Path
from typing import Any

_PARSING = ("parse_args", "parse_known_args", "_parse_known_args")
_STRICT = ("parse_args", "parse_intermixed_args")
_HUGGING_FACE = "parse_args_into_dataclasses"
_COUNTED = ("worker", "process", "processe", "cpu", "core", "thread", "job", "rank")
_DAY_S = 86400.0
_SUBCLASS_CONFIG = ("configargparse", "jsonargparse")  # their defaults come from files too
_ACTIONS = {
    "_StoreAction": "store",
    "_StoreConstAction": "store_const",
    "_StoreTrueAction": "store_true",
    "_StoreFalseAction": "store_false",
    "_AppendAction": "append",
    "_AppendConstAction": "store_const",
    "_CountAction": "count",
    "_ExtendAction": "extend",
    "BooleanOptionalAction": "optional_boolean",
}


def main() -> None:
    """Run the program; the answer is written when it first parses, else when it ends."""
    program, descriptor = sys.argv[1], int(sys.argv[2])
    os.set_inheritable(descriptor, False)
    folder = str(Path(program).parent)
    sys.path[0] = folder  # as if the interpreter had been started with the program
    sys.argv = [program]
    for name in _PARSING:
        setattr(argparse.ArgumentParser, name, _interception(name, folder, descriptor))
    try:
        runpy.run_path(program, run_name="__main__")
        ending = "it ended without reading any arguments"
    except SystemExit as end:
        ending = f"it ended with exit code {end.code!r:.100} before it read its arguments"
    except BaseException as error:
        text = " ".join(str(error).split())
        ending = f"{type(error).__name__}: {text}"[:300]
    _answer(descriptor, {"error": ending})


def _interception(name: str, folder: str, descriptor: int) -> Any:
    original = getattr(argparse.ArgumentParser, name)

    def parse(self: argparse.ArgumentParser, args: Any = None, *rest: Any, **named: Any) -> Any:
        if args:  # a library parses a text of its own
            return original(self, args, *rest, **named)
        found = {
            "is_lax": _is_lax(name),
            "actions": list(_actions(self, optional=False)),
            "has_subcommands": bool(self._subparsers),
            "modules": _own_modules(folder),
        }
        return _answer(descriptor, found)

    return parse


def _answer(descriptor: int, answer: Any) -> None:
    """Write the answer and end at once: no exit handlers, no waiting for threads."""
    with os.fdopen(descriptor, "wb") as pipe:
        pipe.write(json.dumps(answer).encode() + b"\n")
    os._exit(0)


def _is_lax(name: str) -> bool:
    """Tell whether the program takes what its parser does not know."""
    frame: Any = sys._getframe(1)
    for _ in range(12):
        called = frame.f_code.co_name
        if called == _HUGGING_FACE:
            return bool(frame.f_locals.get("return_remaining_strings"))
        if called in _STRICT:
            return False
        frame = frame.f_back
        if frame is None:
            break
    return name not in _STRICT


def _actions(parser: argparse.ArgumentParser, optional: bool) -> Any:
    has_other_defaults = type(parser).__module__.split(".")[0] in _SUBCLASS_CONFIG
    for action in parser._actions:
        kind = type(action).__name__
        if kind in ("_HelpAction", "_VersionAction"):
            continue
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                yield from _actions(sub, optional=True)
            continue
        told = _told(action, parser)
        if has_other_defaults:
            told.pop("default", None)
        told["is_required"] = told["is_required"] and not optional
        yield told


def _told(action: argparse.Action, parser: argparse.ArgumentParser) -> dict[str, Any]:
    kind = type(action).__name__
    is_switch = kind not in _ACTIONS and action.nargs == 0
    default = parser._defaults.get(action.dest, action.default)
    options = list(action.option_strings)
    if kind == "BooleanOptionalAction":
        options = [option for option in options if not option.startswith("--no-")] or options
    found = {
        "options": options,
        "dest": action.dest,
        "action": _ACTIONS.get(kind, "store_const" if is_switch else "store"),
        "type": "" if action.type is None else getattr(action.type, "__name__", "other"),
        "nargs": action.nargs if isinstance(action.nargs, (int, str)) else None,
        "choices": _choices(action.choices),
        "is_required": bool(action.required),
    }
    plain = _plain(default)
    is_known = default is None or plain is not None
    if is_known and (action.nargs == 0 or not _is_of_this_machine(action.dest, plain)):
        found["default"] = plain
    return found


def _choices(choices: Any) -> list[Any]:
    if choices is None or not hasattr(choices, "__len__") or len(choices) > 1000:
        return []
    found = [_plain(choice) for choice in choices]
    return [] if None in found else found


def _plain(value: Any) -> Any:
    """Return a value as JSON has it; None for all that is neither a scalar nor a list of them."""
    if isinstance(value, enum.Enum):
        value = value.value
    if isinstance(value, (list, tuple)):
        items = [_plain(item) for item in value]
        return None if None in items else items
    if value == argparse.SUPPRESS or not isinstance(value, (bool, int, float, str)):
        return None
    for kind in (bool, int, float):
        if isinstance(value, kind):
            return kind(value)
    return str(value)


def _is_of_this_machine(dest: str, value: Any) -> bool:
    """Tell whether a default was probably computed from the machine, the user or the time."""
    words = dest.lower().split("_")
    if isinstance(value, bool):
        return any(word in words for word in ("cuda", "gpu", "mps", "tpu", "bf16"))
    if isinstance(value, (int, float)):
        is_count = any(word.rstrip("s") in _COUNTED for word in words)
        return is_count or abs(value - time.time()) < _DAY_S or value == os.getpid()
    if not isinstance(value, str):
        return False
    today = datetime.datetime.now()
    marks = [str(Path.cwd()), str(Path.home()), socket.gethostname()]
    marks += [os.environ["TMPDIR"], today.strftime("%Y-%m-%d"), today.strftime("%Y%m%d")]
    return value in ("cpu", "cuda", "mps") or any(mark in value for mark in marks if len(mark) > 1)


def _own_modules(folder: str) -> dict[str, str]:
    """Return the files below the program's folder that it has imported, with their SHA-256."""
    found = {}
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None)
        if not isinstance(path, str) or "-packages" in path or not path.endswith(".py"):
            continue
        path = str(Path(path).absolute())
        is_inside = path.startswith(folder + os.sep) and not path.startswith(sys.prefix + os.sep)
        if is_inside and Path(path).is_file():  # torch names modules that are no files
            found[path] = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    return found


if __name__ == "__main__":
    main()
