"""Render importance as text for a terminal, as JSON and as CSV."""

from __future__ import annotations

import csv
import io
import json
import math
from typing import Any

from analysis.effects.explain import Importance
from anlp.console.align import align

PAIRS_SHOWN = 5
LEAST_SHARE = 0.005  # of an interaction that is worth a line
METHODS = {
    "exact": "exact ANOVA of the full factorial",
    "approximate": "approximate ANOVA: type-II least squares, interactions of two at most",
    "forest": "permutation importance of a random forest",
    "none": "correlations only",
}


def render_text(importance: Importance, grid: str = "") -> str:
    """Render text to read."""
    design = importance.design
    runs, configurations = int(design.counts.sum()), len(design.means)
    title = f"{grid}: {design.metric} over {configurations:,} configurations, {runs:,} runs"
    names = _columns(importance)
    rows = [names, *(_cells(row, names) for row in importance_rows(importance))]
    lines = [
        title,
        METHODS[importance.method],
        "",
        *align(rows, [name != "setting" for name in names]),
    ]
    lines += ["", *_interactions(importance), *_seeds(importance), *_forest(importance)]
    lines += [*design.best_at_edge, *importance.notes]
    return "\n".join(lines).rstrip() + "\n"


def render_json(importance: Importance, grid: str = "") -> str:
    """Render everything as JSON, shares as numbers."""
    anova, forest, design = importance.decomposition, importance.forest, importance.design
    form = {
        "grid": grid,
        "metric": design.metric,
        "method": importance.method,
        "configurations": len(design.means),
        "runs": int(design.counts.sum()),
        "factors": [_plain_row(row) for row in importance_rows(importance)],
        "interactions": [
            {"settings": names, "share": share} for names, share in interactions(importance)
        ],
        "seed_share": None if anova is None else anova.seed_share,
        "oob_r2": None if forest is None else forest.oob_r2,
        "best_at_edge": design.best_at_edge,
        "notes": importance.notes,
    }
    return json.dumps(form, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def render_csv(importance: Importance) -> str:
    """Render a row per setting as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _columns(importance), lineterminator="\n")
    writer.writeheader()
    writer.writerows(_plain_row(row) for row in importance_rows(importance))
    return text.getvalue()


def importance_rows(importance: Importance) -> list[dict[str, Any]]:
    """Return a row per factor, most important first; without columns that were refused."""
    anova, forest, design = importance.decomposition, importance.forest, importance.design
    rows = []
    for index in importance.order:
        row: dict[str, Any] = {
            "setting": design.factors[index].name,
            "levels": len(design.factors[index].levels),
        }
        if anova is not None:
            row["first"] = anova.first[index]
            row["total"] = anova.joint[index]
            row["Shapley"] = anova.shapley[index]
        if forest is not None and forest.is_reliable:
            row["permutation"] = forest.permutation[index]
        if forest is not None and (forest.is_reliable or anova is not None):
            row["forest (wandb)"] = forest.impurity[index]
        rows.append({**row, "Pearson (wandb)": importance.pearson[index]})
    return rows


def interactions(importance: Importance) -> list[tuple[list[str], float]]:
    """Return the settings that interact with their share, largest first; none for a forest."""
    if importance.decomposition is None:
        return []
    pairs = []
    for subset, share in importance.decomposition.interactions():
        names = [importance.design.factors[axis].name for axis in subset]
        pairs.append((names, share))
    return pairs


def _columns(importance: Importance) -> list[str]:
    return list(importance_rows(importance)[0])


def _cells(row: dict[str, Any], names: list[str]) -> list[str]:
    return [_cell(name, row[name]) for name in names]


def _cell(name: str, value: Any) -> str:
    if name in ("setting", "levels"):
        return str(value)
    if math.isnan(value):
        return "–"
    return f"{value:+.2f}" if name.startswith("Pearson") else f"{100 * value:.1f} %"


def _interactions(importance: Importance) -> list[str]:
    parts = []
    for names, share in interactions(importance)[:PAIRS_SHOWN]:
        if share >= LEAST_SHARE:
            parts.append(f"{' × '.join(names)} {100 * share:.1f} %")
    return [f"interactions: {', '.join(parts)}"] if parts else []


def _seeds(importance: Importance) -> list[str]:
    anova = importance.decomposition
    if anova is None or math.isnan(anova.seed_variance):
        return []
    return [
        f"seeds: {100 * anova.seed_share:.1f} % of all variance; the shares above are of the rest"
    ]


def _forest(importance: Importance) -> list[str]:
    forest = importance.forest
    return [] if forest is None else [f"forest: out-of-bag R² {forest.oob_r2:.2f}"]


def _plain_row(row: dict[str, Any]) -> dict[str, Any]:
    return {name: _plain(value) for name, value in row.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, str | int):
        return value
    return None if math.isnan(value) else float(value)
