"""Prints the plan of a submission: what the grid is, what is missing, where it would go."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from anlp.console.align import align
from anlp.console.verbs import command_name
from anlp.core.spec import RunSpec, varying_names
from anlp.core.units import (
    count,
    digits_apart,
    render_duration,
    render_hours,
    render_memory_option,
    render_time_option,
    shorten,
)
from anlp.records.folders import GridFolder
from anlp.records.results import RunState
from jobs.config.packing import Packing
from jobs.config.resources import Resources
from jobs.gridfile import Axis, Block, Expansion, GridSpec
from jobs.runs.estimates import Price, compare, estimate_seconds, price, propose
from jobs.runs.options import SubmitOptions
from jobs.runs.plan import Plan
from jobs.runs.status import RunStatus
from jobs.schedulers.local.slots import inspect, plan_slots
from jobs.schedulers.registry import LOCAL, MOST_SLOTS, get_scheduler, label

MOST_LISTED = 1_000  # runs of a plan: more say no more
SHOWN = 10  # of these, at the beginning and at the end


def say_nothing_to_do(folder: GridFolder, plan: Plan) -> None:
    """Print why there is nothing to submit, and what can be done about it."""
    counts = plan.counts()
    words = ", ".join(f"{number} {state.value}" for state, number in counts.items())
    print(f"nothing to submit: {words}")
    if any(state.is_active for state in counts):
        print(
            "  the queued and running ones were submitted before: "
            f"{command_name('jobs.status')} {folder.name} --watch"
        )
    if RunState.FAILED in counts or RunState.LOST in counts:
        print(
            "  failed and lost runs are repeated by --retry; why they ended: "
            f"{command_name('jobs.status')} {folder.name}"
        )


def say_taken_meanwhile(runs: int) -> None:
    """Print how many runs of the plan another submit has taken since."""
    if runs:
        print(f"{runs} of these runs were taken by another submit meanwhile")


def fields_of(spec: RunSpec) -> dict[str, Any]:
    """Return what a filter can name before a run was submitted: settings, seed and id."""
    return {**spec.values, "id": spec.run_id}


def render_product(grid: GridSpec, expansion: Expansion) -> str:
    """Render where the runs of a grid come from: `3 random x 2 model x 3 seed, 6 excluded`.

    Blocks of a union are joined by `+`. Where `when` makes the size of a product depend on its
    values, the number of combinations is given instead.
    """
    sizes = [block.least_combinations for block in grid.blocks]
    products = [_render_block(block) for block in grid.blocks]
    text = " + ".join(product for product in products if product)
    if sum(sizes) != expansion.combinations:
        text = f"{expansion.combinations:,} combinations, some by when"
    notes = [
        f", {number:,} {what}"
        for number, what in (
            (expansion.excluded, "excluded"),
            (expansion.duplicates, "equal to others"),
        )
        if number
    ]
    return "".join([text, *notes]).removeprefix(", ")


def _render_block(block: Block) -> str:
    """Render one product: `2 model x 3 zip of lr, epochs x 5 seed, 1 included`; 1 run: nothing."""
    factors = [_render_axis(axis) for axis in block.axes if len(axis.points) > 1]
    if block.includes and factors:
        factors = [f"({' x '.join(factors)} + {len(block.includes)} included)"]
    elif block.includes:
        factors = [f"{1 + len(block.includes)} settings"]
    if len(block.seeds) > 1:
        factors.append(f"{len(block.seeds)} seed")
    return " x ".join(factors)


def _render_axis(axis: Axis) -> str:
    number = f"{len(axis.points):,}"
    if axis.kind == "random":
        return f"{number} random"
    if axis.kind == "zip":
        return f"{number} zip of {', '.join(axis.names)}"
    return f"{number} {axis.names[0]}"


def print_plan(
    folder: GridFolder,
    plan: Plan,
    history: Mapping[str, RunStatus],
    target: SubmitOptions,
    *,
    title: str,
    notes: Sequence[str],
) -> None:
    """Print what the grid is, where its runs stand, and what would be submitted where."""
    print(f"{folder.name}: {count(len(plan.specs), 'run')}{title and f' ({title})'}")
    for state, number in plan.counts().items():
        print(f"  {state.value:<12}{number:>7,}")
    for note in notes:
        print(f"  note: {note}")
    if plan.chosen:
        _print_choice(plan, history, target)


def _print_choice(plan: Plan, history: Mapping[str, RunStatus], target: SubmitOptions) -> None:
    """Print how many runs would go where, what they will take, and what they should ask for."""
    shared = target.packing.fit(len(plan.chosen))
    slots, note = describe(target, shared)
    seconds = estimate_seconds(plan.chosen, history.values(), slots) if slots else None
    took = f", about {render_duration(seconds)}" if seconds is not None else ""
    cost = price(plan.chosen, history.values(), target.resources, target.packing.pack)
    print(f"  to submit   {len(plan.chosen):>7,}   {note}{took}{_render_price(cost)}")
    for line in render_proposals(plan, history, target.resources):
        print(f"  {line}")


def _render_price(cost: Price | None) -> str:
    if cost is None:
        return ""
    hours, unit = (cost.gpu_hours, "GPU-hours") if cost.gpu_hours else (cost.cpu_hours, "CPU-hours")
    return f", {render_hours(hours, unit)}"


def render_proposals(plan: Plan, history: Mapping[str, RunStatus], asked: Resources) -> list[str]:
    """Return a line per model: what earlier runs needed, and where much else is asked for."""
    lines = []
    for proposal in propose(plan.chosen, history.values()):
        memory = (
            "" if proposal.mem_mib is None else f" --mem {render_memory_option(proposal.mem_mib)}"
        )
        notes = "".join(f"; {note}" for note in compare(proposal, asked))
        runs = count(proposal.runs, "earlier run")
        asks = f"--time {render_time_option(proposal.walltime_min)}{memory}"
        lines.append(f"{proposal.model}: {asks} would do ({runs}){notes}")
    return lines


def print_runs(plan: Plan) -> None:
    """Print one line per run: its id, its state, and the settings that vary.

    Of very many runs only the first and the last ones are printed.
    """
    columns: dict[str, dict[Any, None]] = {}
    for spec in plan.specs:
        for name, value in spec.values.items():
            columns.setdefault(name, {})[value] = None
    names = varying_names(columns)
    digits = digits_apart(columns[name] for name in names)
    hidden = len(plan.specs) - 2 * SHOWN if len(plan.specs) > MOST_LISTED else 0
    listed = plan.specs[:SHOWN] + plan.specs[-SHOWN:] if hidden else plan.specs
    header = ["run", "state", *names]
    rows = [
        [
            spec.run_id,
            plan.states[spec.run_id].value,
            *(str(shorten(spec.values[name], digits)) for name in names),
        ]
        for spec in listed
    ]
    lines = align([header, *rows])
    if hidden:
        lines.insert(1 + SHOWN, f"… and {hidden:,} more: --json lists all, --only FILTER some")
    print("\n".join(lines))


def plan_json(
    folder: GridFolder, plan: Plan, history: Mapping[str, RunStatus], target: SubmitOptions
) -> dict[str, Any]:
    """Return the value that `--json` prints.

    It has `grid`, `counts` by state, `submit` (how many) and `runs` with spec, state and `submit`;
    from history `price` (`gpu_hours`, `cpu_hours`; else null) and `proposals` (`model`, `data`,
    `runs`, `need_min`, `need_mib`, `walltime_min`, `mem_mib`).
    """
    chosen = {spec.run_id for spec in plan.chosen}
    cost = None
    if chosen:
        cost = price(plan.chosen, history.values(), target.resources, target.packing.pack)
    return {
        "grid": folder.name,
        "counts": {state.value: number for state, number in plan.counts().items()},
        "submit": len(plan.chosen),
        "price": cost and asdict(cost),
        "proposals": [asdict(proposal) for proposal in propose(plan.chosen, history.values())],
        "runs": [
            {
                **spec.to_json(),
                "state": plan.states[spec.run_id].value,
                "submit": spec.run_id in chosen,
            }
            for spec in plan.specs
        ],
    }


def describe(target: SubmitOptions, packing: Packing) -> tuple[int | None, str]:
    """Return how many runs go at a time (None: as many as the cluster lets), and where, in words.

    Args:
        target: where and how.
        packing: how many runs share a job.

    Raises:
        UserError: no such scheduler, or the machine cannot give what a run asks for.
    """
    scheduler = get_scheduler(target.on, slots=target.slots, profile=target.profile)
    if scheduler.name == LOCAL:
        return _describe_slots(target, packing)
    shared = most = ""
    if packing.size > 1:
        shared = f" in jobs of {packing.size}, {packing.pack} at a time"
    at_a_time = None
    if target.max_parallel:
        at_a_time = target.max_parallel * packing.pack
        what = "jobs at a time" if shared else "at a time"
        most = f", at most {target.max_parallel} {what}"
    return at_a_time, f"to {label(scheduler.name)}{shared}{most}"


def _describe_slots(target: SubmitOptions, packing: Packing) -> tuple[int, str]:
    machine = inspect(os.environ, with_gpus=target.resources.gpus > 0)
    plan = plan_slots(target.resources, machine, MOST_SLOTS, asked=target.slots, pack=packing.pack)
    device = "GPU" if any(plan.devices) else "CPU"
    return plan.slots, f"on this machine, {plan.slots} at a time ({device})"
