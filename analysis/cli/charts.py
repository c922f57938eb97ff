"""Write a chart: the options that say where and in which formats, for every command that draws."""

from __future__ import annotations

import argparse
from pathlib import Path

from analysis.cli.arguments import default_path, say_notes
from analysis.cli.output import add_out
from analysis.data.load import Runs
from analysis.plots.chart import Chart, save_chart
from analysis.plots.style import FORMATS
from anlp.core.errors import UserError


def add_output(parser: argparse.ArgumentParser) -> None:
    """Add `--format` and `-o`, `--out`."""
    parser.add_argument(
        "--format",
        default="",
        metavar="F[,F]",
        help=f"of {', '.join(FORMATS)}; default: by the ending of --out, else png",
    )
    add_out(parser, "default: a file in the grid's folder", old="--output")


def write_chart(chart: Chart, options: argparse.Namespace, loaded: Runs, name: str) -> None:
    """Write the chart in every format asked for, its table beside it, and print their paths.

    Raises:
        UserError: a format is unknown or a file cannot be written.
    """
    say_notes(chart.notes)
    for path in picture_paths(options, loaded, name):
        table = save_chart(chart, path)
        print(path, table, sep="\n")


def picture_paths(options: argparse.Namespace, loaded: Runs, name: str) -> list[Path]:
    """Return a path per format.

    Raises:
        UserError: a format is unknown.
    """
    out: Path | None = options.out
    if not options.format:
        return [out or default_path(loaded, f"{name}.png")]
    forms = parse_formats(options.format, FORMATS, "--format")
    paths = []
    for form in dict.fromkeys(forms):
        if out is None:
            paths.append(default_path(loaded, f"{name}.{form}"))
        else:
            paths.append(out.with_suffix(f".{form}"))
    return paths


def parse_formats(text: str, known: tuple[str, ...], option: str) -> list[str]:
    """Read names of formats with commas between them.

    Raises:
        UserError: one of them is unknown.
    """
    forms = [form.strip().lower() for form in text.split(",")]
    unknown = [form for form in forms if form not in known]
    if unknown:
        raise UserError(f"{option}: expected one of {', '.join(known)}, got {unknown[0]!r}")
    return forms
