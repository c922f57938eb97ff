"""`python -m jobs.sync GRID`: sends the runs that were mirrored offline to the wandb server.

Several processes (`anlp.tracking.upload`) work side by side; each sends what the server lacks and
marks each run that is done. After a kill the next call continues; repeated, it finds nothing to do.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anlp.console.command import (
    add_dry_run,
    add_filter,
    add_grid,
    add_json,
    make_parser,
    run_command,
    whole_number,
)
from anlp.console.progress import Progress
from anlp.core.errors import EXIT_OK, EXIT_RUNS_FAILED, EXIT_USAGE, UserError
from anlp.records.folders import GridFolder, RunFolder, find_grid
from anlp.records.wandb_offline import PATTERN, is_live, pending_copies, project_url
from jobs.common.external import Answer, run
from jobs.runs.polling import JobPoller
from jobs.runs.queries import narrow, read_grid

EXAMPLES = """\
  python -m jobs.sync mnist            what the server does not have yet
  python -m jobs.sync mnist -n         only say what that is
  python -m jobs.sync mnist --jobs 8   eight uploads at a time"""

WORKERS = 4
SHARE = 10  # runs per process: a start takes a second, a stop waits for what was begun
SHARE_TIMEOUT_S = 3600.0
REASONS_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of one run."""

    run_id: str
    state: str  # uploaded, left out, failed
    reason: str


def make_arguments() -> argparse.ArgumentParser:
    """Return the command line of sync."""
    parser = make_parser(
        "jobs.sync", "Sends runs that were mirrored offline to the wandb server.", EXAMPLES
    )
    add_grid(parser)
    add_filter(parser)
    add_dry_run(parser, "say what would be uploaded, and upload nothing")
    parser.add_argument(
        "--jobs",
        type=whole_number(1, 100),
        default=WORKERS,
        metavar="N",
        help="uploads at a time (%(default)s)",
    )
    add_json(parser, "what became of each run")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0, or 1 if an upload failed.

    Raises:
        UserError: there is no such grid, no key, or no server answers.
    """
    options = make_arguments().parse_args(argv)
    folder = find_grid(options.grid)
    waiting = _narrow(folder, offline_runs(folder), options.only)
    live = [found for found in waiting if is_live(found)]
    todo = [found for found in waiting if found not in live]
    sent = [Sent(found.run_id, "left out", "it is still running") for found in live]
    if not options.dry_run:
        with Progress("uploading runs", len(todo)) as progress:
            sent += progress.over(upload_all(todo, options.jobs))
    if options.json:
        print(json.dumps(_outcome_json(folder, todo, sent), indent=1))
    else:
        _print_screen(folder, todo if options.dry_run else [], sent)
    return EXIT_RUNS_FAILED if any(one.state == "failed" for one in sent) else EXIT_OK


def _narrow(folder: GridFolder, waiting: list[RunFolder], only: str) -> list[RunFolder]:
    """Return those of `waiting` that the filter matches; without one no state is looked up."""
    if not only:
        return waiting
    poller = JobPoller.for_viewing(folder)
    chosen = {status.run_id for status in narrow(read_grid(folder, poller.states), only)}
    return [found for found in waiting if found.run_id in chosen]


def offline_runs(folder: GridFolder) -> list[RunFolder]:
    """Return the runs of a grid that have something to upload, in the order of their ids."""
    found = sorted({copy.parent.parent.name for copy in folder.path.glob(f"*/wandb/{PATTERN}")})
    return [folder.run(run_id) for run_id in found if pending_copies(folder.run(run_id))]


def upload_all(folders: Sequence[RunFolder], workers: int) -> Iterator[Sent]:
    """Send runs, `workers` processes at a time; yield the outcome of each when its process ends.

    Raises:
        UserError: nothing can be uploaded from here; nothing new is begun then.
    """
    size = max(1, min(SHARE, -(-len(folders) // workers)))
    shares = [folders[start : start + size] for start in range(0, len(folders), size)]
    pool = ThreadPoolExecutor(workers)
    try:
        for done in as_completed([pool.submit(upload_share, share) for share in shares]):
            yield from done.result()
    finally:
        pool.shutdown(cancel_futures=True)


def upload_share(folders: Sequence[RunFolder]) -> list[Sent]:
    """Send a few runs in one process.

    Raises:
        UserError: no key, or no server answers.
    """
    argv = [
        sys.executable,
        "-m",
        "anlp.tracking.upload",
        "--json",
        *(str(folder.path) for folder in folders),
    ]
    answer = run(argv, timeout_s=SHARE_TIMEOUT_S)
    if answer.code == EXIT_USAGE:
        raise UserError(answer.err.strip())
    told = parse_answer(answer)
    return [told.get(str(folder.path)) or _untold(folder, answer) for folder in folders]


def parse_answer(answer: Answer) -> dict[str, Sent]:
    """Return what an uploading process said of each run, by path; skip other lines."""
    found = {}
    for line in answer.out.splitlines():
        told = _parse_line(line)
        if told is not None:
            path, sent = told
            found[path] = sent
    return found


def _parse_line(line: str) -> tuple[str, Sent] | None:
    try:
        form = json.loads(line)
        return form["run"], Sent(Path(form["run"]).name, form["state"], form["reason"])
    except (KeyError, TypeError, ValueError):
        return None


def _untold(folder: RunFolder, answer: Answer) -> Sent:
    last = answer.err.strip().rpartition("\n")[2] or "it said nothing"
    return Sent(folder.run_id, "failed", f"its upload ended with code {answer.code}: {last}")


def _outcome_json(
    folder: GridFolder, todo: Sequence[RunFolder], sent: Sequence[Sent]
) -> dict[str, Any]:
    runs = [{"run": one.run_id, "state": one.state, "reason": one.reason} for one in sent]
    told = {one.run_id for one in sent}
    waiting = [
        {"run": one.run_id, "state": "waiting", "reason": ""}
        for one in todo
        if one.run_id not in told
    ]
    return {"grid": folder.name, "runs": runs + waiting}


def _print_screen(folder: GridFolder, waiting: Sequence[RunFolder], sent: Sequence[Sent]) -> None:
    troubles = [one for one in sent if one.reason]
    for one in troubles[:REASONS_SHOWN]:
        print(f"{one.run_id}: {one.state}, {one.reason}", file=sys.stderr)
    if len(troubles) > REASONS_SHOWN:
        print(f"… and {len(troubles) - REASONS_SHOWN} more, see --json", file=sys.stderr)
    states = [one.state for one in sent] + ["to upload"] * len(waiting)
    words = [f"{states.count(state)} {state}" for state in dict.fromkeys(states)]
    print(f"{folder.name}: {', '.join(words) or 'nothing to upload'}")
    if url := project_url(folder):
        print(f"  the project: {url}")


def cli() -> int:
    """Return the exit code of the command."""
    return run_command(main, outlives_reader=True)


if __name__ == "__main__":
    sys.exit(cli())
