"""`python -m analysis` lists the commands; with a VERB it is `python -m analysis.VERB`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from anlp.console.command import run_command
from anlp.console.verbs import dispatch


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that the first argument names; without one, list the commands.

    Raises:
        UserError: there is no such command.
    """
    return dispatch("analysis", argv)


def cli() -> int:
    """Return the exit code of the command."""
    return run_command(main)


if __name__ == "__main__":
    sys.exit(cli())
