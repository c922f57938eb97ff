"""Write everything about a grid as HTML and Markdown: `python -m analysis.report GRID`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from analysis.cli.arguments import add_grid, add_margin, default_path, select_loaded
from analysis.cli.output import add_out
from analysis.data.load import load
from analysis.reporting.blocks import Document, Section, figures
from analysis.reporting.discussion import best_lines, discussion_section
from analysis.reporting.effort import effort_section
from analysis.reporting.findings import Findings, LeftOut, find_out
from analysis.reporting.mistakes import mistakes_section
from analysis.reporting.next_runs import Advice, advise, next_file, next_section, render_grid
from analysis.reporting.overview import curves_section, parallel_section
from analysis.reporting.provenance import provenance_section
from analysis.reporting.question import question_section
from analysis.reporting.render import FIGURES, render_html, render_markdown
from analysis.reporting.results import results_section
from analysis.reporting.settings import settings_section
from analysis.reporting.verdicts import fates_section
from analysis.text.output import write_file
from analysis.web.page import component_script, component_style
from anlp.console.command import add_filter, make_parser, run_command
from anlp.console.progress import Progress
from anlp.core.errors import EXIT_OK

EXAMPLES = """\
  python -m analysis.report mnist              runs/mnist/report/: report.html, report.md, figures/
  python -m analysis.report mnist -o /tmp/mnist --report test/f1
  python -m analysis.report mnist -o adam --only 'optimizer=adam lr<0.1'
  python -m analysis.report --from wandb://my-team/anlp/mnist"""


def make_arguments() -> argparse.ArgumentParser:
    """Make the parser of report."""
    parser = make_parser(
        "analysis.report",
        "Write everything about a grid as one HTML page and as Markdown, with what to run next.",
        EXAMPLES,
    )
    add_grid(parser)
    parser.add_argument(
        "--select",
        default="",
        metavar="METRIC",
        help="ranks configurations (default: what the runs monitor, else val/acc)",
    )
    parser.add_argument(
        "--report",
        default="",
        metavar="METRIC",
        help="what is reported (default: test/acc, else --select on the test set)",
    )
    add_margin(parser)
    add_filter(parser)
    add_out(parser, "default: report/ in the grid's folder", metavar="DIR", old="--output")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Write the report and print where it is.

    Raises:
        UserError: there is no such grid, no run, or a file cannot be written.
    """
    options = make_arguments().parse_args(argv)
    loaded = load(options.grid)
    chosen = select_loaded(loaded, options.only)
    findings = find_out(
        chosen,
        options.grid,
        select=options.select,
        report=options.report,
        margin=options.margin,
        left_out=LeftOut(options.only.strip(), len(loaded.runs) - len(chosen.runs)),
    )
    advice = advise(findings)
    grid = render_grid(advice, findings)
    document = build_document(findings, advice, grid)
    files = report_files(document, grid, findings.name)
    folder = options.out or default_path(loaded, "report")
    for name, content in files.items():
        write_file(folder / name, content)
    for name in files:
        if "/" not in name:
            print(folder / name)
    return EXIT_OK


def cli() -> int:
    """Run the command; return its exit code."""
    return run_command(main)


def build_document(findings: Findings, advice: Advice, grid: str) -> Document:
    """Write the report, section by section.

    Args:
        findings: about the grid.
        advice: what to run next.
        grid: the advice as a grid file.
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
    """Return every file of the report by its name in the report's folder."""
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
    """Write the size of the grid and the most important result."""
    count = (
        f"{len(findings.runs):,} runs of {findings.runs['config_id'].nunique():,} configurations."
    )
    return " ".join([count, *left_out_lines(findings), *best_lines(findings)[:1]])


def left_out_lines(findings: Findings) -> list[str]:
    """Return how many runs of the grid the filter leaves out; nothing without a filter."""
    only, n = findings.left_out.only, findings.left_out.n_runs
    if not only:
        return []
    verb = "is" if n == 1 else "are"
    total = n + len(findings.runs)
    return [f"Only runs with {only} are in this report: {n:,} of {total:,} {verb} left out."]


if __name__ == "__main__":
    sys.exit(cli())
