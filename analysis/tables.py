"""Print the results table of a grid: `python -m analysis.tables GRID`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from analysis.cli.arguments import add_grid, add_margin, say_notes, select_runs, share
from analysis.cli.output import add_format, chosen_format, write_or_print
from analysis.data.load import load, why_no_runs
from analysis.results.margin import margin_in
from analysis.results.plan import Plan
from analysis.results.render import RENDERERS, WIDTH, render_text
from analysis.results.table import Table, build_table, chosen_metrics
from anlp.console.command import add_filter, make_parser, run_command, whole_number
from anlp.console.stdio import can_redraw, terminal_width
from anlp.core.errors import EXIT_OK, UserError

SUFFIXES = {
    "text": ".txt",
    "md": ".md",
    "csv": ".csv",
    "latex": ".tex",
    "html": ".html",
    "json": ".json",
}
EXAMPLES = """\
  python -m analysis.tables mnist                     all configurations, the best first
  python -m analysis.tables mnist --top 3 --per model
  python -m analysis.tables mnist --only 'model=cnn lr<=0.01' --by optimizer
  python -m analysis.tables mnist --pivot lr optimizer
  python -m analysis.tables mnist -o paper/table.tex
  python -m analysis.tables mnist --json"""


def make_arguments() -> argparse.ArgumentParser:
    """Make the parser of tables."""
    parser = make_parser(
        "analysis.tables",
        "Print mean ± interval per configuration, the best marked, baselines below.",
        EXAMPLES,
    )
    add_grid(parser)
    _add_rows(parser)
    _add_methods(parser)
    add_format(parser, SUFFIXES, "text on a terminal, md otherwise", "json")
    return parser


def _add_rows(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose metrics, rows and their order."""
    group = parser.add_argument_group("metrics and rows")
    group.add_argument(
        "--select",
        default="",
        metavar="METRIC",
        help="ranks configurations (default: what the runs monitor, else val/acc)",
    )
    group.add_argument(
        "--report",
        default="",
        metavar="METRIC",
        help="what the table shows (default: test/acc, else --select on the test set)",
    )
    group.add_argument(
        "--top",
        type=whole_number(1),
        metavar="K",
        help="only the K best (with --per: of each level)",
    )
    group.add_argument(
        "--per", "--best-per", metavar="SETTING", help="the best of each level of a setting"
    )
    group.add_argument(
        "--worst", action="store_true", help="with --top or --per: also the worst of all"
    )
    group.add_argument(
        "--by", metavar="SETTING", help="groups of rows, each with its own best and tied ones"
    )
    group.add_argument(
        "--pivot",
        nargs=2,
        metavar=("DOWN", "ACROSS"),
        help="two settings, such as lr optimizer; a cell shows its best",
    )
    add_filter(parser)
    group.add_argument(
        "--sort", default="", metavar="NAMES", help="settings or metrics, with commas between them"
    )


def _add_methods(parser: argparse.ArgumentParser) -> None:
    """Add the options of intervals and tests."""
    group = parser.add_argument_group("intervals and tests")
    group.add_argument(
        "--ci",
        "--interval",
        dest="interval",
        choices=("t", "z", "bootstrap-t"),
        default="t",
        help="Student t, z as in older tables, or bootstrap-t for rows of at least 20 seeds "
        "(default: %(default)s)",
    )
    group.add_argument(
        "--tied",
        choices=("welch", "moderated", "pooled", "none"),
        default="welch",
        help="tests for the daggers: rows not distinguished from the best (default: %(default)s)",
    )
    add_margin(group)
    group.add_argument(
        "--level", type=share("0.95"), default=0.95, help="nominal coverage (default: %(default)s)"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Print or write the table of a grid.

    Raises:
        UserError: there is no such grid, no finished run, or a name is unknown.
    """
    options = make_arguments().parse_args(argv)
    loaded = load(options.grid, history=False)
    say_notes(loaded.notes)
    if loaded.runs.empty:
        raise UserError(f"no runs to tabulate: {why_no_runs(loaded)}")
    runs = select_runs(loaded.runs, options.only)
    metrics = chosen_metrics(runs, options.select, options.report)
    table = build_table(runs, _plan(options, *metrics), loaded.grid)
    usual = "text" if options.out is None and sys.stdout.isatty() else "md"
    text = _render(table, chosen_format(options, SUFFIXES, usual))
    write_or_print(text, options.out)
    return EXIT_OK


def cli() -> int:
    """Run the command; return its exit code."""
    return run_command(main)


def _plan(options: argparse.Namespace, select: str, report: str) -> Plan:
    return Plan(
        select=select,
        report=report,
        top=options.top,
        per=options.per,
        worst=options.worst,
        by=options.by,
        pivot=tuple(options.pivot) if options.pivot else None,
        sort=tuple(name.strip() for name in options.sort.split(",") if name.strip()),
        method=options.interval,
        level=options.level,
        tied=options.tied,
        margin=margin_in(report, options.margin),
        only=options.only,
    )


def _render(table: Table, form: str) -> str:
    if form != "text":
        return RENDERERS[form](table)
    is_terminal = sys.stdout.isatty()
    columns = terminal_width() if is_terminal else WIDTH
    return render_text(table, bold=can_redraw(sys.stdout), width=min(columns, WIDTH))


if __name__ == "__main__":
    sys.exit(cli())
