"""Which settings matter."""

from __future__ import annotations

import math

from analysis.effects.explain import Importance
from analysis.effects.render import METHODS, importance_rows, interactions
from analysis.plots.heatmap import heatmap_chart
from analysis.plots.sweep import sweep_chart
from analysis.reporting.blocks import Block, Cells, Notice, Points, Section, Text, plain_sheet
from analysis.reporting.figures import draw_chart
from analysis.reporting.findings import Findings, Missing

INTERACTIONS = 5
LEAST_SHARE = 0.005


def settings_section(findings: Findings) -> Section:
    """Return the section."""
    found = findings.importance
    if isinstance(found, Missing):
        return _section(Notice(f"Importance cannot be told: {found.reason}."), *_charts(findings))
    rows = importance_rows(found)
    heads = tuple(rows[0])
    lines = [tuple(_cell(name, row.get(name)) for name in heads) for row in rows]
    numbers = frozenset(range(1, len(heads)))
    blocks: list[Block] = [
        Text(_method(found)),
        Cells(plain_sheet(heads, lines, numbers), _legend(heads)),
    ]
    joint = [
        f"{' × '.join(names)}: {100 * share:.1f} %"
        for names, share in interactions(found)[:INTERACTIONS]
        if share >= LEAST_SHARE
    ]
    blocks += (
        [Text("Interactions, beyond what each setting explains alone:"), Points(tuple(joint))]
        if joint
        else []
    )
    notes = tuple(
        f"{note[:1].upper()}{note[1:]}." for note in (*found.design.best_at_edge, *found.notes)
    )
    blocks += [Points(notes)] if notes else []
    return _section(*blocks, *_charts(findings))


def _charts(findings: Findings) -> list[Block]:
    """Return a metric against the first number, and over two settings; empty if none varies."""
    metric = findings.select if findings.select in findings.runs else ""
    loaded, known = findings.loaded, findings.breakdown
    judged = None if isinstance(known, Missing) else known.judged.runs
    made = (
        draw_chart("sweep", lambda: sweep_chart(loaded, metric=metric)),
        draw_chart("heatmap", lambda: heatmap_chart(loaded, metric=metric, judged=judged)),
    )
    return [figure for figure in made if figure is not None]


def _method(found: Importance) -> str:
    design = found.design
    method = METHODS[found.method]
    sentence = (
        f"Shares of the variance of {design.metric} over {len(design.means):,} configurations"
    )
    sentence += f" ({int(design.counts.sum()):,} runs), by {method}."
    if found.decomposition is not None and not math.isnan(found.decomposition.seed_variance):
        seeds = 100 * found.decomposition.seed_share
        sentence += f" Seeds make {seeds:.1f} % of all variance; the shares are of the rest."
    return sentence


def _legend(heads: tuple[str, ...]) -> str:
    known = {
        "first": "first: what the setting explains alone",
        "total": "total: with every interaction in which it takes part",
        "Shapley": "Shapley: interactions split evenly, 100 % together",
        "permutation": "permutation: of a random forest on held-out configurations",
        "forest (wandb)": "forest and Pearson: what wandb shows, for comparison",
    }
    return "; ".join(text for name, text in known.items() if name in heads) + "."


def _cell(name: str, value: object) -> str:
    if name in ("setting", "levels"):
        return str(value)
    if not isinstance(value, float) or math.isnan(value):
        return "–"
    return f"{value:+.2f}" if name.startswith("Pearson") else f"{100 * value:.1f} %"


def _section(*blocks: Block) -> Section:
    return Section("settings", "Which settings matter", blocks)
