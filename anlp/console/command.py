"""The edge of every command: its parser, the options that commands share, and its exit code.

A command module has `make_arguments() -> ArgumentParser`, `main(argv=None) -> int` and
`cli() -> int`, which calls `run_command` and is the entry point of `python -m` and of the console
script.
"""

from __future__ import annotations

import argparse
import difflib
import errno
import gc
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from anlp.console import debug_log, stdio
from anlp.console.verbs import command_name
from anlp.core.damage import forget_damage, render_damage
from anlp.core.errors import EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE, UserError
from anlp.core.files import advise
from anlp.core.version import __version__

EPILOG = "Runs are in $ANLP_RUNS, or in ./runs where that is not set."
GRID_HELP = "the grid's name, its YAML file or its folder"
MISSING_GRID = (
    "the following arguments are required: grid",
    "one of the arguments grid --from is required",
)

UNKNOWN_OPTION = "unrecognized arguments: "


class CommandParser(argparse.ArgumentParser):
    """A parser whose faults are one sentence, and which starts the debug log for `-v`."""

    # says what to type instead of an unknown option, given its name and value; empty: no idea
    instead_of: Callable[[str, str], str] | None = None

    def error(self, message: str) -> NoReturn:
        """Raise the fault as one line, without the list of all options before it."""
        if message in MISSING_GRID:
            raise UserError(
                f"name a grid, as in `{self.prog} GRID`: {GRID_HELP} "
                f"({self.prog} --help has examples)"
            )
        raise UserError(
            f"{message.removeprefix('argument ')} "
            f"({self._meant(message)}{self.prog} --help lists the options)"
        )

    def _meant(self, message: str) -> str:
        """Render the option that an unknown one was probably meant to be."""
        if not message.startswith(UNKNOWN_OPTION):
            return ""
        words = message.removeprefix(UNKNOWN_OPTION).split(" ")
        typed, _, value = words[0].partition("=")
        if self.instead_of is not None and typed.startswith("--"):
            value = value or (words[1] if len(words) > 1 else "")
            if hint := self.instead_of(typed.removeprefix("--"), value):
                return f"did you mean {hint!r}? "
        near = difflib.get_close_matches(typed, self._option_string_actions, n=1, cutoff=0.8)
        return f"did you mean {near[0]!r}? " if near else ""

    # argparse declares three overloads; commands use this one.
    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> argparse.Namespace:
        """Read the arguments; start the debug log for `-v` or `ANLP_DEBUG=1`."""
        parsed: argparse.Namespace = super().parse_args(args, namespace)
        debug_log.start_if_asked(os.environ)
        if parsed.verbose:
            debug_log.start()
        return parsed


def version_line() -> str:
    """Return `anlp 0.1.0`."""
    return f"anlp {__version__}"


def make_parser(module: str, summary: str, examples: str) -> CommandParser:
    """Return a parser with the options of every command and examples in its --help."""
    name = command_name(module)
    examples = examples.replace(f"python -m {module}", name)
    parser = CommandParser(
        prog=name,
        description=summary,
        epilog=f"examples:\n{examples}\n\n{EPILOG}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=version_line())
    parser.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        help="show every external command, its time and its answer (or set ANLP_DEBUG=1)",
    )
    return parser


def whole_number(least: int, most: int = 1_000_000) -> Callable[[str], int]:
    """Return a function that reads an argument which is a whole number within bounds."""

    def parse(text: str) -> int:
        is_number = text.isdecimal() and len(text) <= len(str(most))
        if not is_number or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(
                f"expected a whole number from {least} to {most:,}, got {text!r:.60}"
            )
        return int(text)

    return parse


def add_grid(parser: argparse.ArgumentParser) -> None:
    """Add the argument `grid`: a name, a YAML file or a folder."""
    parser.add_argument("grid", help=GRID_HELP)


def add_filter(parser: argparse._ActionsContainer, what: str = "runs") -> None:
    """Add `--only FILTER`; its value is the filter's text, empty where it is not given."""
    parser.add_argument(
        "--only",
        default="",
        metavar="FILTER",
        help=f"only {what} that match, such as 'lr<0.1 model=cnn' or 'state=failed'",
    )


def add_json(parser: argparse._ActionsContainer, what: str = "what is shown") -> None:
    """Add `--json`."""
    parser.add_argument("--json", action="store_true", help=f"print {what} as JSON")


def add_yes(parser: argparse._ActionsContainer) -> None:
    """Add `-y`, `--yes`."""
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")


def add_dry_run(parser: argparse._ActionsContainer, what: str) -> None:
    """Add `-n`, `--dry-run`."""
    parser.add_argument("-n", "--dry-run", action="store_true", help=what)


def add_out(parser: argparse._ActionsContainer, what: str, metavar: str = "FILE") -> None:
    """Add `-o`, `--out`; the older `--output` still works, without a line in the help."""
    parser.add_argument("-o", "--out", type=Path, metavar=metavar, help=what)
    parser.add_argument(
        "--output", dest="out", type=Path, default=argparse.SUPPRESS, help=argparse.SUPPRESS
    )


def run_command(main: Callable[[], int], *, outlives_reader: bool = False) -> int:
    """Run a command and return its exit code.

    A `UserError` is printed as its sentences (exit code 2); Ctrl-C is exit code 130. A file that
    cannot be read or written is one sentence, too, the command's own output included.

    Args:
        main: the command.
        outlives_reader: whether the command must go on when `... | head` stops reading its output;
            one that only shows something ends then, without a message.
    """
    gc.freeze()  # imported modules stay: collecting them again costs a tenth at 10,000 runs
    stdio.open_closed()
    stdio.write_anything()
    if outlives_reader:
        stdio.outlive_reader()
    forget_damage()
    try:
        return _flushed(main)
    except UserError as error:
        print(error, file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        if not stdio.drop_unread():
            raise
        return EXIT_OK
    except OSError as error:
        if error.filename is None and error.errno != errno.ENOSPC:
            raise
        print(
            f"{error.filename or 'output'}: {error.strerror}; {advise(error)}",
            file=sys.stderr,
        )
        return EXIT_USAGE
    finally:
        if left_out := render_damage():
            print(left_out, file=sys.stderr)
        stdio.drop_unread()  # before Python itself tries to write it, and complains


def _flushed(main: Callable[[], int]) -> int:
    """Return the exit code of `main`, after its output was written.

    Python itself writes it at exit, which is too late for an error message.
    """
    try:
        code = main()
    except SystemExit:  # of --help
        sys.stdout.flush()
        raise
    sys.stdout.flush()
    return code
