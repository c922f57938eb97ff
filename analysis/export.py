"""`python -m analysis.export GRID`: the tidy tables of a grid, runs and epochs, as Parquet or CSV."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path

import pandas as pd

from analysis.cli.arguments import add_grid, say_notes, select_runs
from analysis.data.load import load
from anlp.core.errors import UserError, run_command
from anlp.core.files import write_whole

EXAMPLES = """\
examples:
  python -m analysis.export mnist --parquet tables           tables/runs.parquet, tables/history.parquet
  python -m analysis.export mnist --csv runs.csv             the runs alone
  python -m analysis.export mnist --csv curves.csv --table history --only 'model=cnn'

The columns are listed in docs/notebook.md."""


def cli() -> int:
    """The command with its exit code; wants `sys.argv`."""
    return run_command(lambda: main(sys.argv[1:]))


def main(argv: Sequence[str]) -> int:
    """Writes the tables and prints where they are.

    Raises:
        UserError: there is no such grid, or a file cannot be written.
    """
    options = _parser().parse_args(argv)
    form, target = ("parquet", options.parquet) if options.parquet else ("csv", options.csv)
    files = _files(target, form, options.table)
    loaded = load(options.grid, history="history" in files)
    say_notes(loaded.notes)
    runs = select_runs(loaded.runs, options.only)
    tables = {
        "runs": runs,
        "history": loaded.history[loaded.history["run_id"].isin(runs["run_id"])],
    }
    for name, path in files.items():
        _write(path, RENDERERS[form](tables[name]))
        print(path)
    return 0


def _files(target: Path, form: str, table: str) -> dict[str, Path]:
    """Which table goes where: one to a file of the form's suffix, both into a folder."""
    if target.suffix == f".{form}":
        return {table or "runs": target}
    if target.suffix in (".parquet", ".csv"):
        raise UserError(f"--{form} {target}: expected a file that ends in .{form}, or a folder")
    names = [table] if table else ["runs", "history"]
    return {name: target / f"{name}.{form}" for name in names}


def _render_parquet(table: pd.DataFrame) -> bytes:
    mixed = [
        name
        for name in table.columns
        if pd.api.types.infer_dtype(table[name], skipna=True).startswith("mixed")
    ]
    sink = BytesIO()
    table.astype(dict.fromkeys(mixed, str)).to_parquet(
        sink, index=False
    )  # a column of Parquet has one type
    return sink.getvalue()


def _render_csv(table: pd.DataFrame) -> bytes:
    """Numbers in their shortest form that reads back equal; what is missing is empty."""
    return table.to_csv(index=False, lineterminator="\n").encode()


RENDERERS: Mapping[str, Callable[[pd.DataFrame], bytes]] = {
    "parquet": _render_parquet,
    "csv": _render_csv,
}


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m analysis.export",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_grid(parser)
    form = parser.add_mutually_exclusive_group(required=True)
    form.add_argument(
        "--parquet",
        type=Path,
        metavar="PATH",
        help="a folder for both tables, or FILE.parquet for one",
    )
    form.add_argument(
        "--csv", type=Path, metavar="PATH", help="a folder for both tables, or FILE.csv for one"
    )
    parser.add_argument(
        "--table", choices=("runs", "history"), default="", help="which one (a file: runs)"
    )
    parser.add_argument("--only", default="", metavar="FILTER", help="e.g. 'model=cnn lr<=0.01'")
    return parser


if __name__ == "__main__":
    sys.exit(cli())
