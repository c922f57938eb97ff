"""Render verdicts as text for a terminal, as JSON and as CSV."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.text.levels import is_missing, render_level
from analysis.verdicts.breakdown import STABLE_SHARE, Breakdown, Edge, Explanation
from analysis.verdicts.facts import Label
from analysis.verdicts.judge import APART, COLUMNS, CONVERGENT, DIVERGENT, Judged
from anlp.console.align import align

ROWS_SHOWN = 15
GROUPS: Mapping[str, frozenset[Label]] = {
    "convergent runs": CONVERGENT,
    "divergent runs": DIVERGENT,
    "runs apart: crashed, missing or too short to judge": APART,
}


def render_text(breakdown: Breakdown, *, rows: int | None = ROWS_SHOWN) -> str:
    """Render text to read; `rows` limits each list of runs, None does not."""
    judged = breakdown.judged
    lines = [
        f"{breakdown.grid}: {len(judged.runs):,} runs judged by {judged.metric}",
        "",
        *_counts(judged),
        *_without_chance(judged),
    ]
    if breakdown.settings:
        lines += ["", "verdicts by setting", *_shares(breakdown)]
    lines += ["", *_explanations(breakdown.explanations, judged), *_edges(breakdown.edges)]
    for title, labels in GROUPS.items():
        lines += _runs(title, judged.of(labels), breakdown.settings, rows)
    return "\n".join(lines) + "\n"


def render_json(breakdown: Breakdown) -> str:
    """Render everything as JSON, with the numbers behind each verdict."""
    judged = breakdown.judged
    form = {
        "grid": breakdown.grid,
        "metric": judged.metric,
        "without_chance": judged.without_chance,
        "counts": Counter(judged.runs["verdict"].tolist()),
        "shares": [
            {"setting": s.setting, "level": s.level, "n": s.n, "counts": s.counts}
            for s in breakdown.shares
        ],
        "explanations": [_explanation_json(why) for why in breakdown.explanations],
        "edges": [
            {"by": edge.by, "lr": edge.value, "is_largest": edge.is_largest}
            for edge in breakdown.edges
        ],
        "runs": [
            {**_plain(row), "numbers": _plain(judged.verdicts[str(row["run_id"])].numbers)}
            for row in verdict_frame(breakdown).to_dict("records")
        ],
    }
    return json.dumps(form, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def render_csv(breakdown: Breakdown) -> str:
    """Render `verdict_frame` as CSV."""
    table = verdict_frame(breakdown)
    table["onset"] = table["onset"].astype("Int64")
    return table.to_csv(index=False, lineterminator="\n")


def _counts(judged: Judged) -> list[str]:
    found = Counter(judged.runs["verdict"].tolist())
    causes = Counter(judged.runs["cause"].tolist())
    parts = {"converged": "weak", "overfit": "overconfident"}
    details = {
        label: f"{causes[part]:,} of them {part}" for label, part in parts.items() if causes[part]
    }
    rows = [
        [label.value, f"{found[label.value]:,}", details.get(label.value, "")]
        for label in Label
        if found[label.value]
    ]
    return align(rows, (False, True, False))


def _without_chance(judged: Judged) -> list[str]:
    note = chance_note(judged)
    return ["", note] if note else []


def chance_note(judged: Judged) -> str:
    """Return what cannot be told where chance level or sample size are unknown; else nothing."""
    if not judged.without_chance:
        return ""
    return (
        f"{judged.without_chance:,} runs say neither chance level nor size of the validation set: "
        "whether they are stuck or collapsed to chance cannot be told. Give metrics: "
        "{chance: …, samples: …} in the grid file, or --chance and --samples"
    )


def _shares(breakdown: Breakdown) -> list[str]:
    found = set(breakdown.judged.runs["verdict"])
    labels = [label.value for label in Label if label.value in found]
    rows = [["", "", "runs", *labels]]
    previous = ""
    for share in breakdown.shares:
        cells = [
            f"{100 * share.counts[label] / share.n:.0f} %" if share.counts[label] else "·"
            for label in labels
        ]
        rows.append(
            [
                "" if share.setting == previous else share.setting,
                share.level,
                f"{share.n:,}",
                *cells,
            ]
        )
        previous = share.setting
    return align(rows, (False, False, *[True] * (1 + len(labels))))


def _explanations(explanations: Sequence[Explanation], judged: Judged) -> list[str]:
    if not explanations:
        failures = len(judged.of(DIVERGENT))
        nothing = "no setting, and no pair of two, goes with failure"
        return [nothing if failures else "no run failed to learn"]
    lines = ["configurations fail more often with"]
    rows = [
        [
            f"  {why.condition}",
            f"{why.failed_with} of {why.n_with}{' runs' if why.unit == 'runs' else ''}",
            f"(else {why.failed_without} of {why.n_without}),",
            f"odds ratio {why.odds.ratio:.3g} [{why.odds.low:.3g}, {why.odds.high:.3g}]",
        ]
        for why in explanations
    ]
    return lines + align(rows, (False, True, False, False))


def _edges(edges: Sequence[Edge]) -> list[str]:
    if not edges:
        return []
    parts = [f"{edge.by} {_edge(edge)}".strip() for edge in edges]
    return [
        f"largest lr at which {100 * STABLE_SHARE:.0f} % of the runs learned: {', '.join(parts)}"
    ]


def _edge(edge: Edge) -> str:
    if edge.value is None:
        return "none"
    return render_level(edge.value) + (" (the largest tried)" if edge.is_largest else "")


def _runs(title: str, runs: pd.DataFrame, settings: Sequence[str], limit: int | None) -> list[str]:
    if runs.empty:
        return []
    heads = ["run", *settings, "seed", "verdict", "since", "evidence"]
    shown = runs.sort_values(["verdict", "run_id"], kind="stable").head(
        len(runs) if limit is None else limit
    )
    rows = [_run_cells(row, settings) for row in shown.to_dict("records")]
    more = len(runs) - len(shown)
    lines = ["", f"{title} ({len(runs):,})", *align([heads, *rows], [False] * len(heads))]
    return [*lines, *([f"… and {more:,} more: --all shows them"] if more else [])]


def _run_cells(row: Mapping[Any, Any], settings: Sequence[str]) -> list[str]:
    since = "" if math.isnan(row["onset"]) else f"epoch {int(row['onset'])}"
    levels = [render_level(row[name]) for name in settings]
    return [
        str(row["run_id"])[:8],
        *levels,
        str(row["seed"]),
        row["verdict"],
        since,
        row["evidence"],
    ]


def verdict_frame(breakdown: Breakdown) -> pd.DataFrame:
    """Return a row per run: its settings that vary, its verdict and the evidence."""
    names = ["run_id", "config_id", "purpose", "seed", "outcome", *breakdown.settings, *COLUMNS]
    return breakdown.judged.runs[list(dict.fromkeys(names))].copy()


def _explanation_json(why: Explanation) -> dict[str, Any]:
    counts = {
        name: getattr(why, name)
        for name in ("failed_with", "n_with", "failed_without", "n_without")
    }
    odds = {"odds_ratio": why.odds.ratio, "low": why.odds.low, "high": why.odds.high}
    return {"setting": why.setting, "condition": why.condition, "unit": why.unit, **counts, **odds}


def _plain(values: Mapping[Any, Any]) -> dict[str, Any]:
    """Return values for JSON, which has neither NaN nor numpy's numbers."""
    plain = {
        str(name): value.item() if hasattr(value, "item") else value
        for name, value in values.items()
    }
    return {name: None if is_missing(value) else value for name, value in plain.items()}
