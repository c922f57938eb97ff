"""`python -m jobs` lists the commands; with a VERB it is `python -m jobs.VERB`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from anlp.console.command import run_command
from anlp.console.verbs import changes_something, dispatch


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that the first argument names; without one, list the commands.

    Raises:
        UserError: there is no such command.
    """
    return dispatch("jobs", argv)


def cli() -> int:
    """Return the exit code of the command."""
    return run_command(main, outlives_reader=changes_something(sys.argv[1:]))


if __name__ == "__main__":
    sys.exit(cli())
