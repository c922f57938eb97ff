"""The edge of every command: its parser, the options that commands share, and its exit code.

A command module has `make_arguments() -> ArgumentParser`, `main(argv=None) -> int` and `cli() -> int`, which calls
`run_command` and is the entry point of `python -m` and of the console script.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import NoReturn

from anlp.core.errors import UserError

EPILOG = "Runs are in $ANLP_RUNS, or in ./runs where that is not set."


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, as for every other mistake, without the list of all options before it."""
        raise UserError(
            f"{message.removeprefix('argument ')} ({self.prog} --help lists the options)"
        )


def make_parser(module: str, summary: str, examples: str) -> argparse.ArgumentParser:
    """A parser whose --help ends with examples to copy."""
    return _Parser(
        prog=f"python -m {module}",
        description=summary,
        epilog=f"examples:\n{examples}\n\n{EPILOG}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def whole_number(least: int, most: int = 1_000_000) -> Callable[[str], int]:
    """Reads an argument of the command line that is a whole number within bounds."""

    def parse(text: str) -> int:
        is_number = text.isdecimal() and len(text) <= len(str(most))
        if not is_number or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(
                f"expected a whole number from {least} to {most:,}, got {text!r:.60}"
            )
        return int(text)

    return parse


def add_filter(parser: argparse.ArgumentParser, what: str = "runs") -> None:
    """Add `--only FILTER`; its value is the filter's text, empty where it is not given."""
    parser.add_argument(
        "--only",
        default="",
        metavar="FILTER",
        help=f"only {what} that match, such as 'lr<0.1 model=cnn' or 'state=failed'",
    )


def add_json(parser: argparse.ArgumentParser, what: str = "what is shown") -> None:
    """Add `--json`."""
    parser.add_argument("--json", action="store_true", help=f"print {what} as JSON")


def add_yes(parser: argparse.ArgumentParser) -> None:
    """Add `-y`, `--yes`."""
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")
