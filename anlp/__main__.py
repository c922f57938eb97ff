"""The command `anlp`: all verbs of the suite, each in a module that is loaded when it is called."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from anlp.console.command import EPILOG, run_command, version_line
from anlp.console.verbs import STAGES, call_verb, called_as, changes_something, find_verb, verbs_of
from anlp.core.errors import EXIT_OK, UserError, describe_import

COMPLETION = "--print-completion"
SHELLS = ("bash", "zsh", "tcsh")
HEAD = """\
usage: anlp VERB [arguments]

One YAML grid becomes finished, tracked, restartable training runs, and a results table.
"""
TAIL = f"""\
  anlp VERB --help            options and examples of a verb
  anlp --version
  anlp {COMPLETION} SHELL   completion script for {", ".join(SHELLS)}

A GRID is a grid's name, its YAML file or its folder.
{EPILOG}"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb that the first argument names; without one, list the verbs.

    Raises:
        UserError: there is no such verb or option.
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    first, *rest = arguments or ["--help"]
    if first in ("-h", "--help", "help"):
        print(overview())
        return EXIT_OK
    if first == "--version":
        print(version_line())
        return EXIT_OK
    if first == COMPLETION or first.startswith(f"{COMPLETION}="):
        print(completion_script(*_shell(arguments)))
        return EXIT_OK
    if first.startswith("-"):
        raise UserError(f"{first}: unknown option; name a verb first (anlp --help lists them)")
    return call_verb(find_verb(first, verbs_of()), rest, program="anlp")


def overview() -> str:
    """Return the verbs by stage, with what each does."""
    width = max(len(verb.name) for verb in verbs_of())
    lines = [HEAD]
    for stage, verbs in STAGES.items():
        lines.append(f"{stage}:")
        lines += [f"  {verb.name:<{width}}  {verb.summary}" for verb in verbs]
        lines.append("")
    return "\n".join([*lines, TAIL])


def _shell(arguments: Sequence[str]) -> list[str]:
    """Return the words behind `--print-completion`, as one or as two arguments."""
    _, is_one, shell = arguments[0].partition("=")
    return [shell] if is_one else list(arguments[1:2])


def completion_script(shell: str = "") -> str:
    """Return the script that completes verbs, options and grid names in a shell.

    Raises:
        UserError: the shell is unknown, or shtab is not installed.
    """
    if shell not in SHELLS:
        raise UserError(f"{COMPLETION}: expected one of {', '.join(SHELLS)}, got {shell!r}")
    try:
        shtab: Any = import_module("shtab")
    except ImportError as error:
        raise UserError(f"{COMPLETION}: {describe_import(error, 'shtab', 'completion')}") from None
    script: str = shtab.complete(complete_parser(), shell, preamble=GRID_NAMES)
    return script


GRID_NAMES = {
    "bash": """\
_anlp_grids() {
  compgen -f -- "$1"
  (cd "${ANLP_RUNS:-runs}" 2>/dev/null && compgen -d -- "$1")
}""",
    "zsh": """\
_anlp_grids() {
  _files
  local root="${ANLP_RUNS:-runs}"
  local -a grids
  grids=("$root"/*(N/:t))
  (( $#grids )) && compadd -a grids
}""",
}
COMPLETE_GRID = {"bash": "_anlp_grids", "zsh": "_anlp_grids", "tcsh": "f"}


def complete_parser() -> argparse.ArgumentParser:
    """Return a parser of `anlp` with all its verbs: what a completion script is made from."""
    parser = argparse.ArgumentParser(prog="anlp")
    parser.add_argument("--version", action="store_true", help="print the version")
    parser.add_argument(COMPLETION, choices=SHELLS, help="print a completion script")
    verbs = parser.add_subparsers(metavar="VERB")
    for verb in verbs_of():
        with called_as("anlp"):
            own: argparse.ArgumentParser = import_module(verb.module).make_arguments()
        added = verbs.add_parser(
            verb.name, parents=[own], add_help=False, conflict_handler="resolve", help=verb.summary
        )
        for action in added._get_positional_actions():
            if action.dest in ("grid", "names"):
                action.complete = COMPLETE_GRID  # type: ignore[attr-defined]  # read by shtab
    return parser


def cli() -> int:
    """Return the exit code of the command."""
    return run_command(main, outlives_reader=changes_something(sys.argv[1:]))


if __name__ == "__main__":
    sys.exit(cli())
