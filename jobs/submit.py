"""`python -m jobs.submit GRID`: plans a grid file and submits its missing runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from anlp.console.command import (
    add_dry_run,
    add_filter,
    add_grid,
    add_json,
    add_yes,
    make_parser,
    run_command,
    whole_number,
)
from anlp.core.errors import EXIT_OK, OTHER_NAMES, UserError
from anlp.tasks import TASKS
from jobs.runs.batches import Redo
from jobs.runs.polling import JobPoller
from jobs.submission.arguments import add_submit_arguments, read_overrides
from jobs.submission.as_grid import write_as_grid
from jobs.submission.request import (
    Confirmation,
    SubmitRequest,
    check_grid_name,
    find_grid_file,
    parse_seed_count,
)
from jobs.submission.stages import choose, expand, place, read_history, show, submit

EXAMPLES = """\
  python -m jobs.submit grids/mnist.yaml                       train what is missing of the grid
  python -m jobs.submit mnist -n                               only show the plan and the runs
  python -m jobs.submit mnist --only 'model=cnn lr<=0.01'
  python -m jobs.submit mnist --set epochs=5 --set lr=0.01,0.001 --seeds 3
  python -m jobs.submit mnist --retry                          failed and lost runs, too
  python -m jobs.submit mnist --confirm 2 --per model --seeds 5
                                    the two best of each model with five fresh seeds"""


def make_arguments() -> argparse.ArgumentParser:
    """Return the command line of submit."""
    parser = make_parser(
        "jobs.submit",
        "Expands a grid file into runs and submits those that are missing; safe to repeat.",
        EXAMPLES,
    )
    parser.instead_of = _setting_option
    add_grid(parser)
    add_dry_run(parser, "show the plan and the runs, write nothing")
    add_json(parser, "the plan (with --dry-run)")
    add_yes(parser)
    parser.add_argument("--name", help="name of the grid's folder (default: name of the file)")
    _add_choice(parser)
    _add_translation(parser)
    add_submit_arguments(parser)
    return parser


def _setting_option(name: str, value: str) -> str:
    """Return the option that an unknown one stands for: `--lr 0.1` is `--set lr=0.1`."""
    name = name.replace("-", "_")
    name = OTHER_NAMES.get(name, name)
    is_known = any(name in task.settings.model_fields for task in TASKS.values())
    return f"--set {name}={value or 'VALUE'}" if is_known else ""


def _add_translation(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("sweep files of wandb")
    group.add_argument(
        "--as-grid",
        action="store_true",
        help="instead: print the grid file that a sweep file means",
    )
    group.add_argument(
        "-o", "--out", type=Path, metavar="FILE", help="with --as-grid: write it to this file"
    )


def _add_choice(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say which runs."""
    group = parser.add_argument_group("which runs")
    group.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="S=V[,V]",
        help="replaces a setting of the file",
    )
    group.add_argument("--seeds", metavar="N", help="number of seeds, or a list: 5 or 0,1,7")
    add_filter(group)
    group.add_argument(
        "--smoke",
        action="store_true",
        help="instead: one small run of each model, in a grid NAME-smoke",
    )
    group.add_argument("--retry", action="store_true", help="failed and lost runs, too")
    group.add_argument(
        "--replace", action="store_true", help="finished runs, too: their results are thrown away"
    )
    group.add_argument(
        "--reuse",
        action="store_true",
        help="take results of equal runs from other grids of the runs folder, instead of training",
    )
    group.add_argument(
        "--confirm",
        type=whole_number(1),
        metavar="K",
        help="instead: the K best configurations with fresh seeds",
    )
    group.add_argument(
        "--per", metavar="SETTING", help="with --confirm: the K best for each value of this setting"
    )
    group.add_argument(
        "--select",
        default="",
        metavar="METRIC",
        help="with --confirm: best by this metric (default: what the runs monitor)",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code.

    Raises:
        UserError: something that the user can fix.
    """
    args = make_arguments().parse_args(argv)
    if args.as_grid:
        return _translate(args)
    request = read_request(args)
    expanded = expand(request)
    folder = expanded.folder
    poller = JobPoller.for_dry_run(folder) if request.dry_run else JobPoller.for_changing(folder)
    chosen = choose(request, expanded, read_history(request, folder, poller.states))
    placed = place(request, expanded, chosen)
    show(request, placed)
    if request.dry_run or not (placed.plan.chosen or placed.taken):
        return EXIT_OK
    return submit(request, placed, poller.states)


def _translate(args: argparse.Namespace) -> int:
    for name, value in (("--set", args.set), ("--seeds", args.seeds), ("--only", args.only)):
        if value:
            raise UserError(f"--as-grid: shows the file as it is; leave out {name}")
    source, _ = find_grid_file(args.grid)
    write_as_grid(source, args.out)
    return EXIT_OK


def read_request(args: argparse.Namespace) -> SubmitRequest:
    """Return what the command line asks for.

    Raises:
        UserError: arguments contradict each other, or there is no such grid file.
    """
    if args.out is not None:
        raise UserError("--out: goes with --as-grid")
    if args.json and not args.dry_run:
        raise UserError("--json: shows a plan only; add --dry-run")
    if args.reuse and args.replace:
        raise UserError("--reuse: keeps results, and --replace throws them away; give one of them")
    if args.confirm is None and args.per is not None:
        raise UserError("--per: goes with --confirm K, as in --confirm 2 --per model")
    source, grid_name = find_grid_file(args.grid)
    return SubmitRequest(
        source=source,
        name=check_grid_name(args.name),
        grid_name=grid_name,
        settings=tuple(args.set),
        seeds=args.seeds,
        only=args.only,
        smoke=args.smoke,
        redo=_redo(args),
        reuse=args.reuse,
        confirm=_confirmation(args),
        overrides=read_overrides(args),
        dry_run=args.dry_run,
        yes=args.yes,
        as_json=args.json,
    )


def _redo(args: argparse.Namespace) -> Redo:
    if args.replace:
        return "all"
    return "failed" if args.retry else "none"


def _confirmation(args: argparse.Namespace) -> Confirmation | None:
    if args.confirm is None:
        return None
    return Confirmation(args.confirm, args.per, args.select, parse_seed_count(args.seeds))


def cli() -> int:
    """Return the exit code of the command."""
    return run_command(main, outlives_reader=True)


if __name__ == "__main__":
    sys.exit(cli())
