"""What the commands of `jobs` share: where grids are, how a grid or a run is named, how a question is asked."""

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


def add_fresh(parser: argparse.ArgumentParser) -> None:
    """The flag of commands that look at a grid and change nothing."""
    parser.add_argument(
        "--fresh",
        action="store_true",
        help="ask the scheduler now, though it was asked a moment ago",
    )
