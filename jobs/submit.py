"""`python -m jobs.submit GRID.yaml`: plans a grid file and submits what is missing of it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from anlp import staging
from anlp.errors import EXIT_OK, SpecError, UserError, run_command
from anlp.record import GridFolder, RunOptions, RunState, write_whole
from anlp.select import parse_filter
from anlp.spec import RunSpec
from jobs import confirm
from jobs.cli import confirm as ask
from jobs.cli import data_dir, make_parser, runs_root
from jobs.estimate import estimate_seconds, render_duration
from jobs.gridfile import GridSpec, load_grid
from jobs.launch import Target, add_target_arguments, override, submit_specs
from jobs.plan import Plan, Redo, make_plan
from jobs.provenance import code_commit
from jobs.schedulers import choose
from jobs.state import RunStatus, read_states

MANY_RUNS = 10_000

EXAMPLES = """\
  python -m jobs.submit grids/mnist.yaml                       train what is missing of the grid
  python -m jobs.submit grids/mnist.yaml -n                    only show the plan and the runs
  python -m jobs.submit grids/mnist.yaml --only 'model=cnn lr<=0.01'
  python -m jobs.submit grids/mnist.yaml --set epochs=5 --set lr=0.01,0.001 --seeds 3
  python -m jobs.submit grids/mnist.yaml --retry               failed and lost runs, too
  python -m jobs.submit grids/mnist.yaml --confirm 2 --per model --seeds 5
                                                               the two best of each model with five fresh seeds"""


def make_arguments() -> argparse.ArgumentParser:
    """The command line of submit."""
    parser = make_parser(
        "jobs.submit", "Expands a grid file into runs and submits those that are missing; safe to repeat.", EXAMPLES
    )
    parser.add_argument("grid", type=Path, help="the grid file (YAML)")
    parser.add_argument("-n", "--dry-run", action="store_true", help="show the plan and the runs, write nothing")
    parser.add_argument("--json", action="store_true", help="with --dry-run: the plan as JSON")
    parser.add_argument("-y", "--yes", action="store_true", help="agree to every question")
    parser.add_argument("--name", help="name of the grid's folder (default: name of the file)")
    what = parser.add_argument_group("which runs")
    what.add_argument("--set", action="append", default=[], metavar="S=V[,V]", help="replaces a setting of the file")
    what.add_argument("--seeds", metavar="N", help="number of seeds, or a list: 5 or 0,1,7")
    what.add_argument("--only", metavar="FILTER", help="only runs that match, such as 'model=cnn lr<=0.01'")
    what.add_argument("--retry", action="store_true", help="failed and lost runs, too")
    what.add_argument("--replace", action="store_true", help="finished runs, too: their results are thrown away")
    what.add_argument("--confirm", type=int, metavar="K", help="instead: the K best configurations with fresh seeds")
    what.add_argument("--per", metavar="SETTING", help="with --confirm: the K best for each value of this setting")
    what.add_argument("--select", default="val/acc", metavar="METRIC", help="with --confirm: best by this metric")
    add_target_arguments(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code.

    Raises:
        UserError: something that the person at the keyboard can put right.
    """
    args = make_arguments().parse_args(argv)
    _check(args)
    grid = load_grid(args.grid, overrides=args.set, seeds=None if args.confirm else args.seeds)
    _refuse_container(grid)
    folder = GridFolder(runs_root() / (args.name or grid.name))
    history = read_states(folder, choose.states)
    specs = _with_data(list(grid.runs()), grid.fallback, data_dir(), download=not args.dry_run)
    specs = _narrow(grid, specs, args, history)
    redo: Redo = "all" if args.replace else "failed" if args.retry else "none"
    plan = make_plan(specs, history, redo)
    target = override(_target(grid, confirming=args.confirm is not None), args)
    if args.json:
        print(json.dumps(_plan_form(folder, plan), indent=1))
        return EXIT_OK
    _print_plan(grid, folder, plan, history, target)
    if args.dry_run:
        _print_runs(plan)
        return EXIT_OK
    if not plan.chosen:
        return _nothing_to_do(folder, plan)
    if not _agreed(plan, yes=args.yes):
        print("nothing was submitted")
        return EXIT_OK
    _keep_grid_file(folder, grid)
    return submit_specs(folder, plan.chosen, target, redo=redo)


def _check(args: argparse.Namespace) -> None:
    if args.json and not args.dry_run:
        raise UserError("--json: shows a plan only; add --dry-run")
    if args.confirm is None and args.per is not None:
        raise UserError("--per: goes with --confirm K, as in --confirm 2 --per model")
    if args.confirm is not None and args.confirm < 1:
        raise UserError(f"--confirm: expected a number of configurations above 0, got {args.confirm}")
    if args.name is not None and (args.name in ("", ".", "..") or "/" in args.name):
        raise UserError(f"--name: expected a folder name, got {args.name!r}")


def _refuse_container(grid: GridSpec) -> None:
    if grid.container:
        raise SpecError(
            f"{grid.source}: container: this version runs on the machine itself only, got {grid.container!r}; "
            "remove the key"
        )


def _narrow(
    grid: GridSpec, specs: Sequence[RunSpec], args: argparse.Namespace, history: Mapping[str, RunStatus]
) -> Sequence[RunSpec]:
    """Those of the grid's runs that the command line asks for, or fresh seeds of the best of them."""
    if args.confirm is not None:
        named = {spec.run_id for spec in specs}
        candidates = confirm.best_configurations(
            [status for status in history.values() if status.run_id in named], args.select, args.confirm, args.per
        )
        specs = confirm.fresh_runs(candidates, _seed_count(args.seeds))
    if args.only:
        wanted = parse_filter(args.only)
        wanted.check(sorted({*specs[0].settings.values(), "seed", "id"}) if specs else ())
        specs = [spec for spec in specs if wanted.matches(_fields(spec))]
    if not specs:
        raise SpecError(f"{grid.source}: no runs are left: look at exclude, when and --only")
    return specs


def _seed_count(text: str | None) -> int:
    if text is None:
        return 5
    if not text.isdigit() or int(text) < 1:
        raise UserError(f"--seeds: with --confirm expected a number of fresh seeds, got {text!r}")
    return int(text)


def _fields(spec: RunSpec) -> dict[str, Any]:
    return {**spec.settings.values(), "seed": spec.seed, "id": spec.run_id}


def _with_data(specs: Sequence[RunSpec], fallback: str | None, where: Path, *, download: bool) -> list[RunSpec]:
    """The runs with their data found or downloaded, or replaced by the fallback that the grid names."""
    names = sorted({_data_of(spec) for spec in specs} - {""})
    missing = {name for name in names if not _is_there(name, where, download=download, fallback=fallback)}
    for name in sorted(missing):
        print(f"DATA: {name} is not in {where} and could not be downloaded: these runs use {fallback} instead")
    return [_replace_data(spec, fallback) if _data_of(spec) in missing else spec for spec in specs]


def _data_of(spec: RunSpec) -> str:
    return str(spec.settings.values().get("data", ""))


def _is_there(name: str, where: Path, *, download: bool, fallback: str | None) -> bool:
    """Whether a data set is at hand; False only where there is a fallback.

    Raises:
        UserError: it is missing, cannot be downloaded, and the grid names no fallback.
    """
    if not staging.needs_files(name) or staging.find(name, where) is not None:
        return True
    if not download:
        print(f"note: {name} is not in {where}; submit would download it", file=sys.stderr)
        return True
    try:
        staging.stage(name, where)
    except UserError:
        if fallback is None or fallback == name:
            raise
        return False
    return True


def _replace_data(spec: RunSpec, name: str | None) -> RunSpec:
    return RunSpec(spec.task, spec.settings.model_copy(update={"data": name}), spec.seed)


def _target(grid: GridSpec, *, confirming: bool) -> Target:
    options = RunOptions(
        data_dir=str(data_dir()),
        checkpoint_every=grid.checkpoint_every,
        keep=grid.keep,
        purpose="confirm" if confirming else "search",
        commit=code_commit(),
        wandb=replace(grid.wandb, group=grid.wandb.group or grid.name),
    )
    return Target(resources=grid.resources, options=options)


def _print_plan(
    grid: GridSpec, folder: GridFolder, plan: Plan, history: Mapping[str, RunStatus], target: Target
) -> None:
    axes = " x ".join(f"{len(values)} {name}" for name, values in grid.axes().items() if len(values) > 1)
    print(f"{folder.name}: {len(plan.specs)} runs of task {grid.task}" + (f" ({axes})" if axes else ""))
    for state, count in plan.counts().items():
        print(f"  {state.value:<12}{count:>7}")
    for note in grid.notes:
        print(f"  note: {note}")
    if plan.others:
        print(f"  note: {plan.others} other runs in {folder.path} are not in this file; they are left alone")
    if plan.chosen:
        slots, note = choose.describe(target.on, target.slots, target.resources)
        seconds = estimate_seconds(plan.chosen, history.values(), slots)
        took = f", about {render_duration(seconds)}" if seconds is not None else ""
        print(f"  to submit   {len(plan.chosen):>7}   {note}{took}")


def _print_runs(plan: Plan) -> None:
    varying = _varying(plan.specs)
    header = ["run", "state", *varying]
    rows = [
        [spec.run_id, plan.states[spec.run_id].value, *(str(_fields(spec)[name]) for name in varying)]
        for spec in plan.specs
    ]
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in (header, *rows):
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def _varying(specs: Sequence[RunSpec]) -> list[str]:
    fields = [_fields(spec) for spec in specs]
    return [name for name in fields[0] if name != "id" and len({item[name] for item in fields}) > 1]


def _plan_form(folder: GridFolder, plan: Plan) -> dict[str, Any]:
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


def _nothing_to_do(folder: GridFolder, plan: Plan) -> int:
    print("nothing to submit")
    if any(plan.states[spec.run_id] in (RunState.FAILED, RunState.LOST) for spec in plan.specs):
        print(f"  failed and lost runs are repeated by --retry; why they ended: python -m jobs.status {folder.name}")
    return EXIT_OK


def _agreed(plan: Plan, *, yes: bool) -> bool:
    if plan.replaced and not ask(f"Throw away the results of {plan.replaced} finished runs and redo them?", yes=yes):
        return False
    return len(plan.chosen) <= MANY_RUNS or ask(f"Submit {len(plan.chosen):,} runs?", yes=yes)


def _keep_grid_file(folder: GridFolder, grid: GridSpec) -> None:
    """One copy of the file per distinct content, the first as `grid.yaml`."""
    folder.path.mkdir(parents=True, exist_ok=True)
    content = grid.text.encode()
    path = folder.path / "grid.yaml"
    if path.exists() and path.read_bytes() != content:
        path = folder.path / f"grid-{sha256(content).hexdigest()[:8]}.yaml"
    if not path.exists():
        write_whole(path, content)


def cli() -> None:
    """Entry point of the command."""
    sys.exit(run_command(main))


if __name__ == "__main__":
    cli()
