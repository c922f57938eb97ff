"""Draw one chart of a grid's runs: `python -m analysis.plot KIND GRID`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis.cli.arguments import add_grid, default_path, say_notes, select_loaded
from analysis.cli.charts import parse_formats
from analysis.cli.output import add_out
from analysis.data.load import Runs, load, why_no_runs
from analysis.plots.catalogue import KINDS, Kind
from analysis.plots.chart import save_chart
from analysis.plots.style import FORMATS
from analysis.text.frames import TEXT_SUFFIXES, render_frame
from analysis.text.output import write_file
from anlp.console.command import add_filter, make_parser, run_command
from anlp.console.verbs import command_name
from anlp.core.errors import EXIT_OK, UserError

OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "metric": {"metavar": "METRIC", "default": "", "help": "what is drawn, such as test/acc"},
    "x": {"metavar": "SETTING", "default": "", "help": "the setting across"},
    "y": {"metavar": "SETTING", "default": "", "help": "the setting upwards"},
    "by": {"metavar": "SETTING", "default": "", "help": "makes a group of each of its values"},
    "top": {"metavar": "N", "type": int, "default": 0, "help": "only the N best"},
    "value": {
        "choices": ("best", "median"),
        "help": "of the runs behind one point: the best configuration, or all",
    },
    "against": {
        "choices": ("configurations", "runs", "hours"),
        "default": "configurations",
        "help": "the budget",
    },
    "style": {
        "choices": ("box", "violin", "points"),
        "help": "how it is drawn (default: by the number of runs)",
    },
    "show": {
        "choices": ("wrong", "right", "hard", "disagree"),
        "default": "wrong",
        "help": "which samples",
    },
}
KNOWN_FORMATS = (*FORMATS, *TEXT_SUFFIXES)


def make_arguments() -> argparse.ArgumentParser:
    """Make the parser of plot, with a parser for each kind of chart."""
    typed = command_name("analysis.plot")
    examples = [f"  {typed} {name} {kind.example}" for name, kind in KINDS.items()]
    examples.append(f"\n{typed} KIND --help lists the options of a kind.")
    parser = make_parser(
        "analysis.plot",
        "Draw one chart of a grid's runs and write the table behind it.",
        "\n".join(examples),
    )
    kinds = parser.add_subparsers(dest="kind", metavar="KIND", required=True)
    for name, kind in KINDS.items():
        of_kind = kinds.add_parser(
            name,
            help=kind.summary,
            description=f"{kind.summary[0].upper()}{kind.summary[1:]}.",
            epilog=f"example:\n  {parser.prog} {name} {kind.example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        _add_options(of_kind, kind)
    return parser


def _add_options(parser: argparse.ArgumentParser, kind: Kind) -> None:
    add_grid(parser)
    for name in kind.options:
        parser.add_argument(f"--{name}", **OPTIONS[name])
    add_filter(parser)
    usual = "text" if kind.is_text else "png"
    parser.add_argument(
        "--format",
        default="",
        metavar="F[,F]",
        help=f"of {', '.join(KNOWN_FORMATS)} (default: by the ending of --out, else {usual})",
    )
    add_out(parser, "default: a file in the grid's folder; tables: the screen", old="--output")


def main(argv: Sequence[str] | None = None) -> int:
    """Write the chart with its table and print where they are.

    Raises:
        UserError: the grid lacks what the chart needs, a name is unknown, or a file cannot be
            written.
    """
    options = make_arguments().parse_args(argv)
    kind = KINDS[options.kind]
    loaded = load(options.grid, history=kind.needs_history)
    say_notes(loaded.notes)
    if loaded.runs.empty:
        raise UserError(f"{loaded.grid}: no runs to draw: {why_no_runs(loaded)}")
    loaded = select_loaded(loaded, options.only)
    given = {name: getattr(options, name) for name in kind.options}
    chart = kind.build(loaded, **{name: value for name, value in given.items() if value})
    say_notes(chart.notes)
    for form in _formats(options, kind):
        path = _path(options, loaded, form)
        if form in FORMATS:
            table = save_chart(chart, path)
            print(path, table, sep="\n")
        elif options.out:
            write_file(path, render_frame(chart.table, form).encode())
            print(path)
        else:
            sys.stdout.write(render_frame(chart.table, form))
    return EXIT_OK


def cli() -> int:
    """Run the command; return its exit code."""
    return run_command(main)


def _formats(options: argparse.Namespace, kind: Kind) -> list[str]:
    """Return the formats by name, by the ending of the file, or what the kind usually is."""
    if options.format:
        return parse_formats(options.format, KNOWN_FORMATS, "--format")
    ending = options.out.suffix.lstrip(".").lower() if options.out else ""
    if not ending:
        return ["text" if kind.is_text else "png"]
    by_suffix = {suffix: form for form, suffix in TEXT_SUFFIXES.items()}
    return parse_formats(by_suffix.get(ending, ending), KNOWN_FORMATS, f"--out {options.out}")


def _path(options: argparse.Namespace, loaded: Runs, form: str) -> Path:
    suffix = f".{TEXT_SUFFIXES.get(form, form)}"
    if options.out is None:
        return default_path(loaded, options.kind + suffix)
    path: Path = options.out
    return path if path.suffix == suffix else path.with_suffix(suffix)


if __name__ == "__main__":
    sys.exit(cli())
