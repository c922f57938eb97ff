"""Section on verdicts: what goes with failure, and the convergent and divergent runs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.reporting.blocks import (
    Block,
    Cells,
    Folded,
    Notice,
    Points,
    Section,
    Text,
    command,
    plain_sheet,
)
from analysis.reporting.findings import Findings, Missing
from analysis.reporting.overview import draw_runs
from analysis.text.levels import render_level
from analysis.verdicts.breakdown import STABLE_SHARE, Breakdown, Edge, Explanation
from analysis.verdicts.facts import Label
from analysis.verdicts.judge import APART, CONVERGENT, DIVERGENT
from analysis.verdicts.render import chance_note
from analysis.verdicts.rules import MIN_EPOCHS

ROWS = 20  # runs listed in the page
MAX_LEVELS = 40  # of all settings together that are listed


def fates_section(findings: Findings) -> Section:
    """Return the section."""
    found = findings.breakdown
    if isinstance(found, Missing):
        return Section(
            "verdicts", "What became of the runs", (Notice(f"No verdicts: {found.reason}."),)
        )
    apart = found.judged.of(APART)
    blocks = [_counts(found)]
    if len(apart) < len(found.judged.runs):
        blocks += [*_shares(found), *_failures(found)]
        for title, labels in (("convergent", CONVERGENT), ("divergent", DIVERGENT)):
            blocks += _group(findings, found, found.judged.of(labels), title)
    else:
        blocks.append(Notice(_unjudged(apart)))
    if len(apart):
        blocks.append(
            Folded(
                f"{len(apart):,} runs apart: crashed, missing or too short", _listed(found, apart)
            )
        )
    blocks.append(
        command("analysis.convergence", findings.address, "--all", *findings.filter_words)
    )
    return Section("verdicts", "What became of the runs", tuple(blocks))


def _unjudged(apart: pd.DataFrame) -> str:
    short = int((apart["verdict"] == Label.TOO_SHORT.value).sum())
    why = f": a verdict takes at least {MIN_EPOCHS} epochs and enough samples" if short else ""
    return f"No run can be judged{why}. Nothing is said about convergence here."


def failure_sentence(found: Explanation) -> str:
    """Return `Configurations with lr >= 1 fail more often: 6 of 8, else 1 of 40 (odds ratio …)`."""
    odds = f"odds ratio {found.odds.ratio:.3g} [{found.odds.low:.3g}, {found.odds.high:.3g}]"
    counts = (
        f"{found.failed_with} of {found.n_with}, else {found.failed_without} of {found.n_without}"
    )
    return f"{found.unit.capitalize()} with {found.condition} fail more often: {counts} ({odds})."


def edge_sentence(edges: Sequence[Edge]) -> str:
    """Return the largest learning rates at which enough runs learned."""
    parts = [f"{edge.by} {_edge(edge)}".strip() for edge in edges]
    return (
        f"The largest lr at which {100 * STABLE_SHARE:.0f} % of the runs learned: "
        f"{', '.join(parts)}."
    )


def _edge(edge: Edge) -> str:
    if edge.value is None:
        return "none"
    return render_level(edge.value) + (" (the largest tried)" if edge.is_largest else "")


def _counts(found: Breakdown) -> Block:
    runs = found.judged.runs
    counts = Counter(runs["verdict"].tolist())
    causes = Counter(runs["cause"].tolist())
    detail = {
        "converged": ("weak", causes["weak"]),
        "overfit": ("overconfident", causes["overconfident"]),
    }
    lines = []
    for label in Label:
        if counts[label.value]:
            word, of_them = detail.get(label.value, ("", 0))
            share = f"{100 * counts[label.value] / len(runs):.1f} %"
            lines.append(
                (
                    label.value,
                    f"{counts[label.value]:,}",
                    share,
                    f"{of_them:,} of them {word}" if of_them else "",
                )
            )
    caption = f"Each of the {len(runs):,} runs judged by {found.judged.metric} over its epochs."
    if note := chance_note(found.judged):
        caption = f"{caption} {note}."
    return Cells(plain_sheet(("verdict", "runs", "share", ""), lines, frozenset({1, 2})), caption)


def _shares(found: Breakdown) -> list[Block]:
    present = set(found.judged.runs["verdict"])
    labels = [label.value for label in Label if label.value in present]
    lines = [
        (
            share.setting,
            share.level,
            f"{share.n:,}",
            *(_share(share.counts.get(label, 0), share.n) for label in labels),
        )
        for share in found.shares[:MAX_LEVELS]
    ]
    if not lines:
        return []
    numbers = frozenset(range(2, 3 + len(labels)))
    more = len(found.shares) - len(lines)
    caption = "Share of the runs at each value that had each verdict."
    caption += f" {more} more values are left out." if more else ""
    return [Cells(plain_sheet(("setting", "value", "runs", *labels), lines, numbers), caption)]


def _share(count: int, total: int) -> str:
    return f"{100 * count / total:.0f} %" if count else "·"


def _failures(found: Breakdown) -> list[Block]:
    failures = len(found.judged.of(DIVERGENT))
    if not found.explanations:
        text = (
            "No setting, and no pair of two, goes with failure more than chance would have it."
            if failures
            else "No run failed to learn."
        )
        return [
            Text(text),
            *([Text(edge_sentence(found.edges))] if found.edges and failures else []),
        ]
    sentences = [failure_sentence(one) for one in found.explanations]
    return [Points(tuple(sentences + ([edge_sentence(found.edges)] if found.edges else [])))]


def _group(findings: Findings, found: Breakdown, runs: pd.DataFrame, title: str) -> list[Block]:
    if runs.empty:
        return [Text(f"There are no {title} runs.")]
    figures: list[Block] = []
    if found.judged.metric == findings.select:
        figures.append(draw_runs(title, findings, runs, f"all {len(runs):,} {title} runs"))
    return [
        Text(f"All {title} runs ({len(runs):,}):"),
        *figures,
        Folded(f"List of {title} runs", _listed(found, runs)),
    ]


def _listed(found: Breakdown, runs: pd.DataFrame) -> tuple[Block, ...]:
    heads = ("run", *found.settings, "seed", "verdict", "since", "evidence")
    ordered = runs.sort_values(["verdict", "run_id"], kind="stable").head(ROWS)
    lines = [_cells(row, found.settings) for row in ordered.to_dict("records")]
    more = len(runs) - len(lines)
    caption = f"{len(lines)} of {len(runs):,} runs, verdict by verdict." if more else ""
    return (Cells(plain_sheet(heads, lines), caption),)


def _cells(row: Mapping[Any, Any], settings: Sequence[str]) -> tuple[str, ...]:
    since = "" if math.isnan(row["onset"]) else f"epoch {int(row['onset'])}"
    levels = (render_level(row[name]) for name in settings)
    return (
        str(row["run_id"])[:8],
        *levels,
        str(row["seed"]),
        row["verdict"],
        since,
        row["evidence"],
    )
