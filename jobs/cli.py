"""What the commands of `jobs` share: where grids are, how a grid or a run is named, how a question is asked."""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn

from anlp.errors import UserError
from anlp.record import GridFolder
from jobs.state import RunStatus

EPILOG = "Runs are in $ANLP_RUNS, or in ./runs where that is not set."


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, as for every other mistake, without the list of all options before it."""
        raise UserError(f"{message.removeprefix('argument ')} ({self.prog} --help lists the options)")


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
            raise argparse.ArgumentTypeError(f"expected a whole number from {least} to {most:,}, got {text!r:.60}")
        return int(text)

    return parse


def runs_root() -> Path:
    """The folder that holds one folder per grid."""
    return Path(os.environ.get("ANLP_RUNS") or "runs").absolute()


def data_dir() -> Path:
    """The folder with the data sets."""
    return Path(os.environ.get("ANLP_DATA") or "data").absolute()


def open_grid(text: str) -> GridFolder:
    """The folder of a grid named by its name, its YAML file or its folder.

    Raises:
        UserError: there is no such grid; the text names the nearest ones.
    """
    path = Path(text)
    name = path.stem if path.suffix in (".yaml", ".yml") else path.name  # the name itself may have dots
    folder = path if path.is_dir() and (path / "journal.jsonl").exists() else runs_root() / name
    if name not in ("", "..") and folder.is_dir():
        return GridFolder(folder.absolute())
    entries = runs_root().iterdir() if runs_root().is_dir() else ()
    known = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    near = difflib.get_close_matches(path.stem, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"submitted grids: {', '.join(known) or 'none'}"
    raise UserError(f"{text}: no such grid in {runs_root()} ({hint}); submit it first: python -m jobs.submit FILE.yaml")


def find_run(states: Mapping[str, RunStatus], prefix: str) -> RunStatus:
    """The run whose id begins with `prefix`.

    Raises:
        UserError: none does, or several do.
    """
    found = [run_id for run_id in states if run_id.startswith(prefix)]
    if len(found) == 1:
        return states[found[0]]
    if not found:
        raise UserError(f"{prefix}: no run of this grid has an id that begins so; python -m jobs.status lists them")
    raise UserError(f"{prefix}: {len(found)} runs begin so ({', '.join(found[:5])}, ...); give more digits")


def confirm(question: str, *, yes: bool) -> bool:
    """Asks on the terminal; without one only `--yes` agrees.

    Raises:
        UserError: there is nobody to ask.
    """
    if yes:
        return True
    if not sys.stdin.isatty():
        raise UserError(f"{question} Nobody to ask here: repeat the command with --yes to agree.")
    return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
