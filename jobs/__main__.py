"""`python -m jobs`: lists the commands; `python -m jobs VERB …` is the same as `python -m jobs.VERB …`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module

from anlp.core.errors import EXIT_OK, UserError, did_you_mean, run_command

COMMANDS: Mapping[str, str] = {
    "submit": "expand a grid file and submit what is missing of it",
    "status": "how many runs are in which state, failures by cause, the best so far",
    "logs": "what a run wrote, or one log of each kind of failure",
    "explain": "one run: its settings, where it is, why it waits or what ended it",
    "cancel": "stop queued and running runs",
    "retry": "submit failed and lost runs again",
    "sync": "send runs that were mirrored offline to the wandb server",
}
CHANGING = frozenset(
    {"submit", "cancel", "retry", "sync"}
)  # do not end half-way because nobody reads on


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command that the first argument names; without one, lists them.

    Raises:
        UserError: there is no such command.
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_listing())
        return EXIT_OK
    verb, *rest = arguments
    if verb not in COMMANDS:
        raise UserError(f"unknown command {verb!r}{did_you_mean(verb, COMMANDS)}")
    exit_code: int = import_module(f"jobs.{verb}").main(rest)
    return exit_code


def _listing() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  python -m jobs.{verb:<{width}}  {summary}" for verb, summary in COMMANDS.items()]
    return "\n".join(
        [
            *lines,
            "",
            "Each explains itself with --help. The results: python -m analysis.tables GRID",
        ]
    )


def cli() -> None:
    """Entry point of the command."""
    changes = not CHANGING.isdisjoint(sys.argv[1:2])
    sys.exit(run_command(main, outlives_reader=changes))


if __name__ == "__main__":
    cli()
