"""`python -m analysis.tables GRID`: mean ± interval per configuration, the best marked, baselines below."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from analysis.cli.arguments import add_grid, say_notes, select_runs
from analysis.data.load import load
from analysis.results.plan import Plan
from analysis.results.render import RENDERERS, WIDTH, render_text
from analysis.results.table import Table, build_table, chosen_metrics
from anlp.core.errors import UserError, run_command
from anlp.core.files import write_whole

FORMAT_OF_SUFFIX = {
    ".txt": "text",
    ".md": "md",
    ".csv": "csv",
    ".tex": "latex",
    ".html": "html",
    ".json": "json",
}


def cli() -> int:
    """The command with its exit code; wants `sys.argv`."""
    return run_command(lambda: main(sys.argv[1:]))


def main(argv: Sequence[str]) -> int:
    """Prints or writes the table of a grid.

    Raises:
        UserError: there is no such grid, no finished run, or a name is unknown.
    """
    options = _parser().parse_args(argv)
    loaded = load(options.grid, history=False)
    say_notes(loaded.notes)
    runs = select_runs(loaded.runs, options.only)
    table = build_table(
        runs, _plan(options, *chosen_metrics(runs, options.select, options.report)), loaded.grid
    )
    text = _render(table, _format(options))
    if options.output is None:
        sys.stdout.write(text)
    else:
        _write(options.output, text)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m analysis.tables", description=__doc__)
    add_grid(parser)
    parser.add_argument(
        "--select",
        default="",
        metavar="METRIC",
        help="ranks configurations (val/acc; else what runs monitor)",
    )
    parser.add_argument(
        "--report",
        default="",
        metavar="METRIC",
        help="what the table shows (test/acc; else --select on the test set)",
    )
    parser.add_argument(
        "--top", type=_positive, metavar="K", help="only the K best (with --per: of each level)"
    )
    parser.add_argument(
        "--per", "--best-per", metavar="SETTING", help="the best of each level of a setting"
    )
    parser.add_argument(
        "--worst", action="store_true", help="with --top or --per: the worst of all, too"
    )
    parser.add_argument(
        "--by", metavar="SETTING", help="groups of rows, each with its own best and tied ones"
    )
    parser.add_argument(
        "--pivot",
        nargs=2,
        metavar=("DOWN", "ACROSS"),
        help="two settings, e.g. lr optimizer; a cell shows its best",
    )
    parser.add_argument("--only", default="", metavar="FILTER", help="e.g. 'model=cnn lr<=0.01'")
    parser.add_argument(
        "--sort", default="", metavar="NAMES", help="settings or metrics, apart by commas"
    )
    parser.add_argument(
        "--ci",
        "--interval",
        dest="interval",
        choices=("t", "z", "bootstrap-t"),
        default="t",
        help="Student t, z as older tables have it, or bootstrap-t for rows of 20 seeds and more (%(default)s)",
    )
    parser.add_argument(
        "--tied",
        choices=("welch", "moderated", "pooled", "none"),
        default="welch",
        help="tests of the daggers: which rows cannot be told from the best (%(default)s)",
    )
    parser.add_argument("--level", type=_level, default=0.95, help="nominal coverage (%(default)s)")
    parser.add_argument(
        "--format", choices=tuple(RENDERERS), help="default: text on a terminal, md otherwise"
    )
    parser.add_argument(
        "--json",
        action="store_const",
        const="json",
        dest="format",
        help="the same as --format json",
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="the suffix decides the format"
    )
    return parser


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
        only=options.only,
    )


def _format(options: argparse.Namespace) -> str:
    if options.format:
        return str(options.format)
    if options.output is not None:
        return FORMAT_OF_SUFFIX.get(options.output.suffix, "md")
    return "text" if sys.stdout.isatty() else "md"


def _render(table: Table, form: str) -> str:
    if form == "text":
        is_terminal = sys.stdout.isatty()
        columns = shutil.get_terminal_size().columns if is_terminal else WIDTH
        return render_text(table, bold=is_terminal, width=min(columns, WIDTH))
    return RENDERERS[form](table)


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text.encode())
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from error
    print(f"wrote {path}", file=sys.stderr)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a number of at least 1, got {text}")
    return number


def _level(text: str) -> float:
    level = float(text)
    if not 0 < level < 1:
        raise argparse.ArgumentTypeError(
            f"expected a level between 0 and 1 such as 0.95, got {text}"
        )
    return level


if __name__ == "__main__":
    sys.exit(cli())
