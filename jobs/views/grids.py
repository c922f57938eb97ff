"""Lists all grids of the runs folder with the states of their runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anlp.console.align import align
from anlp.console.verbs import command_name
from anlp.core.units import count, render_duration
from anlp.records.folders import GridFolder
from anlp.records.results import RunState
from jobs.common.terminal import Canvas
from jobs.runs.status import RunStatus


@dataclass(frozen=True, slots=True)
class GridLine:
    """One grid: how many runs are in each state, and when it was submitted last."""

    folder: GridFolder
    counts: dict[RunState, int]
    since: float  # unix time of the latest submission; 0: nothing was submitted

    @property
    def runs(self) -> int:
        """Return the number of its runs."""
        return sum(self.counts.values())


def summarise(folder: GridFolder, statuses: Iterable[RunStatus]) -> GridLine:
    """Return the line of a grid, its states in the order of `RunState`."""
    every = list(statuses)
    counted = Counter(status.state for status in every)
    counts = {state: counted[state] for state in RunState if counted[state]}
    return GridLine(folder, counts, max((status.since or 0.0 for status in every), default=0.0))


def render_grids(lines: Sequence[GridLine], root: Path, canvas: Canvas, now: float) -> str:
    """Return the screen: a line for each grid, the latest submission first."""
    if not lines:
        return f"no grid in {root} yet; submit one: {command_name('jobs.submit')} FILE.yaml"
    rows = [
        (
            line.folder.name,
            f"{line.runs:,}",
            ", ".join(f"{number:,} {state.value}" for state, number in line.counts.items()),
            f"{render_duration(now - line.since)} ago" if line.since else "never",
        )
        for line in sorted(lines, key=lambda line: -line.since)
    ]
    title = f"{count(len(lines), 'grid')} in {root}"
    heading, *table = align([("grid", "runs", "states", "submitted"), *rows])
    shown = [canvas.paint(canvas.clip("  " + heading), "bold")]
    shown += [canvas.clip("  " + line) for line in table]
    hint = f"of one grid: {command_name('jobs.status')} {rows[0][0]}"
    return "\n".join([title, *shown, "", hint])


def grids_json(lines: Sequence[GridLine], root: Path, now: float) -> dict[str, Any]:
    """Return the value that `--json` prints."""
    return {
        "folder": str(root),
        "time": round(now, 3),
        "grids": [
            {
                "grid": line.folder.name,
                "n": line.runs,
                "counts": {state.value: line.counts.get(state, 0) for state in RunState},
                "submitted": line.since or None,
            }
            for line in lines
        ],
    }
