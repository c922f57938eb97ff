"""`python -m jobs.retry GRID`: submits failed and lost runs again, with more where it was short."""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from anlp.console.align import align
from anlp.console.command import (
    add_dry_run,
    add_filter,
    add_grid,
    add_json,
    add_yes,
    make_parser,
    run_command,
)
from anlp.core.errors import EXIT_OK, UserError
from anlp.core.units import count, parse_memory, parse_walltime
from anlp.records.folders import GridFolder, find_grid
from anlp.records.results import RunState
from jobs.common.terminal import Canvas, ask_yes_no, canvas_of
from jobs.config.resources import Resources
from jobs.runs.attempts import (
    SubmittedAttempt,
    SubmittedAttempts,
    find_bad_nodes,
    has_progressed,
    read_attempts,
)
from jobs.runs.failures import FAILURES, group_failures
from jobs.runs.journal import Journal
from jobs.runs.options import last_options
from jobs.runs.polling import JobPoller
from jobs.runs.queries import MANY_RUNS, narrow, read_grid, spec_of
from jobs.runs.status import RunStatus
from jobs.schedulers import registry
from jobs.submission.arguments import (
    Overrides,
    add_submit_arguments,
    override,
    override_resources,
    parsed,
    read_overrides,
)
from jobs.submission.launch import submit_specs
from jobs.submission.program import with_present_code
from jobs.submission.retry_policy import FailedRun, Policy, RetryDecision, decide

EXAMPLES = """\
  python -m jobs.retry mnist -n             what would be done about each failure, and why
  python -m jobs.retry mnist                do it
  python -m jobs.retry mnist --only state=lost --mem 16G
  python -m jobs.retry mnist --only 'batch_size=4096' --force"""


def make_arguments() -> argparse.ArgumentParser:
    """Return the command line of retry."""
    parser = make_parser(
        "jobs.retry",
        "Submits failed and lost runs again, each with the resources that its failure calls for; "
        "they continue from their checkpoints.",
        EXAMPLES,
    )
    add_grid(parser)
    add_filter(parser)
    add_dry_run(parser, "show what would be done, submit nothing")
    add_json(parser, "what would be done (with --dry-run)")
    add_yes(parser)
    parser.add_argument("--force", action="store_true", help="repeat what would fail again, too")
    parser.add_argument(
        "--most-mem",
        metavar="M",
        help="memory that no run gets more of (default: 4 times the grid's)",
    )
    parser.add_argument(
        "--most-time",
        metavar="T",
        help="time that no run gets more of (default: 4 times the grid's)",
    )
    add_submit_arguments(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0, or 1 if a run failed again.

    Raises:
        UserError: something that the user can fix.
    """
    args = make_arguments().parse_args(argv)
    if args.json and not args.dry_run:
        raise UserError("--json: shows a plan only; add --dry-run")
    folder = find_grid(args.grid)
    poller = JobPoller.for_dry_run(folder) if args.dry_run else JobPoller.for_changing(folder)
    every = read_grid(folder, poller.states)
    statuses = narrow(every, args.only)
    given = read_overrides(args)
    target = override(last_options(folder), given)
    failed = [status for status in statuses if status.state in FAILURES]
    rows = _decide(folder, every, failed, _read_policy(args, given), given)
    if args.json:
        print(json.dumps(_plan_json(folder, rows), indent=1))
        return EXIT_OK
    _print_rows(folder, rows, statuses, canvas_of(sys.stdout))
    asks = {run_id: ask for row in rows for run_id, ask in row.asks.items() if ask is not None}
    if not asks or args.dry_run:
        return EXIT_OK
    if len(asks) > MANY_RUNS and not ask_yes_no(
        f"Submit these {len(asks)} runs again?", yes=args.yes
    ):
        print("nothing was submitted")
        return EXIT_OK
    found = [spec_of(status) for status in statuses if status.run_id in asks]
    specs = [spec for spec in found if spec is not None]
    target = with_present_code(folder, target, print)
    return submit_specs(folder, specs, target, redo="failed", asks=asks, query=poller.states)


@dataclass(frozen=True, slots=True)
class Row:
    """Runs that ended alike, with what is done about them."""

    cause: str
    action: str
    why: str
    asks: Mapping[str, Resources | None]  # by run id; None, for all of them: they are left

    @property
    def is_left(self) -> bool:
        """Return whether nothing is done."""
        return None in self.asks.values()


def _decide(
    folder: GridFolder,
    every: Sequence[RunStatus],
    broken: Sequence[RunStatus],
    policy: Policy,
    given: Overrides,
) -> list[Row]:
    """Return what is done about the failed and lost runs, the largest group of failures first."""
    trials = read_attempts(folder, Journal(folder).submissions()) if broken else {}
    policy = replace(policy, bad_nodes=find_bad_nodes(every, trials))
    rows: dict[tuple[str, str, str], dict[str, Resources | None]] = defaultdict(dict)
    for group in group_failures(every, broken):
        for status in group.runs:
            remedy = _remedy(status, trials, policy, given)
            rows[group.title, remedy.action, remedy.why][status.run_id] = remedy.ask
    return [Row(cause, action, why, asks) for (cause, action, why), asks in rows.items()]


def _read_policy(args: argparse.Namespace, given: Overrides) -> Policy:
    most_mem_mib, most_walltime_min = None, None
    if args.most_mem:
        most_mem_mib = parsed("--most-mem", parse_memory, args.most_mem)
    if args.most_time:
        most_walltime_min = parsed("--most-time", parse_walltime, args.most_time)
    return Policy(
        force=args.force,
        mem_mib=given.resources.get("mem_mib"),
        walltime_min=given.resources.get("walltime_min"),
        most_mem_mib=most_mem_mib,
        most_walltime_min=most_walltime_min,
    )


def _remedy(
    status: RunStatus, trials: SubmittedAttempts, policy: Policy, given: Overrides
) -> RetryDecision:
    """Return what is done about a run, with what the command line says about every run."""
    case = _case(status, trials[status.run_id])
    before = status.handle.scheduler if status.handle else ""
    where = before if given.on == "auto" else given.on
    remedy = decide(case, replace(policy, can_exclude=registry.can_exclude_nodes(where)))
    if remedy.ask is None:
        return remedy
    return replace(remedy, ask=override_resources(remedy.ask, given))


def _case(status: RunStatus, trials: Sequence[SubmittedAttempt]) -> FailedRun:
    last = trials[-1]
    progressed = has_progressed(status.folder, last.tag)
    return FailedRun(
        status, trials[0].asked, last.asked, progressed, shared_device=last.at_once > 1
    )


def _print_rows(
    folder: GridFolder, rows: Sequence[Row], statuses: Sequence[RunStatus], canvas: Canvas
) -> None:
    print(f"{folder.name}: {_summary(rows, statuses)}")
    if rows:
        cells = [(row.cause, f"{len(row.asks)}", row.action, row.why) for row in rows]
        heading, *lines = align([("cause", "runs", "what is done", "why"), *cells])
        print(canvas.paint(f"  {heading}", "bold"))
        for row, line in zip(rows, lines, strict=True):
            # not clipped on narrow terminals: it ends with what to do
            print(canvas.paint(f"  {line}", "yellow" if row.is_left else "cyan"))


def _summary(rows: Sequence[Row], statuses: Sequence[RunStatus]) -> str:
    repeated = sum(len(row.asks) for row in rows if not row.is_left)
    left = sum(len(row.asks) for row in rows if row.is_left)
    stopped = sum(status.state is RunState.INTERRUPTED for status in statuses)
    note = f"; {stopped} interrupted: any submit of the grid continues them" if stopped else ""
    if not rows:
        return f"no run failed or was lost{note}"
    return f"{count(repeated, 'run')} to repeat{f', {left} left' if left else ''}{note}"


def _plan_json(folder: GridFolder, rows: Sequence[Row]) -> dict[str, Any]:
    """Return the value that `--json` prints."""
    return {
        "grid": folder.name,
        "repeated": sum(len(row.asks) for row in rows if not row.is_left),
        "left": sum(len(row.asks) for row in rows if row.is_left),
        "remedies": [
            {
                "cause": row.cause,
                "action": row.action,
                "why": row.why,
                "runs": [
                    {"id": run_id, "resources": ask and asdict(ask)}
                    for run_id, ask in row.asks.items()
                ],
            }
            for row in rows
        ],
    }


def cli() -> int:
    """Return the exit code of the command."""
    return run_command(main, outlives_reader=True)


if __name__ == "__main__":
    sys.exit(cli())
