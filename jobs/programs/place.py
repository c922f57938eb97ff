"""Finds a program, the project that it belongs to, and the Python that starts it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from anlp.core.errors import UserError
from jobs.common.external import run

GIT_TIMEOUT_S = 20.0
ENVIRONMENTS = ("VIRTUAL_ENV", "CONDA_PREFIX")  # that name the active environment of Python


@dataclass(frozen=True, slots=True)
class Place:
    """A program on this machine.

    Args:
        name: relative to the project, or the command's name.
        project: the folder that runs start in, unless told otherwise.
        file: the program; None for a command on PATH.
        is_in_git: whether the project is a git work tree.
    """

    name: str
    project: Path
    file: Path | None
    is_in_git: bool = False

    @property
    def is_python(self) -> bool:
        """Return whether Python starts it."""
        return self.file is not None and self.file.suffix == ".py"


def find_program(text: str, beside: Path, *, is_inside: bool = False) -> Place:
    """Return the program that a grid file names.

    Args:
        text: a path relative to the grid file, or a command on PATH.
        beside: the folder of the grid file.
        is_inside: whether it is started in an image, which has commands of its own.

    Raises:
        UserError: there is no such file or command, or it cannot be executed.
    """
    path = Path(os.path.abspath(beside / Path(text).expanduser()))  # noqa: PTH100 - links stay
    if path.is_dir():
        raise UserError(f"expected a program, got the folder {path}")
    if not path.exists():
        may_be_inside = is_inside and not text.endswith(".py")
        if os.sep not in text and (may_be_inside or shutil.which(text)):
            return Place(text, Path(os.path.abspath(beside)), None)  # noqa: PTH100
        raise UserError(f"{path}: no such file{_near(path)}")
    if path.suffix != ".py" and not os.access(path, os.X_OK):
        raise UserError(f"{path}: it is not executable; chmod +x it, or say how it starts: command")
    if not os.access(path, os.R_OK):
        raise UserError(f"{path}: it cannot be read; look at its permissions")
    project, is_in_git = find_project(path)
    return Place(path.relative_to(project).as_posix(), project, path, is_in_git)


def find_project(path: Path) -> tuple[Path, bool]:
    """Return the git work tree that holds a file, else the file's folder; and whether it is one."""
    answer = run(
        ["git", "-C", str(path.parent), "rev-parse", "--show-toplevel"], timeout_s=GIT_TIMEOUT_S
    )
    top = answer.out.strip()
    if answer.code == 0 and top:
        for parent in path.parents:  # as it was named: git resolves links
            if parent.resolve() == Path(top).resolve():
                return parent, True
    return path.parent, False


def find_interpreter(environment: Mapping[str, str]) -> str:
    """Return the Python of the active environment, else the one that runs this command."""
    for name in ENVIRONMENTS:
        place = environment.get(name)
        python = Path(place, "bin", "python") if place else None
        if python is not None and os.access(python, os.X_OK):
            return str(python)
    return sys.executable


def _near(path: Path) -> str:
    """Return programs beside a missing one."""
    try:
        found = sorted(file.name for file in path.parent.glob(f"*{path.suffix or '.py'}"))
    except OSError:
        return ""
    return f" (there: {', '.join(found[:10])})" if found else ""
