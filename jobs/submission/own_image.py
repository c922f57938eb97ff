"""A program of the user's own in an image: the runner starts it there and stays outside itself."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from anlp.programs.command import ENV, macros_in
from anlp.records.folders import GridFolder
from anlp.records.program import Program
from jobs.containers.image import ImageUse, prepare_own_image
from jobs.programs.place import find_interpreter
from jobs.runs.options import SubmitOptions
from jobs.schedulers import registry
from jobs.submission.program import recorded_program, with_record

PYTHON = "python"  # of an image


def program_in_image(
    folder: GridFolder, target: SubmitOptions, use: ImageUse, say: Callable[[str], None]
) -> SubmitOptions:
    """Return the target with how its program is started: in its image, or on the node itself.

    Args:
        folder: of the grid.
        target: with a program, and the image if there is one.
        use: what the image is wanted for.
        say: gets warnings.

    Raises:
        UserError: the record of the program is gone, or the image is unsuitable.
    """
    program = _with_interpreter(
        recorded_program(folder, target), is_inside=target.image is not None
    )
    if target.image is None:
        bare = replace(program, container=(), container_prefixes=())
        options = replace(target.options, container=None)
        return with_record(folder, bare, replace(target, options=options))
    use = replace(use, folders=_folders(program))
    container, facts = prepare_own_image(target.image, use, _first_word(folder, program), say)
    container = container.passing(registry.environment_prefixes())
    inside = replace(
        program, container=container.program_words(), container_prefixes=container.prefixes
    )
    options = replace(target.options, container=facts.for_options())
    return with_record(folder, inside, replace(target, options=options))


def _with_interpreter(program: Program, *, is_inside: bool) -> Program:
    """Return the program with the Python of its image, or of this machine's environment.

    One that the grid file names stays.
    """
    here = find_interpreter(os.environ)
    if is_inside and program.interpreter == here:
        return replace(program, interpreter=PYTHON)
    if not is_inside and program.interpreter == PYTHON:
        return replace(program, interpreter=here)
    return program


def _folders(program: Program) -> tuple[Path, ...]:
    """Return the folders beside the grid's that the program works in."""
    places = [Path(program.project)]
    if Path(program.workdir).is_absolute():
        places.append(Path(program.workdir))
    return tuple(places)


def _first_word(folder: GridFolder, program: Program) -> str:
    """Return the command that starts in the image; empty where its name is of a run."""
    word = program.command[0]
    code = folder.path / program.code if program.code else Path(program.project)
    known = {
        "${program}": str(code / program.path) if program.path else program.name,
        "${interpreter}": program.interpreter,
        "${env}": ENV,
    }
    if word in known:
        return known[word]
    return "" if macros_in(word) else word
