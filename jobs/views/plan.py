"""What a submission says when others were faster, or when there is nothing to do."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from anlp.core.spec import RunSpec
from anlp.records.folders import GridFolder
from anlp.records.results import RunState
from jobs.common.units import count, render_duration, render_hours, render_size, render_time
from jobs.config.resources import Resources
from jobs.gridfile import GridSpec
from jobs.runs.estimates import Price, compare, estimate_seconds, price, propose
from jobs.runs.options import SubmitOptions
from jobs.runs.plan import Plan
from jobs.runs.status import RunStatus
from jobs.schedulers.local.slots import inspect, plan_slots
from jobs.schedulers.registry import LOCAL, MOST_SLOTS, get_scheduler, label


def say_nothing_to_do(folder: GridFolder, plan: Plan) -> None:
    """Why there is nothing to submit, and what can be done about it."""
    counts = plan.counts()
    print(
        f"nothing to submit: {', '.join(f'{count} {state.value}' for state, count in counts.items())}"
    )
    if any(state.is_active for state in counts):
        print(
            f"  the queued and running ones were submitted before: python -m jobs.status {folder.name} --watch"
        )
    if RunState.FAILED in counts or RunState.LOST in counts:
        print(
            f"  failed and lost runs are repeated by --retry; why they ended: python -m jobs.status {folder.name}"
        )


def say_taken_meanwhile(runs: int) -> None:
    """How many runs of the plan another submit has taken since."""
    if runs:
        print(f"{runs} of these runs were taken by another submit meanwhile")


def fields_of(spec: RunSpec) -> dict[str, Any]:
    """What a filter can name before a run was submitted: settings, seed and id."""
    return {**spec.settings.values(), "seed": spec.seed, "id": spec.run_id}


def render_axes(grid: GridSpec) -> str:
    """`2 model x 5 lr`: what varies in the grid."""
    return " x ".join(
        f"{len(values)} {name}" for name, values in grid.axes().items() if len(values) > 1
    )


def print_plan(
    folder: GridFolder,
    plan: Plan,
    history: Mapping[str, RunStatus],
    target: SubmitOptions,
    *,
    title: str,
    notes: Sequence[str],
) -> None:
    """What the grid is, where its runs stand, and what would be submitted where."""
    print(f"{folder.name}: {len(plan.specs)} runs{title and f' ({title})'}")
    for state, number in plan.counts().items():
        print(f"  {state.value:<12}{number:>7}")
    for note in notes:
        print(f"  note: {note}")
    if plan.chosen:
        _print_choice(plan, history, target)


def _print_choice(plan: Plan, history: Mapping[str, RunStatus], target: SubmitOptions) -> None:
    """How many runs would be submitted where, what they will take, and what they should ask for."""
    shared = target.packing.fit(len(plan.chosen))
    where = (target.on, target.slots, target.resources, target.profile, target.max_parallel)
    slots, note = describe(*where, shared.pack, shared.chain)
    seconds = estimate_seconds(plan.chosen, history.values(), slots) if slots else None
    took = f", about {render_duration(seconds)}" if seconds is not None else ""
    cost = price(plan.chosen, history.values(), target.resources, target.packing.pack)
    print(f"  to submit   {len(plan.chosen):>7}   {note}{took}{_render_price(cost)}")
    for line in render_proposals(plan, history, target.resources):
        print(f"  {line}")


def _render_price(cost: Price | None) -> str:
    if cost is None:
        return ""
    hours, unit = (cost.gpu_hours, "GPU-hours") if cost.gpu_hours else (cost.cpu_hours, "CPU-hours")
    return f", {render_hours(hours, unit)}"


def render_proposals(plan: Plan, history: Mapping[str, RunStatus], asked: Resources) -> list[str]:
    """What earlier runs needed, and where what is asked for differs much; a line for each model that has any."""
    lines = []
    for proposal in propose(plan.chosen, history.values()):
        memory = "" if proposal.mem_mib is None else f" --mem {render_size(proposal.mem_mib)}"
        notes = "".join(f"; {note}" for note in compare(proposal, asked))
        runs = count(proposal.runs, "earlier run")
        asks = f"--time {render_time(proposal.walltime_min)}{memory}"
        lines.append(f"{proposal.model}: {asks} would do ({runs}){notes}")
    return lines


def print_runs(plan: Plan) -> None:
    """One line per run: its id, its state, and the settings that vary."""
    varying = _varying(plan.specs)
    header = ["run", "state", *varying]
    rows = [
        [
            spec.run_id,
            plan.states[spec.run_id].value,
            *(str(fields_of(spec)[name]) for name in varying),
        ]
        for spec in plan.specs
    ]
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in (header, *rows):
        print(
            "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        )


def _varying(specs: Sequence[RunSpec]) -> list[str]:
    fields = [fields_of(spec) for spec in specs]
    return [name for name in fields[0] if name != "id" and len({item[name] for item in fields}) > 1]


def plan_json(
    folder: GridFolder, plan: Plan, history: Mapping[str, RunStatus], target: SubmitOptions
) -> dict[str, Any]:
    """The plan for machines: `grid`, `counts` by state, `submit` (how many), `runs` with spec, state and `submit`.

    From history, where there is any: `price` (`gpu_hours`, `cpu_hours`; else null) and `proposals` (`model`, `data`,
    `runs`, `need_min`, `need_mib`, `walltime_min`, `mem_mib`).
    """
    chosen = {spec.run_id for spec in plan.chosen}
    cost = (
        price(plan.chosen, history.values(), target.resources, target.packing.pack)
        if chosen
        else None
    )
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


def describe(
    name: str,
    slots: int | None,
    resources: Resources,
    profile: str | None = None,
    max_parallel: int | None = None,
    pack: int = 1,
    chain: int = 1,
) -> tuple[int | None, str]:
    """How many runs go at a time (None: as many as the cluster lets), and where, in words.

    Runs share jobs where `pack` go at the same time in each, or `chain` one after the other.

    Raises:
        UserError: no such scheduler, or the machine cannot give what a run asks for.
    """
    scheduler = get_scheduler(name, slots=slots, profile=profile)
    if scheduler.name != LOCAL:
        shared = f" in jobs of {pack * chain}, {pack} at a time" if pack * chain > 1 else ""
        most = (
            f", at most {max_parallel} {'jobs ' if shared else ''}at a time" if max_parallel else ""
        )
        return max_parallel and max_parallel * pack, f"to {label(scheduler.name)}{shared}{most}"
    machine = inspect(os.environ, with_gpus=resources.gpus > 0)
    plan = plan_slots(resources, machine, MOST_SLOTS, asked=slots, pack=pack)
    device = "GPU" if any(plan.devices) else "CPU"
    return plan.slots, f"on this machine, {plan.slots} at a time ({device})"
