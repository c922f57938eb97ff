"""Write the tables of a grid, runs and epochs: `python -m analysis.export GRID -o FOLDER`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path

import pandas as pd

from analysis.cli.arguments import add_grid, say_notes, select_runs
from analysis.cli.output import add_out
from analysis.data.load import load
from analysis.text.output import write_file
from anlp.console.command import add_filter, make_parser, run_command
from anlp.core.errors import EXIT_OK, UserError

EXAMPLES = """\
  python -m analysis.export mnist -o tables       tables/runs.parquet and tables/history.parquet
  python -m analysis.export mnist -o tables --format csv
  python -m analysis.export mnist -o runs.csv     the runs alone
  python -m analysis.export mnist -o curves.csv --table history --only 'model=cnn'

docs/notebook.md lists the columns."""


def make_arguments() -> argparse.ArgumentParser:
    """Make the parser of export."""
    parser = make_parser(
        "analysis.export",
        "Write the tidy tables of a grid, runs and epochs, as Parquet or CSV.",
        EXAMPLES,
    )
    add_grid(parser)
    add_filter(parser)
    add_out(parser, "a folder for both tables, or FILE.parquet or FILE.csv for one", metavar="PATH")
    parser.add_argument(
        "--format",
        choices=tuple(RENDERERS),
        help="of the files in a folder (default: parquet)",
    )
    parser.add_argument(
        "--table", choices=("runs", "history"), default="", help="which one (a file: runs)"
    )
    for form in RENDERERS:  # --parquet PATH is short for --format parquet -o PATH
        parser.add_argument(f"--{form}", type=Path, metavar="PATH", help=argparse.SUPPRESS)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Write the tables and print where they are.

    Raises:
        UserError: there is no such grid, or a file cannot be written.
    """
    options = make_arguments().parse_args(argv)
    form, target = _target(options)
    files = _files(target, form, options.table)
    loaded = load(options.grid, history="history" in files)
    say_notes(loaded.notes)
    runs = select_runs(loaded.runs, options.only)
    tables = {
        "runs": runs,
        "history": loaded.history[loaded.history["run_id"].isin(runs["run_id"])],
    }
    for name, path in files.items():
        write_file(path, RENDERERS[form](tables[name]))
        print(path)
    return EXIT_OK


def cli() -> int:
    """Run the command; return its exit code."""
    return run_command(main)


def _target(options: argparse.Namespace) -> tuple[str, Path]:
    """Return the format and where the tables go."""
    asked = [(form, getattr(options, form)) for form in RENDERERS if getattr(options, form)]
    if options.out is not None:
        suffix = options.out.suffix.removeprefix(".")
        of_file = suffix if suffix in RENDERERS else "parquet"
        asked.append((options.format or of_file, options.out))
    if len(asked) != 1:
        raise UserError("say once where the tables go: -o FOLDER, -o FILE.parquet or -o FILE.csv")
    return asked[0]


def _files(target: Path, form: str, table: str) -> dict[str, Path]:
    """Return the path of each table: one to a file of the form's suffix, both into a folder."""
    if target.suffix == f".{form}":
        return {table or "runs": target}
    if target.suffix in (".parquet", ".csv"):
        raise UserError(f"{target}: expected a file that ends in .{form}, or a folder")
    names = [table] if table else ["runs", "history"]
    return {name: target / f"{name}.{form}" for name in names}


def _render_parquet(table: pd.DataFrame) -> bytes:
    """Render as Parquet; columns of several types become text, since a column there has one."""
    types = {name: pd.api.types.infer_dtype(table[name], skipna=True) for name in table.columns}
    mixed = [name for name, kind in types.items() if kind.startswith("mixed")]
    sink = BytesIO()
    table.astype(dict.fromkeys(mixed, str)).to_parquet(sink, index=False)
    return sink.getvalue()


def _render_csv(table: pd.DataFrame) -> bytes:
    """Render numbers in their shortest form that reads back equal; what is missing is empty."""
    return table.to_csv(index=False, lineterminator="\n").encode()


RENDERERS: Mapping[str, Callable[[pd.DataFrame], bytes]] = {
    "parquet": _render_parquet,
    "csv": _render_csv,
}


if __name__ == "__main__":
    sys.exit(cli())
