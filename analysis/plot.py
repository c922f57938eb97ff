"""`python -m analysis.plot KIND GRID`: one chart of a grid's runs, with the table behind it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from analysis.cli.arguments import add_grid, picture_path, say_notes, select_runs
from analysis.data.load import Runs, load
from analysis.plots.catalogue import KINDS, Kind
from analysis.plots.chart import save_chart
from analysis.plots.style import FORMATS
from analysis.text.frames import TEXT_SUFFIXES, render_frame
from anlp.core.errors import UserError, run_command

OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "metric": {"metavar": "METRIC", "default": "", "help": "what is drawn, e.g. test/acc"},
    "x": {"metavar": "SETTING", "default": "", "help": "the setting across"},
    "y": {"metavar": "SETTING", "default": "", "help": "the setting upwards"},
    "by": {"metavar": "SETTING", "default": "", "help": "makes a group of each of its values"},
    "top": {"metavar": "N", "type": int, "default": 0, "help": "so many, the best first"},
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
        "help": "how it is drawn; default by the number of runs",
    },
    "show": {
        "choices": ("wrong", "right", "hard", "disagree"),
        "default": "wrong",
        "help": "which samples",
    },
}


def cli() -> int:
    """The command with its exit code; wants `sys.argv`."""
    return run_command(lambda: main(sys.argv[1:]))


def main(argv: Sequence[str]) -> int:
    """Writes the chart with its table and prints where they are.

    Raises:
        UserError: the grid lacks what the chart needs, a name is unknown, or a file cannot be written.
    """
    options = _parser().parse_args(argv)
    kind = KINDS[options.kind]
    loaded = load(options.grid, history=kind.needs_history)
    say_notes(loaded.notes)
    if loaded.runs.empty:
        raise UserError(f"{loaded.grid}: no runs to draw: nothing of this grid has started yet")
    loaded = replace(loaded, runs=select_runs(loaded.runs, options.only))
    given = {name: getattr(options, name) for name in kind.options}
    chart = kind.build(loaded, **{name: value for name, value in given.items() if value})
    say_notes(chart.notes)
    for form in _formats(options, kind):
        path = _path(options, loaded, form)
        if form in FORMATS:
            table = save_chart(chart, path)
            print(path, table, sep="\n")
        elif options.out:
            _write(path, render_frame(chart.table, form))
            print(path)
        else:
            sys.stdout.write(render_frame(chart.table, form))
    return 0


def _parser() -> argparse.ArgumentParser:
    examples = "\n".join(
        f"  python -m analysis.plot {name} {kind.example}" for name, kind in KINDS.items()
    )
    parser = argparse.ArgumentParser(
        prog="python -m analysis.plot",
        description=__doc__,
        epilog=f"examples:\n{examples}\n\npython -m analysis.plot KIND --help lists the options of one kind.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    kinds = parser.add_subparsers(dest="kind", metavar="KIND", required=True)
    for name, kind in KINDS.items():
        example = f"example:\n  python -m analysis.plot {name} {kind.example}"
        one = kinds.add_parser(
            name,
            help=kind.summary,
            description=f"{kind.summary[0].upper()}{kind.summary[1:]}.",
            epilog=example,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        _add_options(one, kind)
    return parser


def _add_options(parser: argparse.ArgumentParser, kind: Kind) -> None:
    add_grid(parser)
    for name in kind.options:
        parser.add_argument(f"--{name}", **OPTIONS[name])
    parser.add_argument("--only", default="", metavar="FILTER", help="e.g. 'model=cnn lr<=0.01'")
    known = ", ".join((*FORMATS, *TEXT_SUFFIXES))
    usual = "text" if kind.is_text else "png"
    parser.add_argument(
        "--format", default="", metavar="F[,F]", help=f"of {known}; default {usual}"
    )
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        metavar="FILE",
        help="default: in the grid's folder; tables: screen",
    )


def _formats(options: argparse.Namespace, kind: Kind) -> list[str]:
    """What was asked for by name, by the ending of the file, or what the kind usually is."""
    suffixes = {suffix: form for form, suffix in TEXT_SUFFIXES.items()}
    ending = options.out.suffix.lstrip(".").lower() if options.out else ""
    wanted = options.format or suffixes.get(ending, ending) or ("text" if kind.is_text else "png")
    forms = [form.strip().lower() for form in wanted.split(",")]
    known = (*FORMATS, *TEXT_SUFFIXES)
    if wrong := [form for form in forms if form not in known]:
        option = "--format" if options.format else f"--out {options.out}"
        raise UserError(f"{option}: expected one of {', '.join(known)}, got {wrong[0]!r}")
    return forms


def _path(options: argparse.Namespace, loaded: Runs, form: str) -> Path:
    suffix = f".{TEXT_SUFFIXES.get(form, form)}"
    if options.out is None:
        return picture_path(loaded, options.kind + suffix)
    path: Path = options.out
    return path if path.suffix == suffix else path.with_suffix(suffix)


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from error


if __name__ == "__main__":
    sys.exit(cli())
