"""The tasks by name: those of this package in a table, others by `register_task`.

Another package brings a task with an entry point of the group `anlp.tasks`, named like the task,
whose value is a light module (no torch) that calls `anlp.register_task`. Entry points are read
where a name is not in the table, and where all tasks are listed.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from anlp.core.errors import UserError
from anlp.core.spec import TaskSettings
from anlp.tasks.task import Task
from anlp.tasks.user_code import is_user_code, user_task

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "anlp.tasks"
OWN_PACKAGE = "anlp"


class TaskRegistry(Mapping[str, Task]):
    """Tasks by name; a task of this package is imported when it is asked for.

    Args:
        built_in: the `module:class` of the settings, by name; the class names its builder.
    """

    def __init__(self, built_in: Mapping[str, str]) -> None:
        self.built_in = built_in
        self._tasks: dict[str, Task] = {}
        self._owners: dict[str, str] = {}  # package of each task that is not in the table
        self._faults: dict[str, str] = {}  # sentence of each entry point that cannot be used
        self._has_read = False
        self._package = ""  # whose entry point is being loaded

    def register(self, name: str, settings: type[TaskSettings], builder: str) -> None:
        """Add a task; adding it again changes nothing.

        Raises:
            UserError: the name is taken, or an argument is of the wrong kind.
        """
        package = self._package or _root(settings.__module__)
        if ":" not in builder:
            raise UserError(
                f"task {name!r} of {package}: builder: expected 'module:function', got {builder!r}"
            )
        task = Task(settings, builder)
        if self._tasks.get(name) != task:
            self._require_free(name, package)
        self._tasks[name] = task
        self._owners.setdefault(name, package)

    def __getitem__(self, name: str) -> Task:
        if is_user_code(name):
            return user_task()
        if name not in self._tasks and name in self.built_in:
            module, _, kind = self.built_in[name].partition(":")
            settings: type[TaskSettings] = getattr(importlib.import_module(module), kind)
            self._tasks[name] = Task(settings, settings.builder)
        if name not in self._tasks:
            self._read_entry_points()
        if name in self._faults:
            raise UserError(self._faults[name])
        return self._tasks[name]

    def __iter__(self) -> Iterator[str]:
        self._read_entry_points()
        others = self._owners.keys() - self._faults.keys()
        return iter([*self.built_in, *sorted(others)])

    def __len__(self) -> int:
        return len(list(iter(self)))

    def _read_entry_points(self) -> None:
        if self._has_read:
            return
        self._has_read = True
        # imported here: a run of a task of the table reads no entry points
        from importlib.metadata import entry_points

        for entry in entry_points(group=GROUP):
            self._package = entry.dist.name if entry.dist else "an unknown package"
            try:
                self._load(entry)
            except Exception as error:  # a package may raise anything when it is imported
                self._note_fault(entry.name, error)
            finally:
                self._package = ""

    def _load(self, entry: EntryPoint) -> None:
        if not self._is_registered_by(entry):
            self._require_free(entry.name, self._package)
        entry.load()
        if entry.name not in self._owners:
            raise UserError(
                f"task {entry.name!r} of {self._package}: its module registers no task of this name"
            )

    def _is_registered_by(self, entry: EntryPoint) -> bool:
        """Tell whether the task is the entry point's own, registered by an earlier import."""
        task = self._tasks.get(entry.name)
        if task is None:
            return False
        return _root(entry.module) in (_root(task.settings.__module__), _root(task.builder))

    def _require_free(self, name: str, package: str) -> None:
        owner = OWN_PACKAGE if name in self.built_in else self._owners.get(name)
        if owner is not None:
            raise UserError(f"task {name!r} of {package}: {owner} has a task of this name")

    def _note_fault(self, name: str, error: Exception) -> None:
        """Keep a fault for lookups of the task; warn where the name is one of the table."""
        fault = str(error)
        if not isinstance(error, UserError):
            reason = f"{type(error).__name__}: {error}"
            fault = f"task {name!r}: package {self._package} cannot be loaded ({reason})"
        fault += f"; fix or uninstall {self._package}"
        if name in self.built_in:
            print(f"warning: {fault}", file=sys.stderr)
        else:
            self._faults.setdefault(name, fault)


def _root(module: str) -> str:
    return module.partition(":")[0].partition(".")[0]
