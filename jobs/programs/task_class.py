"""Imports a settings class of the user's own, without torch on this machine."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from anlp.core.errors import UserError
from anlp.core.spec import TaskSettings
from jobs.programs.function_bootstrap import NoHeavyModules, RefusedError

PREFIX = "anlp_user_"


def import_task_class(file: Path, name: str) -> type[TaskSettings]:
    """Return the settings class.

    Raises:
        UserError: the file cannot be imported without torch, or the class is none of a task.
    """
    blocker = NoHeavyModules()
    sys.meta_path.insert(0, blocker)
    sys.path.insert(0, str(file.parent))
    try:
        found = _import(file, name)
    except RefusedError as error:
        raise UserError(f"{file}: {error}") from None
    except Exception as error:  # the user's own module may raise anything
        raise UserError(f"{file}: cannot be imported: {type(error).__name__}: {error}") from None
    finally:
        sys.meta_path.remove(blocker)
        sys.path.remove(str(file.parent))
    if not isinstance(found, type) or not issubclass(found, TaskSettings):
        raise UserError(
            f"{file}: {name} is no function and no settings class of a task "
            "(a subclass of anlp.TaskSettings)"
        )
    if ":" not in found.builder:
        raise UserError(
            f'{file}: {name} names no builder; add builder: ClassVar[str] = "module:function"'
        )
    return found


def _import(file: Path, name: str) -> object:
    module_name = PREFIX + file.stem
    spec = importlib.util.spec_from_file_location(module_name, file)
    if spec is None or spec.loader is None:
        raise UserError(f"{file}: it is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    writes_bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        spec.loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = writes_bytecode
    return getattr(module, name)
