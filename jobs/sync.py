"""`python -m jobs.sync GRID`: sends the runs that were mirrored offline to the wandb server, several side by side.

Each worker is a process of its own (`anlp.tracking.upload`), which sends what the server lacks and marks each run that
is done. Killed in the middle, the next call goes on; repeated, it finds nothing to do.
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

from anlp.core.command import make_parser, whole_number
from anlp.core.errors import EXIT_OK, EXIT_RUNS_FAILED, EXIT_USAGE, UserError, run_command
from anlp.core.progress import Progress
from anlp.records.folders import GridFolder, RunFolder
from anlp.records.wandb_offline import PATTERN, is_live, pending_copies
from jobs.common.external import Answer, run
from jobs.runs.locate import open_grid

EXAMPLES = """\
  python -m jobs.sync mnist            what the server does not have yet
  python -m jobs.sync mnist -n         only say what that is
  python -m jobs.sync mnist --jobs 8   eight uploads at a time"""

WORKERS = 4
SHARE = 10  # runs per process: a start costs a second, a stop waits for what was begun
SHARE_TIMEOUT_S = 3600.0
REASONS_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of one run."""

    run_id: str
    state: str  # uploaded, left out, failed
    reason: str


def main(argv: Sequence[str] | None = None) -> int:
    """Uploads what the command line names.

    Raises:
        UserError: there is no such grid, no key, or nobody answers.
    """
    options = _parser().parse_args(argv)
    folder = open_grid(options.grid)
    waiting = offline_runs(folder)
    live = [found for found in waiting if is_live(found)]
    todo = [found for found in waiting if found not in live]
    sent = [Sent(found.run_id, "left out", "it is still running") for found in live]
    if not options.dry_run:
        with Progress("uploading runs", len(todo)) as progress:
            sent += progress.over(upload_all(todo, options.jobs))
    if options.json:
        print(json.dumps(_form(folder, todo, sent), indent=1))
    else:
        _print_screen(folder, todo if options.dry_run else [], sent)
    return EXIT_RUNS_FAILED if any(one.state == "failed" for one in sent) else EXIT_OK


def offline_runs(folder: GridFolder) -> list[RunFolder]:
    """The runs of a grid that have something to upload, in the order of their ids."""
    found = sorted({copy.parent.parent.name for copy in folder.path.glob(f"*/wandb/{PATTERN}")})
    return [folder.run(run_id) for run_id in found if pending_copies(folder.run(run_id))]


def upload_all(folders: Sequence[RunFolder], workers: int) -> Iterator[Sent]:
    """Sends runs, `workers` processes at a time; yields what became of each as soon as its process says so.

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
    """Sends a few runs in one process of their own.

    Raises:
        UserError: no key, or nobody answers.
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
    """What an uploading process said of each run, by the run's path; other lines are left out."""
    return dict(filter(None, map(_parse_line, answer.out.splitlines())))


def _parse_line(line: str) -> tuple[str, Sent] | None:
    try:
        form = json.loads(line)
        return form["run"], Sent(Path(form["run"]).name, form["state"], form["reason"])
    except (KeyError, TypeError, ValueError):
        return None


def _untold(folder: RunFolder, answer: Answer) -> Sent:
    last = answer.err.strip().rpartition("\n")[2] or "it said nothing"
    return Sent(folder.run_id, "failed", f"its upload ended with code {answer.code}: {last}")


def _form(folder: GridFolder, todo: Sequence[RunFolder], sent: Sequence[Sent]) -> dict[str, Any]:
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


def _parser() -> argparse.ArgumentParser:
    parser = make_parser(
        "jobs.sync", "Sends runs that were mirrored offline to the wandb server.", EXAMPLES
    )
    parser.add_argument("grid", help="name, YAML file or folder of a grid")
    parser.add_argument(
        "-n",
        "--dry-run",
        action="store_true",
        help="say what would be uploaded, and upload nothing",
    )
    parser.add_argument(
        "--jobs",
        type=whole_number(1, 100),
        default=WORKERS,
        metavar="N",
        help="uploads at a time (%(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="what became of each run, for machines")
    return parser


if __name__ == "__main__":
    raise SystemExit(run_command(main, outlives_reader=True))
