"""Reads what a grid file says of the user's own program: `program:` and the keys beside it."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import replace
from pathlib import Path

from anlp.core.errors import UserError, did_you_mean
from anlp.core.spec import Scalar
from anlp.programs.command import ENVVAR, LISTS, MACROS, macros_in
from anlp.records.program import Program
from anlp.tasks.user_code import (
    DEFAULT_COMMANDS,
    program_task,
)
from jobs.common.git import project_commit
from jobs.config.fields import Key, text, texts, whole
from jobs.config.yaml_tree import Faults, Leaf, Table, Tree, show
from jobs.gridfile.program_keys import (
    file_digest,
    read_metric_names,
    read_smoke,
    read_snapshot,
)
from jobs.gridfile.program_settings import (
    SEED_NAMES,
    passes_by_flag,
    read_declared,
    vocabulary_of_program,
)
from jobs.gridfile.settings import Vocabulary
from jobs.gridfile.top_keys import TopReader
from jobs.programs.parsers.reading import ProgramArguments, read_arguments
from jobs.programs.place import Place, find_interpreter, find_program
from jobs.programs.program import ProgramBlock

PROGRAM_KEYS = (
    *("program", "command", "interpreter", "settings", "metrics", "resume"),
    *("snapshot", "snapshot_limit", "workdir", "smoke"),
)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
WORKDIRS = ("project", "code", "run")


def read_program_grid(
    top: Table, faults: Faults, beside: Path, *, in_image: bool | None = None
) -> tuple[Vocabulary, ProgramBlock] | None:
    """Return what can be written about the program of a grid file, and the program.

    None where the program cannot be found; faults are noted.

    Args:
        top: of the file.
        faults: gets what is wrong.
        beside: the folder that paths in the file are relative to.
        in_image: whether the program is started in an image; None: the file says.
    """
    reader = TopReader(top, faults, beside)
    is_inside = _names_image(top) if in_image is None else in_image
    entry = top.entries["program"]
    place = _place(reader, entry.tree, is_inside=is_inside)
    if place is None:
        return None
    here = find_interpreter(os.environ)
    read = text if is_inside else _interpreter
    interpreter = reader.value("interpreter", Key("", read), "") or here
    arguments = _arguments(reader, place, here if is_inside else interpreter, entry.line)
    if arguments is None:
        return None
    declared = read_declared(reader)
    command = _command(reader, place)
    words = vocabulary_of_program(arguments, declared, command)
    program = Program(
        name=place.name,
        project=str(place.project),
        beside=os.path.abspath(beside),  # noqa: PTH100 - links stay
        path="" if place.file is None else place.name,
        command=command,
        interpreter=interpreter,
        workdir=_workdir(reader),
        flags=_flags(arguments),
        styles=_styles(arguments),
        truths=_truths(arguments),
        defaults=_own_defaults(arguments),
        seed_flag=_seed_flag(arguments),
        metrics=read_metric_names(reader),
        resume_code=_resume(reader),
        sha256="" if place.file is None else file_digest(place.file),
        commit=project_commit(place.project) if place.is_in_git else "",
        **read_snapshot(reader, place),
    )
    checks_names = arguments.is_complete or declared.is_given or not passes_by_flag(command)
    note = "" if checks_names else arguments.note
    block = ProgramBlock(program, read_smoke(reader, words), note)
    return replace(words, task=program_task(place.name, command)), block


def check_program(
    block: ProgramBlock,
    words: Vocabulary,
    given: set[str],
    everywhere: set[str],
    line: int,
    faults: Faults,
) -> None:
    """Note what the command or the program needs and the grid does not give.

    Args:
        block: the program.
        words: its settings.
        given: settings that some run of the grid sets.
        everywhere: settings that every block sets.
        line: of the command.
        faults: gets what is wrong.
    """
    name = block.program.name
    for word in block.program.command:
        for macro in macros_in(word):
            fault = _fault_of_macro(macro, word, given, words)
            if fault:
                faults.add(line, "command", fault)
    for setting in words.required:
        if setting not in everywhere:
            faults.add(
                line,
                "program",
                f"{name} does not start without {setting!r}; give it under fixed or grid",
            )


def _fault_of_macro(macro: str, word: str, given: set[str], words: Vocabulary) -> str:
    if macro in LISTS:
        if word == f"${{{macro}}}":
            return ""
        return f"expected ${{{macro}}} as a word of its own, got {word!r}"
    if macro in MACROS or macro in given or macro in words.defaults:
        return ""
    if not macro.startswith(ENVVAR):
        return f"unknown macro ${{{macro}}}{did_you_mean(macro, sorted({*MACROS, *given}))}"
    if _VARIABLE.fullmatch(macro.removeprefix(ENVVAR)):
        return ""
    return f"expected the name of a variable in ${{{ENVVAR}NAME}}, got ${{{macro}}}"


def _names_image(top: Table) -> bool:
    tree = top.entries["container"].tree if "container" in top.entries else None
    return isinstance(tree, Leaf) and isinstance(tree.value, str)


def _place(reader: TopReader, tree: Tree, *, is_inside: bool) -> Place | None:
    if not isinstance(tree, Leaf) or tree.value is None or not tree.text.strip():
        reader.faults.add(tree.line, "program", f"expected a path or a command, got {show(tree)}")
        return None
    try:
        place = find_program(tree.text, reader.beside, is_inside=is_inside)
    except UserError as error:
        reader.faults.add(tree.line, "program", str(error))
        return None
    return place


def _interpreter(tree: Tree) -> str:
    path = Path(text(tree)).expanduser()
    if not os.access(path, os.X_OK) or path.is_dir():
        raise ValueError(
            f"expected the path of a Python, got {str(path)!r}, which cannot be executed"
        )
    return str(Path(os.path.abspath(path)))  # noqa: PTH100 - a link into an environment stays


def _arguments(
    reader: TopReader, place: Place, interpreter: str, line: int
) -> ProgramArguments | None:
    if not place.is_python or place.file is None:
        return ProgramArguments({}, "none", is_complete=False, note="")
    try:
        return read_arguments(place.file, interpreter, cache_folder(), say=_say)
    except UserError as error:
        reader.faults.add(line, "program", str(error))
        return None


def cache_folder() -> Path:
    """Return where the settings of programs are remembered, by their content."""
    root = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(root).expanduser() / "anlp" / "programs"


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def _flags(arguments: ProgramArguments) -> dict[str, str]:
    return {name: argument.flag for name, argument in arguments.arguments.items()}


def _styles(arguments: ProgramArguments) -> dict[str, str]:
    """Return how settings are passed that are not passed as `--name value`."""
    return {
        name: argument.style
        for name, argument in arguments.arguments.items()
        if argument.style not in ("value", "positional")
    }


def _own_defaults(arguments: ProgramArguments) -> dict[str, Scalar]:
    """Return what the program takes where it is told nothing, by its own parser alone."""
    return {
        name: argument.default
        for name, argument in arguments.arguments.items()
        if argument.has_default and argument.default is not None
    }


def _truths(arguments: ProgramArguments) -> dict[str, tuple[str, str]]:
    """Return how `--flag True` is written where the program wants other words."""
    return {
        name: argument.booleans
        for name, argument in arguments.arguments.items()
        if argument.style == "value" and argument.booleans != ("True", "False")
    }


def _seed_flag(arguments: ProgramArguments) -> str:
    """Return the option that takes the seed, where the program's parser has one."""
    for name in SEED_NAMES:
        if name in arguments.arguments:
            return arguments.arguments[name].flag
    return ""


def _command(reader: TopReader, place: Place) -> tuple[str, ...]:
    default = DEFAULT_COMMANDS[0] if place.is_python else DEFAULT_COMMANDS[1]
    command = reader.value("command", Key("", _words_of_command), default)
    return tuple(command)


def _words_of_command(tree: Tree) -> tuple[str, ...]:
    if isinstance(tree, Leaf):
        raise ValueError(
            f"expected a list of words such as {list(DEFAULT_COMMANDS[0])}, got {show(tree)}: "
            "no shell reads it"
        )
    found = texts(tree)
    if not found:
        raise ValueError("expected at least one word, got an empty list")
    return found


def _workdir(reader: TopReader) -> str:
    given: str = reader.value("workdir", Key("", text), "project")
    if given in WORKDIRS:
        return given
    path = Path(os.path.abspath(reader.beside / Path(given).expanduser()))  # noqa: PTH100 - links stay
    if not path.is_dir():
        line = reader.top.entries["workdir"].tree.line
        reader.faults.add(
            line,
            "workdir",
            f"expected one of {', '.join(WORKDIRS)} or a folder, got {given!r}, which is none",
        )
    return str(path)


def _resume(reader: TopReader) -> int | None:
    table = reader.table("resume", ("exit_code",))
    if table is None or "exit_code" not in table.entries:
        return None
    code: int | None = reader.parsed(
        table.entries["exit_code"].tree, "resume.exit_code", Key("", whole(1, 125)), None
    )
    return code
