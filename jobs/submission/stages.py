"""The stages of a submit: expand the grid, choose runs, place them, show the plan, submit."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from textwrap import indent

from anlp.core.errors import EXIT_OK, SpecError
from anlp.core.files import make_folder, write_whole
from anlp.core.filters import parse_filter
from anlp.core.spec import SEED, RunSpec
from anlp.core.units import count, digits_apart
from anlp.records.folders import GridFolder, data_dir, runs_root
from anlp.records.options import RunOptions
from anlp.records.results import RunState
from jobs.common.git import code_commit
from jobs.common.terminal import ask_yes_no
from jobs.common.text import render_pairs
from jobs.config.packing import Packing
from jobs.gridfile import GridSpec, load_grid
from jobs.runs.attempts import find_auto_retries, keep_endings
from jobs.runs.journal import Journal, writing_to
from jobs.runs.options import SubmitOptions
from jobs.runs.plan import Plan, count_strangers, make_plan
from jobs.runs.queries import selection_metric
from jobs.runs.recovery import wait_for_orphans
from jobs.runs.status import Query, RunStatus, read_states
from jobs.schedulers import registry
from jobs.schedulers.profiles import load_profile
from jobs.submission import variants
from jobs.submission.arguments import names_image, override
from jobs.submission.batching import choose_canaries, passed_models
from jobs.submission.datasets import with_data
from jobs.submission.launch import submit_specs
from jobs.submission.program import beside_of_copy, note_program, with_program
from jobs.submission.request import Confirmation, SubmitRequest
from jobs.submission.reuse import Elsewhere, find_elsewhere, note_elsewhere, take_results
from jobs.views.plan import (
    fields_of,
    plan_json,
    print_plan,
    print_runs,
    render_product,
    say_nothing_to_do,
)

MANY_RUNS = 10_000  # more are submitted only after asking
MOST_RUNS = 200_000  # more are a mistake, and would fill the memory

History = Mapping[str, RunStatus]
IsWanted = Callable[[RunSpec], bool]


@dataclass(frozen=True, slots=True)
class ExpandedGrid:
    """A grid file, the folder of its grid, and the runs that the file names."""

    grid: GridSpec
    folder: GridFolder
    specs: Sequence[RunSpec]
    notes: tuple[str, ...]  # what may be a mistake in the file
    product: str  # where the runs come from, in words


@dataclass(frozen=True, slots=True)
class ChosenRuns:
    """The runs that a request asks for, with what was submitted before."""

    specs: Sequence[RunSpec]
    history: History
    title: str
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PlacedRuns:
    """What would be submitted, where and how."""

    folder: GridFolder
    grid: GridSpec
    plan: Plan
    history: History
    target: SubmitOptions
    title: str
    notes: tuple[str, ...]
    taken: Elsewhere = field(default_factory=dict)  # results of other grids that are taken over


def expand(request: SubmitRequest) -> ExpandedGrid:
    """Read the grid file and list its runs.

    Raises:
        SpecError: the file or what was given over it has faults, or it names too many runs.
    """
    seeds = None if request.confirm else request.seeds
    grid = load_grid(
        request.source,
        overrides=request.settings,
        seeds=seeds,
        in_image=names_image(request.overrides),
        beside=beside_of_copy(request.source),
    )
    if request.grid_name:
        grid = replace(grid, name=request.grid_name)
    folder = request.folder(grid.name)
    expansion = grid.expand(MOST_RUNS)
    if request.smoke:
        smoke = {} if grid.program is None else grid.program.smoke
        specs = variants.make_small(expansion.runs, smoke)
    else:
        specs = variants.resolve_init_from(expansion.runs, runs_root(), is_dry=request.dry_run)
    product = render_product(grid, expansion)
    return ExpandedGrid(grid, folder, specs, expansion.notes, product)


def read_history(request: SubmitRequest, folder: GridFolder, query: Query) -> History:
    """Return the status of the runs submitted before; a dry run writes nothing."""
    if request.dry_run:
        return read_states(folder, query, remember=False)
    history = wait_for_orphans(folder, say=say, query=query)
    keep_endings(folder, history.values())
    return history


def choose(request: SubmitRequest, expanded: ExpandedGrid, history: History) -> ChosenRuns:
    """Choose the runs that the request asks for, or fresh seeds of the best, with their data found.

    Raises:
        SpecError: the filter names something unknown, or no run is left.
        UserError: data is missing.
    """
    is_wanted = _parse_only(request.only, expanded.specs)
    named = with_data(
        expanded.specs,
        expanded.grid.fallback,
        data_dir(),
        download=not request.dry_run,
        say=say,
        # fresh seeds are of configurations, not of these runs: their data is needed whole
        is_wanted=is_wanted if request.confirm is None else _any,
    )
    confirmed: tuple[str, ...] = ()
    if request.confirm is None:
        specs = named
        title = "" if request.only or request.smoke else expanded.product
    else:
        confirm = _with_metric(request.confirm, history)
        best = _best_configurations(confirm, named, history)
        confirmed = _note_confirmed(confirm, best, expanded.grid)
        used = {spec.seed for spec in named} | variants.search_seeds(history.values())
        specs = variants.fresh_runs(best, confirm.seeds, used)
        title = _confirm_title(confirm)
    specs = [spec for spec in specs if is_wanted(spec)]
    if not specs:
        raise SpecError(
            f"{expanded.grid.source}: no runs are left: look at exclude, when and --only"
        )
    notes = (*expanded.notes, *confirmed, *_note_strangers(named, history))
    return ChosenRuns(specs, history, title, notes)


def place(request: SubmitRequest, expanded: ExpandedGrid, chosen: ChosenRuns) -> PlacedRuns:
    """Plan what is missing of the chosen runs, and where and how it is carried out.

    Raises:
        UserError: there is no such scheduler, profile or image.
    """
    folder, history = expanded.folder, chosen.history
    options = _grid_options(expanded.grid, is_confirming=request.confirm is not None)
    target = override(options, request.overrides)
    due = find_auto_retries(Journal(folder), history, target.options.retries)
    plan = make_plan(chosen.specs, history, request.redo, due)
    elsewhere = _find_elsewhere(request, folder, plan)
    if request.reuse:
        plan = replace(plan, chosen=tuple(s for s in plan.chosen if s.run_id not in elsewhere))
    where = ""
    if plan.chosen and not request.as_json:
        asked, target = target.on, _resolve_scheduler(target)
        where = registry.note_of_machine(asked, target.on)
    notes = (
        *chosen.notes,
        *_note_repeats(plan),
        *_note_canaries(plan, history, target),
        *_note_image(target),
        *_note_program(expanded.grid, plan, history),
        *filter(None, [where]),
        *note_elsewhere(elsewhere, is_taken=request.reuse),
    )
    taken = elsewhere if request.reuse else {}
    return PlacedRuns(folder, expanded.grid, plan, history, target, chosen.title, notes, taken)


def _find_elsewhere(request: SubmitRequest, folder: GridFolder, plan: Plan) -> Elsewhere:
    """Return the results that other grids have of runs that are new here."""
    if request.redo == "all":
        return {}
    new = {spec.run_id for spec in plan.chosen if plan.states[spec.run_id] is RunState.NEW}
    return find_elsewhere(folder, new)


def show(request: SubmitRequest, placed: PlacedRuns) -> None:
    """Print the plan: as JSON, with every run for a dry run, or as counts."""
    folder, plan, history, target = placed.folder, placed.plan, placed.history, placed.target
    if request.as_json:
        print(json.dumps(plan_json(folder, plan, history, target), indent=1))
        return
    if placed.grid.is_of_sweep:
        print(f"{placed.grid.source} means this grid file:\n\n{indent(placed.grid.text, '  ')}")
    print_plan(folder, plan, history, target, title=placed.title, notes=placed.notes)
    if request.dry_run:
        print_runs(plan)
    elif not (plan.chosen or placed.taken):
        say_nothing_to_do(folder, plan)


def submit(request: SubmitRequest, placed: PlacedRuns, query: Query) -> int:
    """Submit the plan, after asking where results are thrown away or the runs are very many.

    Returns:
        0, 1 if a run failed or was lost, 130 if it was stopped.

    Raises:
        SchedulerError: the scheduler did not take the runs.
        UserError: another command holds the grid, or its folder cannot be written.
    """
    folder, plan = placed.folder, placed.plan
    if not _is_agreed(folder, plan, yes=request.yes):
        print("nothing was submitted")
        return EXIT_OK
    target = placed.target
    with writing_to(folder):
        _keep_grid_file(folder, placed.grid)
        if placed.grid.program is not None and plan.chosen:
            target = with_program(folder, placed.grid.program.program, target, say)
    if placed.taken:
        taken = take_results(folder, plan.specs, placed.taken, placed.target.options)
        print(f"{folder.name}: {count(taken, 'result')} taken from other grids")
        if not plan.chosen:
            return EXIT_OK
    return submit_specs(folder, plan.chosen, target, redo=plan.redo, query=query)


def say(text: str) -> None:
    """Print on stderr what is no part of the plan."""
    print(text, file=sys.stderr)


def _parse_only(only: str, specs: Sequence[RunSpec]) -> IsWanted:
    """Return whether a run is what `--only` asks for.

    Raises:
        SpecError: it asks for something that these runs do not have.
    """
    if not only:
        return _any
    wanted = parse_filter(only)
    known = sorted({*specs[0].settings.values(), "seed", "id"}) if specs else wanted.names
    wanted.check(known)
    return lambda spec: wanted.matches(fields_of(spec))


def _any(_: RunSpec) -> bool:
    return True


def _with_metric(confirm: Confirmation, history: History) -> Confirmation:
    """Add the metric that the finished runs monitor, where none was named."""
    if confirm.metric:
        return confirm
    done = [status for status in history.values() if status.state is RunState.DONE]
    return replace(confirm, metric=selection_metric(done) or "val/acc")


def _best_configurations(
    confirm: Confirmation, named: Sequence[RunSpec], history: History
) -> list[variants.Candidate]:
    runs = variants.runs_of_configurations(history.values(), named)
    return variants.best_configurations(runs, confirm.metric, confirm.top, confirm.per)


def _note_confirmed(
    confirm: Confirmation, best: Sequence[variants.Candidate], grid: GridSpec
) -> tuple[str, ...]:
    """Say which configurations are confirmed: what varies in the grid, and how good they were."""
    names = [name for name in grid.axes() if name != SEED]
    found = []
    for candidate in best:
        settings = candidate.settings
        values = {name: settings.values()[name] for name in names if settings.applies(name)}
        score = f"{confirm.metric} {candidate.score:.4f} over {count(candidate.n, 'seed')}"
        found.append(f"confirms {render_pairs(values) or 'the one configuration'} ({score})")
    return tuple(found)


def _confirm_title(confirm: Confirmation) -> str:
    group = f" of each {confirm.per}" if confirm.per else ""
    seeds = count(confirm.seeds, "fresh seed")
    return f"the {confirm.top} best{group} by {confirm.metric} with {seeds}"


def _grid_options(grid: GridSpec, *, is_confirming: bool) -> SubmitOptions:
    """Return what the grid file says about where and how."""
    axes = {name: values for name, values in grid.axes().items() if name != SEED}
    options = RunOptions(
        varying=tuple(axes),
        digits=digits_apart(axes.values()),
        data_dir=str(data_dir()),
        checkpoint_every=grid.checkpoint_every,
        keep=grid.keep,
        predictions=grid.predictions,
        stop_after=grid.stop_after,
        retries=grid.retries,
        purpose="confirm" if is_confirming else "search",
        commit=code_commit(),
        wandb=replace(grid.wandb, group=grid.wandb.group or grid.name),
    )
    packing = Packing(grid.pack, grid.chain)
    return SubmitOptions(
        resources=grid.resources, options=options, packing=packing, container=grid.container
    )


def _resolve_scheduler(target: SubmitOptions) -> SubmitOptions:
    """Replace `auto` by the scheduler that it stands for, so that it is looked for once."""
    site = None if target.profile is None else load_profile(target.profile)
    return replace(target, on=registry.resolve_name(target.on, site))


def _note_strangers(named: Sequence[RunSpec], history: History) -> Iterator[str]:
    if strangers := count_strangers(named, history):
        yield f"{strangers} other runs of this grid are not in this file; they are left alone"


def _note_repeats(plan: Plan) -> Iterator[str]:
    if plan.due and plan.redo == "none":
        yield f"{count(len(plan.due), 'lost run')} among them: their machines ended them (retries)"


def _note_canaries(plan: Plan, history: History, target: SubmitOptions) -> Iterator[str]:
    if not target.canary:
        return
    first = choose_canaries(plan.chosen, passed_models(history.values()))
    if 0 < len(first) < len(plan.chosen):
        yield f"{count(len(first), 'canary run')} first, the rest if they pass"
    else:
        yield "no canary is needed"


def _note_image(target: SubmitOptions) -> Iterator[str]:
    if target.image is not None:
        code = " with this checkout's code" if target.image.is_live else ""
        yield f"in the image {target.image.path}{code}"


def _note_program(grid: GridSpec, plan: Plan, history: History) -> Iterator[str]:
    if grid.program is not None:
        if grid.program.note:
            yield grid.program.note
        yield from note_program(grid.program.program, plan.specs, history.values())


def _is_agreed(folder: GridFolder, plan: Plan, *, yes: bool) -> bool:
    replaced = plan.replaced
    if plan.redo == "all":  # also results that journal and batch files no longer name
        unknown = [spec for spec in plan.chosen if plan.states[spec.run_id] is RunState.NEW]
        replaced += sum(folder.run(spec.run_id).result.exists() for spec in unknown)
    if replaced and not ask_yes_no(
        f"Throw away the results of {replaced} finished runs and redo them?", yes=yes
    ):
        return False
    return len(plan.chosen) <= MANY_RUNS or ask_yes_no(
        f"Submit {len(plan.chosen):,} runs?", yes=yes
    )


def _keep_grid_file(folder: GridFolder, grid: GridSpec) -> None:
    """Keep one copy of the file per distinct content, the first as `grid.yaml`."""
    make_folder(folder.path)
    content = grid.text.encode()
    path = folder.path / "grid.yaml"
    if path.exists() and path.read_bytes() != content:
        path = folder.path / f"grid-{sha256(content).hexdigest()[:8]}.yaml"
    if not path.exists():
        write_whole(path, content)
