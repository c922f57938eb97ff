"""`python -m analysis.report GRID`: everything about a grid as one HTML page and as Markdown, with what to run next."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from analysis.cli.arguments import add_grid, picture_path
from analysis.data.load import load
from analysis.reporting.blocks import Document, Section, figures
from analysis.reporting.discussion import best_lines, discussion_section
from analysis.reporting.effort import effort_section
from analysis.reporting.findings import Findings, find_out
from analysis.reporting.mistakes import mistakes_section
from analysis.reporting.next_runs import Advice, advise, next_file, next_section, render_grid
from analysis.reporting.overview import curves_section, parallel_section
from analysis.reporting.provenance import provenance_section
from analysis.reporting.question import question_section
from analysis.reporting.render import FIGURES, render_html, render_markdown
from analysis.reporting.results import results_section
from analysis.reporting.settings import settings_section
from analysis.reporting.verdicts import fates_section
from analysis.web.page import component_script, component_style
from anlp.core.errors import UserError, run_command
from anlp.core.files import write_whole
from anlp.core.progress import Progress

EXAMPLES = """\
examples:
  python -m analysis.report mnist                                  runs/mnist/report/report.html, report.md, figures/
  python -m analysis.report mnist --out /tmp/mnist --report test/f1
  python -m analysis.report --from wandb://my-team/anlp/mnist"""


def cli() -> int:
    """The command with its exit code; wants `sys.argv`."""
    return run_command(lambda: main(sys.argv[1:]))


def main(argv: Sequence[str]) -> int:
    """Writes the report and prints where it is.

    Raises:
        UserError: there is no such grid, no run, or a file cannot be written.
    """
    options = _parser().parse_args(argv)
    loaded = load(options.grid)
    findings = find_out(loaded, options.grid, select=options.select, report=options.report)
    advice = advise(findings)
    grid = render_grid(advice, findings)
    document = build_document(findings, advice, grid)
    files = report_files(document, grid, findings.name)
    folder = options.out or picture_path(loaded, "report")
    for name, content in files.items():
        _write(folder / name, content)
    for name in files:
        if "/" not in name:
            print(folder / name)
    return 0


def build_document(findings: Findings, advice: Advice, grid: str) -> Document:
    """The report, section by section.

    Args:
        findings: about the grid.
        advice: what to run next.
        grid: the same as a grid file.
    """
    makers: tuple[Callable[[], Section], ...] = (
        lambda: question_section(findings.loaded),
        lambda: effort_section(findings),
        lambda: results_section(findings),
        lambda: discussion_section(findings),
        lambda: parallel_section(findings),
        lambda: settings_section(findings),
        lambda: fates_section(findings),
        lambda: curves_section(findings),
        lambda: mistakes_section(findings),
        lambda: next_section(findings, advice, grid),
        lambda: provenance_section(findings),
    )
    with Progress("writing sections", len(makers)) as progress:
        sections = tuple(progress.over(make() for make in makers))
    return Document(
        f"Report on {findings.name}",
        _lead(findings),
        sections,
        component_style(),
        component_script(),
    )


def report_files(document: Document, grid: str, name: str) -> dict[str, bytes]:
    """Every file of the report by its name in the report's folder."""
    files = {
        "report.html": render_html(document).encode(),
        "report.md": render_markdown(document).encode(),
    }
    files |= {next_file(name): grid.encode()} if grid else {}
    for figure in figures(document):
        files[f"{FIGURES}/{figure.name}.{figure.form}"] = figure.content
        files |= {f"{FIGURES}/{figure.name}.csv": figure.data} if figure.data else {}
    return files


def _lead(findings: Findings) -> str:
    """The one thing that a reader in a hurry takes away."""
    count = (
        f"{len(findings.runs):,} runs of {findings.runs['config_id'].nunique():,} configurations."
    )
    return " ".join([count, *best_lines(findings)[:1]])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m analysis.report",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_grid(parser)
    parser.add_argument(
        "--select",
        default="",
        metavar="METRIC",
        help="ranks configurations; default val/acc where there is one",
    )
    parser.add_argument(
        "--report",
        default="",
        metavar="METRIC",
        help="what is reported; default the same on the test set",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="default: report/ in the grid's folder"
    )
    return parser


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from error


if __name__ == "__main__":
    sys.exit(cli())
