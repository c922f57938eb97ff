"""What was planned, what became of it and what it cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from analysis.data.frames import varying_settings
from analysis.reporting.blocks import Block, Cells, Notice, Section, Text, plain_sheet
from analysis.reporting.findings import Findings
from analysis.text.levels import is_missing, level_key, render_level
from anlp.core.filters import parse_filter
from anlp.core.units import SECONDS_PER_HOUR, render_duration, render_hours, render_memory
from anlp.records.batches import read_batch
from anlp.records.cost import Cost, add_up
from anlp.records.folders import GridFolder

STATES: Mapping[str, str] = {
    "ok": "done",
    "diverged": "diverged",
    "failed": "failed",
    "unfinished": "begun and not finished",
}
MAX_LEVELS = 12  # of a setting that are listed


def effort_section(findings: Findings) -> Section:
    """Return the section."""
    runs = findings.runs
    configurations, confirm = runs["config_id"].nunique(), int((runs["purpose"] == "confirm").sum())
    sentence = f"{len(runs):,} runs of {configurations:,} configurations"
    sentence += (
        f", {confirm:,} of them to confirm the winners with fresh seeds." if confirm else "."
    )
    blocks: list[Block] = [Text(sentence), _factors(findings), _states(findings)]
    blocks += [Notice(note) for note in findings.loaded.notes[:5]]
    cost = add_up([usage for usage in findings.usages if usage.attempts], findings.shares)
    blocks += [_cost(cost), *_per_fate(findings, cost)] if cost.runs else [_no_cost()]
    return Section("effort", "Plan and cost", tuple(blocks))


def planned_ids(folder: Path, only: str = "") -> set[str]:
    """Return the runs that batch files speak of; none where there are no such files.

    Args:
        folder: of the grid.
        only: a filter; a run that has not begun has settings, a seed and an id, but no state and
            no metric.
    """
    wanted = parse_filter(only)
    found: set[str] = set()
    for batch in sorted(GridFolder(folder).batches.glob("*.jsonl")):
        for line in read_batch(batch):
            found.update(
                spec["run_id"] for spec in line.specs if wanted.matches(_fields_of_spec(spec))
            )
    return found


def _fields_of_spec(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a filter can name of a run that has not begun."""
    named = {"id": spec["run_id"], "run_id": spec["run_id"], "task": spec["task"]}
    return {**spec["settings"], **named, "seed": spec["seed"]}


def _factors(findings: Findings) -> Block:
    runs = findings.runs
    lines = []
    for name in varying_settings(runs):
        levels = sorted({None if is_missing(v) else v for v in runs[name].tolist()}, key=level_key)
        shown = ", ".join(map(render_level, levels))
        if len(levels) > MAX_LEVELS:
            known = [level for level in levels if level is not None]
            shown = f"{render_level(levels[0])} to {render_level(known[-1])}"
        lines.append((name, f"{len(levels):,}", shown))
    if not lines:
        return Text("Nothing varies but the seed.")
    seeds = runs.groupby("config_id").size()
    count = f"{seeds.min()}" if seeds.min() == seeds.max() else f"{seeds.min()} to {seeds.max()}"
    return Cells(
        plain_sheet(("setting", "levels", "values"), lines, frozenset({1})),
        f"What varies; {count} seeds each.",
    )


def _states(findings: Findings) -> Block:
    counts = Counter(findings.runs["outcome"].tolist())
    planned = planned_ids(findings.folder, findings.left_out.only)
    missing = len(planned - set(findings.runs["run_id"]))
    lines = [(text, f"{counts[name]:,}") for name, text in STATES.items() if counts[name]]
    lines += [("submitted and not begun", f"{missing:,}")] if missing else []
    return Cells(plain_sheet(("runs", "n"), lines, frozenset({1})), "")


def _cost(cost: Cost) -> Block:
    lines = [("time of all attempts", render_duration(cost.run_hours * SECONDS_PER_HOUR))]
    if cost.gpu_hours:
        lines.append(("GPU time asked for", render_hours(cost.gpu_hours, "GPU-hours")))
    if cost.cpu_hours is not None:
        lines.append(("CPU time asked for", render_hours(cost.cpu_hours, "CPU-hours")))
    if cost.used_cpu_hours is not None:
        share = (
            ""
            if cost.cpu_efficiency is None
            else f" ({100 * cost.cpu_efficiency:.0f} % of the cores asked for)"
        )
        lines.append(
            ("processor time used", render_hours(cost.used_cpu_hours, "CPU-hours") + share)
        )
    if cost.repeated:
        lines.append(("runs of several attempts", f"{cost.repeated:,}"))
    if cost.lost_hours:
        lines.append(
            (
                "time of attempts that were killed or failed",
                render_duration(cost.lost_hours * SECONDS_PER_HOUR),
            )
        )
    if cost.peak_mib is not None:
        lines.append(("most memory of a run", render_memory(cost.peak_mib)))
    if cost.gpu_peak_mib is not None:
        lines.append(("most GPU memory of a run", render_memory(cost.gpu_peak_mib)))
    return Cells(
        plain_sheet(("cost", ""), lines, frozenset({1})), f"Of the {cost.runs:,} runs that ended."
    )


def _per_fate(findings: Findings, total: Cost) -> list[Block]:
    """Return what went into runs that came to nothing."""
    lost = [
        usage
        for usage, outcome in zip(findings.usages, findings.runs["outcome"], strict=True)
        if outcome in ("failed", "diverged")
    ]
    spent = add_up(lost, findings.shares)
    if not spent.run_hours or not total.run_hours:
        return []
    return [
        Text(
            f"{100 * spent.run_hours / total.run_hours:.0f} % of the time "
            "went into runs that diverged or failed."
        )
    ]


def _no_cost() -> Block:
    return Notice(
        "No result says what it cost: the runs have not ended, "
        "or come from a version that did not record it."
    )
