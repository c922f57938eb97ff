"""Where charts go: the options that say so, shared by every command that draws."""

from __future__ import annotations

import argparse
from pathlib import Path

from analysis.cli.arguments import picture_path, say_notes
from analysis.data.load import Runs
from analysis.plots.chart import Chart, save_chart
from analysis.plots.style import FORMATS
from anlp.core.errors import UserError


def add_output(parser: argparse.ArgumentParser) -> None:
    """`--format` and `--out`."""
    parser.add_argument(
        "--format",
        default="",
        metavar="F[,F]",
        help=f"of {', '.join(FORMATS)}; default as --out ends, else png",
    )
    parser.add_argument(
        "-o",
        "--out",
        "--output",
        dest="out",
        type=Path,
        metavar="FILE",
        help="default: in the grid's folder",
    )


def write_chart(chart: Chart, options: argparse.Namespace, loaded: Runs, name: str) -> None:
    """Writes the chart in every format asked for, its table beside it, and prints where they are.

    Raises:
        UserError: a format is unknown or a file cannot be written.
    """
    say_notes(chart.notes)
    for path in picture_paths(options, loaded, name):
        table = save_chart(chart, path)
        print(path, table, sep="\n")


def picture_paths(options: argparse.Namespace, loaded: Runs, name: str) -> list[Path]:
    """A path per format.

    Raises:
        UserError: a format is unknown.
    """
    out: Path | None = options.out
    if not options.format:
        return [out or picture_path(loaded, f"{name}.png")]
    forms = [form.strip().lower() for form in options.format.split(",")]
    if wrong := [form for form in forms if form not in FORMATS]:
        raise UserError(f"--format: expected one of {', '.join(FORMATS)}, got {wrong[0]!r}")
    return [
        (out.with_suffix(f".{form}") if out else picture_path(loaded, f"{name}.{form}"))
        for form in dict.fromkeys(forms)
    ]
