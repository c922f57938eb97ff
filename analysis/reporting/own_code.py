"""The user's own code of a grid, as the grid file with the next runs names it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anlp.records.folders import GridFolder
from anlp.records.program import Program, read_programs
from anlp.tasks.user_code import is_program

# keys of the grid file that say how a program is started and read; they do not name places
_KEPT = ("command", "interpreter", "settings", "metrics", "resume", "snapshot", "snapshot_limit")


def find_own_code(folder: Path, task: str) -> Program | None:
    """Return the program or function of a task, as it was submitted last; None where it is gone."""
    name = task.removeprefix("program:").partition("#")[0]
    for program in reversed(read_programs(GridFolder(folder))):
        own = program.name if is_program(task) else f"{program.name}:{program.function}"
        if own == name:
            return program
    return None


def own_code_keys(program: Program, grid_file: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys that start the same code from a grid file in any folder."""
    where = program.name
    if program.path:
        where = str(Path(program.project) / program.path)
    kept = {key: grid_file[key] for key in _KEPT if key in grid_file}
    if program.function:
        return {"task": f"{where}:{program.function}", **kept}
    workdir = {} if program.workdir == "project" else {"workdir": program.workdir}
    return {"program": where, **workdir, **kept}
