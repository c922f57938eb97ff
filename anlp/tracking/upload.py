"""`python -m anlp.tracking.upload FOLDER`: sends offline copies of runs to the wandb server.

`wandb sync` sends an offline folder as it is, and adds its rows to those that the server has of the
run already. This sends the rows of `metrics.jsonl` that the server lacks, so that it can be
interrupted anywhere and repeated. Only what the user's own program logged with wandb, which may be
anything, is sent by `wandb sync` (`program_sync`). `python -m jobs.sync GRID` runs several of these
in parallel.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from anlp.console.command import run_command
from anlp.core import lease
from anlp.core.errors import EXIT_OK, EXIT_RUNS_FAILED, UserError
from anlp.records.files import read_json, read_metrics
from anlp.records.folders import GridFolder, RunFolder
from anlp.records.options import options_from_json
from anlp.records.results import read_result
from anlp.records.wandb_offline import (
    LEASES,
    done_copies,
    is_live,
    keep_project_url,
    mark_uploaded,
    pending_copies,
    project_url,
    remove_copies,
    runs_with_copies,
)
from anlp.tasks import spec_from_json
from anlp.tracking.program_sync import own_logs, send_logs
from anlp.tracking.wandb_service import start_shared_service
from anlp.tracking.wandb_session import QUIET, Session, find_site

FINISH_S = 600.0
# of wandb's messages where the server will take no run at all
_REFUSED = ("user is not logged in", "permission", "api key")

State = Literal["uploaded", "left out", "failed"]
Tell = Callable[[RunFolder, State, str], None]


def upload(folder: RunFolder, url: str) -> None:
    """Bring the server up to date, mark the run as uploaded and remove its offline copies.

    Raises:
        Exception: of wandb; the offline copies stay then.
    """
    copies = pending_copies(folder)
    if copies:
        _send(folder, copies)
        mark_uploaded(folder, copies, url)
    if not _are_needed(folder):
        remove_copies(done_copies(folder))


def _are_needed(folder: RunFolder) -> bool:
    """Tell whether a program may continue: what it logs then goes on from its earlier logs."""
    form = read_json(folder.spec)
    if form is None or read_result(folder) is not None:
        return False
    return bool(own_logs(spec_from_json(form["spec"]), done_copies(folder), None))


def main(argv: Sequence[str] | None = None) -> int:
    """Upload what the command line names."""
    parser = argparse.ArgumentParser(
        prog="python -m anlp.tracking.upload",
        description="Sends runs that were mirrored offline to the wandb server, and removes their "
        "offline copies.",
        epilog="example: python -m anlp.tracking.upload runs/mnist",
    )
    parser.add_argument("folder", type=Path, nargs="+", help="a run, a grid, or a folder of grids")
    parser.add_argument(
        "--json", action="store_true", help="one JSON line per run on stdout, as soon as it is done"
    )
    options = parser.parse_args(argv)
    folders = [folder for path in options.folder for folder in runs_with_copies(path)]
    site = find_site()
    site.require()
    os.environ.update(QUIET)
    with start_shared_service() as service:
        os.environ.update(service.environment)
        states = [
            _upload_one(folder, site.url, _tell_json if options.json else _tell)
            for folder in folders
        ]
    if not options.json:
        print(f"{states.count('uploaded')} uploaded, {len(states) - states.count('uploaded')} not")
    return EXIT_RUNS_FAILED if "failed" in states else EXIT_OK


def _upload_one(folder: RunFolder, url: str, tell: Tell) -> State:
    state, reason = _try(folder, url)
    tell(folder, state, reason)
    return state


def _try(folder: RunFolder, url: str) -> tuple[State, str]:
    if is_live(folder):
        return "left out", "it is still running"
    try:
        with lease.acquire(folder.wandb / LEASES):
            upload(folder, url)
    except lease.HeldError as error:
        return "left out", f"it is being uploaded, {error}"
    except Exception as error:  # the other runs are still to be uploaded, unless all would fail
        text = str(error).strip().partition("\n")[0] or type(error).__name__
        if any(words in text.lower() for words in _REFUSED):
            raise UserError(f"{url} refuses the key in WANDB_API_KEY or netrc ({text})") from error
        return "failed", text
    return "uploaded", ""


def _send(folder: RunFolder, copies: Sequence[Path]) -> None:
    form = read_json(folder.spec)
    if form is None:
        raise UserError(f"{folder.spec}: cannot be read, so that the run is not known")
    spec, options = spec_from_json(form["spec"]), options_from_json(form["options"])
    result = read_result(folder)
    logs = own_logs(spec, copies, result)
    if logs:
        known = project_url(GridFolder(folder.path.parent))
        options = replace(options, wandb=send_logs(logs, spec, options.wandb, known))
    session = Session("online", spec, options, folder, FINISH_S, is_of_program=bool(logs))
    keep_project_url(folder, session.project_url)
    for row in read_metrics(folder.metrics) if not logs else ():
        session.log(row, row.get("epoch", 0))
    if result is None:
        session.finish("interrupted", {})
    else:
        session.finish(result.outcome.value, result.to_summary())
    remove_copies([session.path])  # what wandb wrote while it sent


def _tell(folder: RunFolder, state: State, reason: str) -> None:
    if reason:
        print(f"{folder.path}: {state}, {reason}", file=sys.stderr, flush=True)


def _tell_json(folder: RunFolder, state: State, reason: str) -> None:
    print(json.dumps({"run": str(folder.path), "state": state, "reason": reason}), flush=True)


if __name__ == "__main__":
    raise SystemExit(run_command(main))
