"""Find out which arguments a Python program takes: from its source, else by asking it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from anlp.core.errors import UserError
from jobs.programs.parsers.arguments import UNKNOWN, Argument, Declaration, Style, arguments_of
from jobs.programs.parsers.asking import LIMIT_S, Asked, ask, cache_file, is_valid, recall
from jobs.programs.parsers.frameworks import other_framework, parser_elsewhere
from jobs.programs.parsers.source import Source
from jobs.programs.parsers.static_parser import Reading, read_source

__all__ = ["Argument", "ProgramArguments", "Style", "read_arguments"]

MAX_SOURCE = 10_000_000  # bytes
_SUBCOMMANDS = "has subcommands: name one in command:, before ${args}"


@dataclass(frozen=True, slots=True)
class ProgramArguments:
    """The arguments of a program."""

    arguments: Mapping[str, Argument] = field(default_factory=dict)
    how: Literal["static", "asked", "none"] = "none"  # none: no parser found, cannot be asked
    is_complete: bool = False  # False: other names may exist, so that unknown ones are not refused
    note: str = ""  # one sentence for people; "" where all is known


@dataclass(frozen=True, slots=True)
class _Question:
    """How a program would be asked."""

    program: Path
    interpreter: str
    folder: Path
    cache: Path | None
    say: Callable[[str], None]


def read_arguments(
    program: Path,
    interpreter: str,
    cache: Path | None,
    *,
    say: Callable[[str], None],
    folder: Path | None = None,
) -> ProgramArguments:
    """Return the arguments of a Python program.

    Its source is read first, which imports nothing. Where that is not enough, and there is a parser
    to be expected, it is run in a child process up to the point where it parses its arguments.

    Args:
        program: a file of Python.
        interpreter: the Python that runs it.
        cache: the folder where the answers of asked programs are kept, by content; None: nowhere.
        say: shows a sentence before a program is asked, since that may take up to 20 s.
        folder: the working folder of the asked program; None: the program's own.

    Raises:
        UserError: the file cannot be read, or is not valid Python; the message has its line.
    """
    source = _read(program, interpreter)
    question = _Question(program, interpreter, folder or program.parent, cache, say)
    if source is None:
        return _asked(question, Reading((), "its syntax is newer than this Python", False, False))
    framework = other_framework(source)
    if framework:
        return ProgramArguments(note=f"{program.name} {framework}")
    if source.makes_parser:
        reading = read_source(source)
        return _asked(question, reading) if reading.missing else _static(program, reading)
    elsewhere = parser_elsewhere(source, program.absolute().parent)
    if elsewhere:
        return _asked(question, Reading((), f"its parser comes from {elsewhere}", False, False))
    by_hand = any(source.resolve(node) == "sys.argv" for node in source.attributes)
    reason = "reads sys.argv by hand" if by_hand else "has no argument parser"
    return ProgramArguments(note=f"{program.name} {reason}")


def _read(program: Path, interpreter: str) -> Source | None:
    """Return the source; None where only its own interpreter, a newer Python, understands it."""
    try:
        if program.stat().st_size > MAX_SOURCE:
            raise UserError(
                f"{program}: expected a program of at most {MAX_SOURCE / 1e6:g} MB, "
                f"got {program.stat().st_size / 1e6:.0f} MB"
            )
        return Source(program.read_bytes(), str(program))
    except OSError as error:
        raise UserError(f"{program}: cannot be read: {error.strerror}") from None
    except SyntaxError as error:
        if error.lineno is None:
            raise UserError(f"{program}: expected a program in Python: {error.msg}") from None
        if interpreter != sys.executable and is_valid(program, interpreter):
            return None
        raise UserError(f"{program}:{error.lineno}: not valid Python: {error.msg}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{program}: expected a program in Python: {error}") from None


def _static(program: Path, reading: Reading) -> ProgramArguments:
    note = ""
    if reading.has_subcommands:
        note = f"{program.name} {_SUBCOMMANDS}"
    elif reading.is_lax:
        note = f"{program.name} also takes arguments that its parser does not know"
    arguments = arguments_of(_optional(reading.declarations, reading.has_subcommands))
    return ProgramArguments(arguments, "static", not note, note)


def _optional(declarations: Sequence[Declaration], has_subcommands: bool) -> Sequence[Declaration]:
    """Return the declarations, none of them required where they may be of one subcommand."""
    if not has_subcommands:
        return declarations
    return [replace(declaration, is_required=False) for declaration in declarations]


def _asked(question: _Question, reading: Reading) -> ProgramArguments:
    """Return what the program itself tells, with what its source says about the same arguments."""
    answer = _answer(question, reading)
    if answer.error:
        return _not_told(question.program, reading, answer.error)
    declarations = [_completed(told, reading.declarations) for told in answer.declarations]
    if answer.is_lax:
        declarations += reading.declarations  # of a second parser, which is asked later
    note = ""
    if answer.has_subcommands:
        note = f"{question.program.name} {_SUBCOMMANDS}"
    elif answer.is_lax:
        note = f"{question.program.name} also takes arguments that its parser does not know"
    return ProgramArguments(arguments_of(declarations), "asked", not note, note)


def _answer(question: _Question, reading: Reading) -> Asked:
    kept = None
    if question.cache is not None:
        kept = cache_file(question.cache, question.program, question.interpreter)
        known = recall(kept)
        if known is not None:
            return known
    question.say(
        f"asking {question.program.name} for its arguments, since {reading.missing}: it runs up "
        f"to its parser, with its imports, for at most {LIMIT_S:g} s"
    )
    return ask(question.program, question.interpreter, question.folder, kept)


def _not_told(program: Path, reading: Reading, error: str) -> ProgramArguments:
    note = f"{program.name} cannot be asked for its arguments: {error}"
    if not reading.declarations:
        return ProgramArguments(note=note)
    return ProgramArguments(arguments_of(reading.declarations), "static", False, note)


def _completed(told: Declaration, read: Sequence[Declaration]) -> Declaration:
    """Return what the parser told with the line and the literals of the source.

    A default that the source computes may differ between this machine and the one of the runs.
    """
    for declaration in read:
        if declaration.options == told.options and declaration.dest == told.dest:
            default = declaration.default
            if default is not UNKNOWN and told.default is not UNKNOWN:
                default = told.default
            return replace(
                told,
                line=declaration.line,
                hint=told.hint or declaration.hint,
                booleans=declaration.booleans,
                default=default,
            )
    return told
