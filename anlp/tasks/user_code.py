"""Tasks that are the user's own code: `program:train.py`, `my_study.py:train`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any

from pydantic import ConfigDict

from anlp.core.spec import Scalar, TaskSettings, canonical_json
from anlp.tasks.task import Task

PROGRAM = "program:"
DEFAULT_COMMANDS: tuple[tuple[str, ...], ...] = (
    ("python", "${program}", "${args}"),
    ("${program}", "${args}"),
)
# a name that no setting may have: columns of tables, words of filters, keys of a run's config
RESERVED = frozenset(
    {
        *("run_id", "config_id", "id", "task", "purpose", "seed", "seeds", "outcome", "state"),
        *("tested_epoch", "trained_epochs", "seconds", "epoch", "verdict", "cause", "onset"),
    }
)
_NAME = re.compile(r"[+~]{0,2}[A-Za-z_][A-Za-z0-9_.@-]{0,99}\Z")
_FUNCTION = re.compile(r"(?P<place>[^:\s]+):(?P<function>[A-Za-z_]\w*)\Z")


class OpenSettings(TaskSettings):
    """Settings of the user's own code: any names, scalar values, all of them part of the id.

    What a value may be is known on the submitting side only, from the program's own parser.
    """

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)
    __pydantic_extra__: dict[str, Scalar]

    def values(self) -> dict[str, Scalar]:
        """Return every setting by name, in the order given."""
        return dict(self.__pydantic_extra__)

    def identity(self) -> dict[str, Scalar]:
        """Return every setting: writing a default out gives the id that leaving it out gives."""
        return dict(self.__pydantic_extra__)


def program_task(name: str, command: Sequence[str]) -> str:
    """Return the task of a program, which is part of its runs' ids.

    >>> program_task("train.py", ("python", "${program}", "${args}"))
    'program:train.py'

    Args:
        name: its path relative to the project, or a command on PATH.
        command: the template; one that is not a default is part of the task by its digest.
    """
    if tuple(command) in DEFAULT_COMMANDS:
        return f"{PROGRAM}{name}"
    digest = hashlib.sha256(canonical_json(list(command)).encode()).hexdigest()
    return f"{PROGRAM}{name}#{digest[:8]}"


def is_user_code(task: str) -> bool:
    """Tell whether a task is the user's own code."""
    return is_program(task) or is_function(task)


def is_program(task: str) -> bool:
    """Tell whether a task is a program."""
    return task.startswith(PROGRAM)


def is_function(task: str) -> bool:
    """Tell whether a task is a function, such as `my_study.py:train`."""
    return not is_program(task) and _FUNCTION.match(task) is not None


def split_function(task: str) -> tuple[str, str]:
    """Return the file or module of a function, and its name.

    >>> split_function("studies/mine.py:train")
    ('studies/mine.py', 'train')
    """
    place, _, function = task.rpartition(":")
    return place, function


def is_setting_name(name: Any) -> bool:
    """Tell whether a setting of the user's own code can have this name.

    >>> is_setting_name("optimizer.lr"), is_setting_name("a/b"), is_setting_name("seed")
    (True, False, False)
    """
    return isinstance(name, str) and _NAME.match(name) is not None and name not in RESERVED


def user_task() -> Task:
    """Return what the table of tasks has for the user's own code."""
    return Task(OpenSettings, OpenSettings.builder)
