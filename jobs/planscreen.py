"""A plan as people read it, and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from anlp.record import GridFolder
from anlp.spec import RunSpec
from jobs.estimate import estimate_seconds, render_duration
from jobs.gridfile import GridSpec
from jobs.plan import Plan
from jobs.schedulers import choose
from jobs.state import RunStatus
from jobs.target import Target


def fields_of(spec: RunSpec) -> dict[str, Any]:
    """What a filter can name before a run was submitted: settings, seed and id."""
    return {**spec.settings.values(), "seed": spec.seed, "id": spec.run_id}


def render_axes(grid: GridSpec) -> str:
    """`2 model x 5 lr`: what varies in the grid."""
    return " x ".join(f"{len(values)} {name}" for name, values in grid.axes().items() if len(values) > 1)


def print_plan(
    folder: GridFolder,
    plan: Plan,
    history: Mapping[str, RunStatus],
    target: Target,
    *,
    title: str,
    notes: Sequence[str],
) -> None:
    """What the grid is, where its runs stand, and what would be submitted where."""
    print(f"{folder.name}: {len(plan.specs)} runs{title and f' ({title})'}")
    for state, count in plan.counts().items():
        print(f"  {state.value:<12}{count:>7}")
    for note in notes:
        print(f"  note: {note}")
    if plan.chosen:
        slots, note = choose.describe(target.on, target.slots, target.resources, target.profile, target.max_parallel)
        seconds = estimate_seconds(plan.chosen, history.values(), slots) if slots else None
        took = f", about {render_duration(seconds)}" if seconds is not None else ""
        print(f"  to submit   {len(plan.chosen):>7}   {note}{took}")


def print_runs(plan: Plan) -> None:
    """One line per run: its id, its state, and the settings that vary."""
    varying = _varying(plan.specs)
    header = ["run", "state", *varying]
    rows = [
        [spec.run_id, plan.states[spec.run_id].value, *(str(fields_of(spec)[name]) for name in varying)]
        for spec in plan.specs
    ]
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in (header, *rows):
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def _varying(specs: Sequence[RunSpec]) -> list[str]:
    fields = [fields_of(spec) for spec in specs]
    return [name for name in fields[0] if name != "id" and len({item[name] for item in fields}) > 1]


def plan_form(folder: GridFolder, plan: Plan) -> dict[str, Any]:
    """The plan for machines: `grid`, `counts` by state, `submit` (how many), `runs` with spec, state and `submit`."""
    chosen = {spec.run_id for spec in plan.chosen}
    return {
        "grid": folder.name,
        "counts": {state.value: count for state, count in plan.counts().items()},
        "submit": len(plan.chosen),
        "runs": [
            {**spec.to_json(), "state": plan.states[spec.run_id].value, "submit": spec.run_id in chosen}
            for spec in plan.specs
        ],
    }
