"""The user's own code of a submission: copied once per content, and its changes told."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

from anlp.core.errors import UserError
from anlp.core.files import make_folder
from anlp.core.spec import RunSpec
from anlp.core.units import count
from anlp.programs.command import RunValues, render_command
from anlp.records.files import write_json
from anlp.records.folders import GridFolder
from anlp.records.program import Program, read_program, read_programs
from jobs.programs.project_files import How
from jobs.programs.snapshot import take_snapshot
from jobs.runs.failures import ENDED_WELL
from jobs.runs.options import SubmitOptions
from jobs.runs.status import RunStatus

MIB = 1024 * 1024
Say = Callable[[str], None]


def with_program(
    folder: GridFolder, program: Program, target: SubmitOptions, say: Say
) -> SubmitOptions:
    """Return the target with the program written for its runs, and its code copied.

    Args:
        folder: the grid's.
        program: without the copy of its code.
        target: where and how.
        say: told what was copied.

    Raises:
        UserError: the copy would be too large, or cannot be made.
    """
    written = replace(program, gpus=target.resources.gpus)
    if program.snapshot != "none":
        how = cast("How", program.snapshot)
        limit = program.limit_mib * MIB
        found = take_snapshot(Path(program.project), how, folder.code, limit_bytes=limit)
        if found.folder is not None:
            written = replace(written, code=str(found.folder.relative_to(folder.path)))
        for sentence in (found.sentence, *found.notes):
            say(sentence)
    return with_record(folder, written, target)


def with_record(folder: GridFolder, program: Program, target: SubmitOptions) -> SubmitOptions:
    """Return the target with a program whose record is on disk."""
    path = folder.programs / f"{program.digest}.json"
    if not path.exists():
        make_folder(folder.programs)
        write_json(path, program.to_json())
    return replace(target, options=replace(target.options, program=program.digest))


def with_present_code(folder: GridFolder, target: SubmitOptions, say: Say) -> SubmitOptions:
    """Return the target of a repeated submission with the program's code as it is now.

    Raises:
        UserError: the record of the program is gone, or its code cannot be copied.
    """
    if not target.options.program:
        return target
    program = recorded_program(folder, target)
    return with_program(folder, replace(program, code=""), target, say)


def recorded_program(folder: GridFolder, target: SubmitOptions) -> Program:
    """Return the program of a submission.

    Raises:
        UserError: its record is gone or damaged.
    """
    program = read_program(folder, target.options.program)
    if program is None:
        path = folder.programs / f"{target.options.program}.json"
        raise UserError(f"{path}: cannot be read; submit the grid file again instead")
    return program


def beside_of_copy(source: Path) -> Path | None:
    """Return the folder of the file that a grid's folder keeps a copy of; None for other files."""
    programs = read_programs(GridFolder(source.parent))
    return Path(programs[-1].beside) if programs and programs[-1].beside else None


def uncopied_code(folder: GridFolder, target: SubmitOptions) -> tuple[Path, ...]:
    """Return the project of the user's own code where no copy of it is in the grid's folder."""
    program = read_program(folder, target.options.program) if target.options.program else None
    return () if program is None or program.code else (Path(program.project),)


def note_program(
    program: Program, specs: Iterable[RunSpec], history: Iterable[RunStatus]
) -> Iterator[str]:
    """Yield what should be known of a program before its runs are submitted."""
    runs = list(specs)
    if runs and not program.function:
        yield f"each run is a process of its own: {_example(program, runs[0])}"
    changed = sum(_is_of_other_code(status, program) for status in history)
    if changed:
        yield (
            f"{program.name} has changed since {count(changed, 'run')} were done; they stay as "
            "they are (--replace redoes them)"
        )
    takes_seed = program.seed_flag or any("${seed}" in word for word in program.command)
    if not takes_seed and not program.function and len({spec.seed for spec in runs}) > 1:
        yield (
            f"{program.name} takes no --seed that is known: its seeds differ only in the "
            "environment variable ANLP_SEED"
        )


def _is_of_other_code(status: RunStatus, program: Program) -> bool:
    """Tell whether a run has a result of a file with another content."""
    if status.state not in ENDED_WELL or status.result is None or not program.sha256:
        return False
    recorded = status.result.provenance.get("program")
    if not isinstance(recorded, dict) or recorded.get("name") != program.name:
        return False
    return recorded.get("sha256") != program.sha256


def _example(program: Program, spec: RunSpec) -> str:
    """Return the command of a run as people type it, the seed and run apart."""
    folder = Path("RUN")
    values = RunValues(
        spec.settings.values(),
        spec.seed,
        spec.run_id,
        program.path or program.name,
        folder / "files",
        folder / "args.json",
        os.environ,
    )
    return " ".join(render_command(program, values))
