"""Section on results: the best configurations, what is not distinguished from them, chance."""

from __future__ import annotations

from analysis.plots.seed_variance import luck_chart
from analysis.reporting.blocks import Block, Cells, Notice, Section, Text, command
from analysis.reporting.figures import draw_chart
from analysis.reporting.findings import TOP, Findings, Missing
from analysis.results.caption import render_caption
from analysis.results.cells import make_text_table
from analysis.results.table import Table, chosen_metrics


def results_section(findings: Findings) -> Section:
    """Return the section."""
    blocks: list[Block] = []
    if isinstance(findings.per, Table):
        blocks += [
            Text(f"The best configuration of each {findings.per.plan.per}:"),
            _cells(findings.per),
        ]
    if isinstance(findings.best, Missing):
        return Section(
            "results", "Results", (Notice(f"There is no table: {findings.best.reason}."),)
        )
    shown = sum(not row.name for row in findings.best.rows)
    if findings.best.n_configurations > 1:
        blocks.append(
            Text(f"The best {shown} of {findings.best.n_configurations:,} configurations, of all:")
        )
    luck = draw_chart(
        "luck",
        lambda: luck_chart(
            findings.loaded, metric=findings.report, select=findings.select, top=TOP
        ),
    )
    blocks += [
        _cells(findings.best),
        *([luck] if luck else []),
        command("analysis.tables", findings.address, *_metrics(findings), *findings.filter_words),
    ]
    return Section("results", "Results", tuple(blocks))


def _cells(table: Table) -> Block:
    return Cells(make_text_table(table), render_caption(table))


def _metrics(findings: Findings) -> list[str]:
    """Return the options without which the command would show other metrics."""
    usual = chosen_metrics(findings.runs, "", "")
    options = (("--select", findings.select, usual[0]), ("--report", findings.report, usual[1]))
    return [word for name, metric, other in options if metric != other for word in (name, metric)]
