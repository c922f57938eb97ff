"""Importance as text for a terminal, as JSON and as CSV."""

from __future__ import annotations

import csv
import io
import json
import math
from typing import Any

from analysis.effects.explain import Importance
from anlp.core.align import align

PAIRS_SHOWN = 5
LEAST_SHARE = 0.005  # of an interaction that is worth a line
METHODS = {
    "exact": "exact ANOVA of the full factorial",
    "approximate": "approximate ANOVA: type-II least squares, interactions of two at most",
    "forest": "permutation importance of a random forest",
    "none": "correlations only",
}


def render_text(importance: Importance, grid: str = "") -> str:
    """What a person reads."""
    design = importance.design
    runs, configurations = int(design.counts.sum()), len(design.means)
    head = f"{grid}: {design.metric} over {configurations:,} configurations, {runs:,} runs"
    names = ["setting", *(name for name in _columns(importance) if name not in ("setting",))]
    rows = [names, *([_cell(name, row[name]) for name in names] for row in table(importance))]
    lines = [
        head,
        METHODS[importance.method],
        "",
        *align(rows, [name != "setting" for name in names]),
    ]
    lines += ["", *_interactions(importance), *_seeds(importance), *_forest(importance)]
    lines += [*design.best_at_edge, *importance.notes]
    return "\n".join(lines).rstrip() + "\n"


def render_json(importance: Importance, grid: str = "") -> str:
    """Everything, shares as numbers."""
    found, forest, design = importance.decomposition, importance.forest, importance.design
    form = {
        "grid": grid,
        "metric": design.metric,
        "method": importance.method,
        "configurations": len(design.means),
        "runs": int(design.counts.sum()),
        "factors": [
            {name: _plain(value) for name, value in row.items()} for row in table(importance)
        ],
        "interactions": [
            {"settings": names, "share": share} for names, share in interactions(importance)
        ],
        "seed_share": None if found is None else found.seed_share,
        "oob_r2": None if forest is None else forest.oob_r2,
        "best_at_edge": design.best_at_edge,
        "notes": importance.notes,
    }
    return json.dumps(form, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def render_csv(importance: Importance) -> str:
    """A row per setting."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _columns(importance), lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        {name: _plain(value) for name, value in row.items()} for row in table(importance)
    )
    return text.getvalue()


def table(importance: Importance) -> list[dict[str, Any]]:
    """One row per factor, most important first; what was refused is not among the columns."""
    found, forest, design = importance.decomposition, importance.forest, importance.design
    rows = []
    for index in importance.order:
        row: dict[str, Any] = {
            "setting": design.factors[index].name,
            "levels": len(design.factors[index].levels),
        }
        if found is not None:
            row |= {
                "first": found.first[index],
                "total": found.joint[index],
                "Shapley": found.shapley[index],
            }
        if forest is not None and forest.is_reliable:
            row["permutation"] = forest.permutation[index]
        if forest is not None and (forest.is_reliable or found is not None):
            row["forest (wandb)"] = forest.impurity[index]
        rows.append({**row, "Pearson (wandb)": importance.pearson[index]})
    return rows


def interactions(importance: Importance) -> list[tuple[list[str], float]]:
    """Names of the settings that interact, with their share, largest first; none for a forest."""
    if importance.decomposition is None:
        return []
    factors = importance.design.factors
    return [
        ([factors[axis].name for axis in subset], share)
        for subset, share in importance.decomposition.interactions()
    ]


def _columns(importance: Importance) -> list[str]:
    return list(table(importance)[0])


def _cell(name: str, value: Any) -> str:
    if name in ("setting", "levels"):
        return str(value)
    if math.isnan(value):
        return "–"
    return f"{value:+.2f}" if name.startswith("Pearson") else f"{100 * value:.1f} %"


def _interactions(importance: Importance) -> list[str]:
    found = [item for item in interactions(importance)[:PAIRS_SHOWN] if item[1] >= LEAST_SHARE]
    parts = [f"{' × '.join(names)} {100 * share:.1f} %" for names, share in found]
    return [f"interactions: {', '.join(parts)}"] if parts else []


def _seeds(importance: Importance) -> list[str]:
    found = importance.decomposition
    if found is None or math.isnan(found.seed_variance):
        return []
    return [
        f"seeds: {100 * found.seed_share:.1f} % of all variance; the shares above are of the rest"
    ]


def _forest(importance: Importance) -> list[str]:
    forest = importance.forest
    return [] if forest is None else [f"forest: out-of-bag R² {forest.oob_r2:.2f}"]


def _plain(value: Any) -> Any:
    if isinstance(value, str | int):
        return value
    return None if math.isnan(value) else float(value)
