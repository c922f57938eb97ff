"""`python -m jobs.submit GRID.yaml`: plans a grid file and submits what is missing of it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from itertools import islice
from pathlib import Path

from anlp.core.command import make_parser, whole_number
from anlp.core.errors import EXIT_OK, SpecError, UserError, run_command
from anlp.core.filters import parse_filter
from anlp.core.spec import RunSpec
from anlp.records.files import write_whole
from anlp.records.folders import GridFolder
from anlp.records.options import RunOptions
from anlp.records.results import RunState
from jobs.common.git import code_commit
from jobs.common.terminal import ask_yes_no as ask
from jobs.common.units import count
from jobs.config.packing import Packing
from jobs.gridfile import GRID_NAME, Expansion, GridSpec, is_grid_name, load_grid
from jobs.runs.attempts import find_auto_retries
from jobs.runs.journal import Journal
from jobs.runs.locate import data_dir, runs_root
from jobs.runs.options import SubmitOptions
from jobs.runs.plan import Plan, count_strangers, make_plan
from jobs.runs.polling import JobPoller
from jobs.runs.queries import selection_metric
from jobs.runs.recovery import wait_for_orphans
from jobs.runs.status import Redo, RunStatus, read_states
from jobs.schedulers import registry
from jobs.schedulers.profiles import load_profile
from jobs.submission import variants
from jobs.submission.arguments import add_submit_arguments, override
from jobs.submission.batching import choose_canaries, passed_models
from jobs.submission.datasets import with_data
from jobs.submission.launch import submit_specs
from jobs.submission.submitter import writing_to
from jobs.submission.variants import resolve_init_from
from jobs.views.plan import (
    fields_of,
    plan_json,
    print_plan,
    print_runs,
    render_axes,
    say_nothing_to_do,
)

MANY_RUNS = 10_000  # more are submitted only after asking
MOST_RUNS = 200_000  # more cannot be meant, and would fill the memory

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
        "jobs.submit",
        "Expands a grid file into runs and submits those that are missing; safe to repeat.",
        EXAMPLES,
    )
    parser.add_argument("grid", type=Path, help="the grid file (YAML)")
    parser.add_argument(
        "-n", "--dry-run", action="store_true", help="show the plan and the runs, write nothing"
    )
    parser.add_argument("--json", action="store_true", help="with --dry-run: the plan as JSON")
    parser.add_argument("-y", "--yes", action="store_true", help="agree to every question")
    parser.add_argument("--name", help="name of the grid's folder (default: name of the file)")
    what = parser.add_argument_group("which runs")
    what.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="S=V[,V]",
        help="replaces a setting of the file",
    )
    what.add_argument("--seeds", metavar="N", help="number of seeds, or a list: 5 or 0,1,7")
    what.add_argument(
        "--only", metavar="FILTER", help="only runs that match, such as 'model=cnn lr<=0.01'"
    )
    what.add_argument(
        "--smoke",
        action="store_true",
        help="instead: one small run of each model, in a grid NAME-smoke",
    )
    what.add_argument("--retry", action="store_true", help="failed and lost runs, too")
    what.add_argument(
        "--replace", action="store_true", help="finished runs, too: their results are thrown away"
    )
    what.add_argument(
        "--confirm",
        type=whole_number(1),
        metavar="K",
        help="instead: the K best configurations with fresh seeds",
    )
    what.add_argument(
        "--per", metavar="SETTING", help="with --confirm: the K best for each value of this setting"
    )
    what.add_argument(
        "--select",
        metavar="METRIC",
        help="with --confirm: best by this metric (default: what the runs monitor)",
    )
    add_submit_arguments(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code.

    Raises:
        UserError: something that the person at the keyboard can put right.
    """
    args = make_arguments().parse_args(argv)
    _check(args)
    grid = load_grid(args.grid, overrides=args.set, seeds=None if args.confirm else args.seeds)
    folder = GridFolder(
        runs_root() / ((args.name or grid.name) + (variants.SUFFIX if args.smoke else ""))
    )
    inquiry = JobPoller(folder, fresh=True, tolerant=False, remember=not args.dry_run)
    history = _history(folder, args, inquiry)
    expansion = grid.expand()
    listed = _all_of(expansion, grid)
    asked = (
        variants.make_small(listed)
        if args.smoke
        else resolve_init_from(listed, runs_root(), is_dry=args.dry_run)
    )
    args.select = args.select or _monitored(history)
    is_wanted = _wanted(args, asked)
    needed = (
        is_wanted if args.confirm is None else _any
    )  # fresh seeds are of configurations, not of these runs
    named = with_data(
        asked, grid.fallback, data_dir(), download=not args.dry_run, say=_say, is_wanted=needed
    )
    specs = _narrow(grid, named, args, history, is_wanted)
    redo: Redo = "all" if args.replace else "failed" if args.retry else "none"
    target = override(_target(grid, confirming=args.confirm is not None), args)
    plan = make_plan(
        specs, history, redo, find_auto_retries(Journal(folder), history, target.options.retries)
    )
    if args.json:
        print(json.dumps(plan_json(folder, plan, history, target), indent=1))
        return EXIT_OK
    notes = [
        *expansion.notes(),
        *_strangers(named, history),
        *_repeats(plan),
        *_canaries(plan, history, target),
    ]
    notes += _image(target)
    if plan.chosen:
        target = _placed(target)
    print_plan(folder, plan, history, target, title=_title(grid, args), notes=notes)
    if args.dry_run:
        print_runs(plan)
        return EXIT_OK
    if not plan.chosen:
        say_nothing_to_do(folder, plan)
        return EXIT_OK
    if not _agreed(folder, plan, yes=args.yes):
        print("nothing was submitted")
        return EXIT_OK
    with writing_to(folder):
        _keep_grid_file(folder, grid)
    return submit_specs(folder, plan.chosen, target, redo=redo, query=inquiry.states)


def _check(args: argparse.Namespace) -> None:
    if args.json and not args.dry_run:
        raise UserError("--json: shows a plan only; add --dry-run")
    if args.confirm is None and args.per is not None:
        raise UserError("--per: goes with --confirm K, as in --confirm 2 --per model")
    if args.name is not None and not is_grid_name(args.name):
        raise UserError(f"--name: expected {GRID_NAME}, got {args.name!r}")


def _placed(target: SubmitOptions) -> SubmitOptions:
    """`target` with the scheduler that `auto` stands for, so that it is looked for once."""
    site = None if target.profile is None else load_profile(target.profile)
    return replace(target, on=registry.resolve_name(target.on, site))


def _history(
    folder: GridFolder, args: argparse.Namespace, inquiry: JobPoller
) -> Mapping[str, RunStatus]:
    if args.dry_run:
        return read_states(folder, inquiry.states, remember=False)
    return wait_for_orphans(folder, say=_say, query=inquiry.states)


def _all_of(expansion: Expansion, grid: GridSpec) -> list[RunSpec]:
    specs = list(islice(expansion, MOST_RUNS + 1))
    if len(specs) > MOST_RUNS:
        raise SpecError(
            f"{grid.source}: more than {MOST_RUNS:,} runs: shorten the lists, or draw from them with random and samples"
        )
    return specs


def _title(grid: GridSpec, args: argparse.Namespace) -> str:
    if args.confirm is None:
        return "" if args.only or args.smoke else render_axes(grid)
    group = f" of each {args.per}" if args.per else ""
    return f"the {args.confirm} best{group} by {args.select} with {count(_seed_count(args.seeds), 'fresh seed')}"


def _strangers(named: Sequence[RunSpec], history: Mapping[str, RunStatus]) -> Iterator[str]:
    if count := count_strangers(named, history):
        yield f"{count} other runs of this grid are not in this file; they are left alone"


def _repeats(plan: Plan) -> Iterator[str]:
    if plan.due and plan.redo == "none":
        yield f"{count(len(plan.due), 'lost run')} among them: their machines ended them (retries)"


def _canaries(plan: Plan, history: Mapping[str, RunStatus], target: SubmitOptions) -> Iterator[str]:
    if target.canary:
        first = choose_canaries(plan.chosen, passed_models(history.values()))
        several = 0 < len(first) < len(plan.chosen)
        yield (
            f"{count(len(first), 'canary run')} first, the rest if they pass"
            if several
            else "no canary is needed"
        )


def _image(target: SubmitOptions) -> Iterator[str]:
    if target.image is not None:
        yield f"in the image {target.image.path}" + (
            " with this checkout's code" if target.image.is_live else ""
        )


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _any(_: RunSpec) -> bool:
    return True


def _wanted(args: argparse.Namespace, specs: Sequence[RunSpec]) -> Callable[[RunSpec], bool]:
    """Whether a run is what `--only` asks for.

    Raises:
        SpecError: it asks for something that these runs do not have.
    """
    if not args.only:
        return _any
    wanted = parse_filter(args.only)
    wanted.check(sorted({*specs[0].settings.values(), "seed", "id"}) if specs else wanted.names)
    return lambda spec: wanted.matches(fields_of(spec))


def _narrow(
    grid: GridSpec,
    specs: list[RunSpec],
    args: argparse.Namespace,
    history: Mapping[str, RunStatus],
    is_wanted: Callable[[RunSpec], bool],
) -> list[RunSpec]:
    """Those of the grid's runs that the command line asks for, or fresh seeds of the best of them."""
    if args.confirm is not None:
        runs = variants.runs_of_configurations(history.values(), specs)
        candidates = variants.best_configurations(runs, args.select, args.confirm, args.per)
        used = {spec.seed for spec in specs} | variants.search_seeds(history.values())
        specs = variants.fresh_runs(candidates, _seed_count(args.seeds), used)
    specs = [spec for spec in specs if is_wanted(spec)]
    if not specs:
        raise SpecError(f"{grid.source}: no runs are left: look at exclude, when and --only")
    return specs


def _monitored(history: Mapping[str, RunStatus]) -> str:
    """What finished runs were told to select by; accuracy where there are none, or where they do not agree."""
    return (
        selection_metric([status for status in history.values() if status.state is RunState.DONE])
        or "val/acc"
    )


def _seed_count(text: str | None) -> int:
    if text is None:
        return 5
    number = int(text) if text.isdecimal() and len(text) < 6 else 0
    if number < 1:
        raise UserError(
            f"--seeds: with --confirm expected a number of fresh seeds, got {text!r:.60}"
        )
    return number


def _target(grid: GridSpec, *, confirming: bool) -> SubmitOptions:
    options = RunOptions(
        data_dir=str(data_dir()),
        checkpoint_every=grid.checkpoint_every,
        keep=grid.keep,
        predictions=grid.predictions,
        stop_after=grid.stop_after,
        retries=grid.retries,
        purpose="confirm" if confirming else "search",
        commit=code_commit(),
        wandb=replace(grid.wandb, group=grid.wandb.group or grid.name),
    )
    packing = Packing(grid.pack, grid.chain)
    return SubmitOptions(
        resources=grid.resources, options=options, packing=packing, container=grid.container
    )


def _agreed(folder: GridFolder, plan: Plan, *, yes: bool) -> bool:
    replaced = plan.replaced
    if (
        plan.redo == "all"
    ):  # results that no journal or batch file speaks of any more are results, too
        unknown = [spec for spec in plan.chosen if plan.states[spec.run_id] is RunState.NEW]
        replaced += sum(folder.run(spec.run_id).result.exists() for spec in unknown)
    if replaced and not ask(
        f"Throw away the results of {replaced} finished runs and redo them?", yes=yes
    ):
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
    sys.exit(run_command(main, outlives_reader=True))


if __name__ == "__main__":
    cli()
