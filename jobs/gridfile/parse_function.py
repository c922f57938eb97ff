"""Reads a grid file whose task is a function of the user's own: `task: my_study.py:train`."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from annotated_types import BaseMetadata, Ge, Gt, Le, Lt

from anlp.core.errors import UserError
from anlp.core.spec import TaskSettings
from anlp.records.program import Program
from anlp.tasks.user_code import OpenSettings, is_setting_name, split_function
from jobs.common.git import project_commit
from jobs.config.yaml_tree import Faults, Leaf, Table
from jobs.gridfile.program_keys import (
    file_digest,
    read_metric_names,
    read_smoke,
    read_snapshot,
)
from jobs.gridfile.program_settings import bad_name
from jobs.gridfile.settings import Setting, Vocabulary, make_setting, words_of_class
from jobs.gridfile.top_keys import TopReader
from jobs.programs.functions import FunctionSetting, read_function
from jobs.programs.place import Place, find_program
from jobs.programs.program import ProgramBlock
from jobs.programs.task_class import import_task_class

FUNCTION_KEYS = ("metrics", "snapshot", "snapshot_limit", "smoke")
_BOUNDS: dict[str, Any] = {"gt": Gt, "ge": Ge, "lt": Lt, "le": Le}


def read_function_grid(
    top: Table, faults: Faults, beside: Path
) -> tuple[Vocabulary, ProgramBlock] | None:
    """Return what can be written about the function of a grid file, and the function.

    None where it cannot be found; faults are noted.
    """
    reader = TopReader(top, faults, beside)
    tree = top.entries["task"].tree
    text = tree.text if isinstance(tree, Leaf) else ""
    where, name = split_function(text)
    try:
        place = _find(where, beside)
        if place.file is None:
            raise UserError(f"{where}: expected a Python file, such as my_study.py:{name}")
        function = read_function(place.file, name, sys.executable)
    except UserError as error:
        faults.add(tree.line, "task", str(error))
        return None
    if function.is_class:
        return _task_grid(reader, place, name)
    bad = [setting.name for setting in function.settings if not is_setting_name(setting.name)]
    for setting in bad:
        faults.add(tree.line, "task", f"its settings class: {bad_name(setting)}")
    words = _words(f"{place.name}:{name}", function.settings)
    return words, _block(reader, place, name, words)


def _task_grid(
    reader: TopReader, place: Place, name: str
) -> tuple[Vocabulary, ProgramBlock] | None:
    """Return the words of a whole task of the user's own: a settings class with a builder."""
    entry = reader.top.entries["task"]
    if place.file is None:
        raise AssertionError("a task is in a file")
    try:
        settings = import_task_class(place.file, name)
        words = words_of_class(f"{place.name}:{name}", settings)
    except (UserError, TypeError) as error:
        reader.faults.add(entry.tree.line, "task", str(error))
        return None
    words = replace(words, model=_open_form(settings))
    block = _block(reader, place, name, words)
    smoke = block.smoke or settings.smoke
    return words, ProgramBlock(replace(block.program, is_task=True), smoke)


def _open_form(settings: type[TaskSettings]) -> type[OpenSettings]:
    """Return a class that checks by `settings` and keeps what is part of a run's id.

    So a run in a batch file can be read where the class is not at hand.
    """

    class Checked(OpenSettings):
        only_for = settings.only_for

        @classmethod
        def model_validate(cls, obj: Any, **kwargs: Any) -> OpenSettings:  # type: ignore[override]  # returns the open form
            return OpenSettings.model_validate(settings.model_validate(obj, **kwargs).identity())

    return Checked


def _block(reader: TopReader, place: Place, name: str, words: Vocabulary) -> ProgramBlock:
    program = Program(
        name=place.name,
        project=str(place.project),
        beside=os.path.abspath(reader.beside),  # noqa: PTH100 - links stay
        path=place.name,
        function=name,
        interpreter=sys.executable,
        defaults=words.defaults,
        metrics=read_metric_names(reader),
        sha256="" if place.file is None else file_digest(place.file),
        commit=project_commit(place.project) if place.is_in_git else "",
        **read_snapshot(reader, place),
    )
    return ProgramBlock(program, read_smoke(reader, words))


def _find(where: str, beside: Path) -> Place:
    """Return the file of a function: a path, or a module in dots, relative to the grid file."""
    if where.endswith(".py"):
        return find_program(where, beside)
    path = beside / (where.replace(".", "/") + ".py")
    if not path.exists():
        path = beside / where.replace(".", "/") / "__init__.py"
    if not path.exists():
        raise UserError(f"no module {where!r} beside {beside}; name its file, such as my_study.py")
    return find_program(str(path.relative_to(beside)), beside)


def _words(task: str, settings: tuple[FunctionSetting, ...]) -> Vocabulary:
    known = {setting.name: _setting(setting) for setting in settings}
    defaults = {
        setting.name: setting.default for setting in settings if setting.default is not None
    }
    required = tuple(name for name in known if name not in defaults)
    return Vocabulary(task, OpenSettings, known, defaults, required)


def _setting(setting: FunctionSetting) -> Setting:
    if setting.choices:
        return make_setting(setting.name, Literal[setting.choices])
    marks: list[BaseMetadata] = [_BOUNDS[bound](value) for bound, value in setting.bounds]
    return make_setting(setting.name, setting.kind, marks)
