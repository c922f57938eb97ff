"""`python -m anlp.tracking.upload FOLDER`: sends to the wandb server what runs had to leave in offline folders.

`wandb sync` sends an offline folder as it is, and adds its rows to those that the server has of the run already. This
sends the rows of `metrics.jsonl` that the server lacks.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from anlp.errors import EXIT_OK, EXIT_RUNS_FAILED, UserError, run_command
from anlp.record import RunFolder, options_from_json, read_json, read_metrics, read_result
from anlp.settings import spec_from_json
from anlp.tracking.wandb_service import start_shared_service
from anlp.tracking.wandb_session import QUIET, Session
from anlp.tracking.wandb_site import find_site

FINISH_S = 600.0


def offline_runs(path: Path) -> list[RunFolder]:
    """The runs in or below a folder that have an offline copy."""
    return [RunFolder(found) for found in sorted({copy.parent.parent for copy in path.glob("**/wandb/offline-run-*")})]


def upload(folder: RunFolder) -> None:
    """Brings the server up to what the folder has, and removes the offline copy.

    Raises:
        Exception: whatever wandb raises; the offline copy stays then.
    """
    form = read_json(folder.spec)
    if form is None:
        raise UserError(f"{folder.spec}: cannot be read, so nobody knows what run this is")
    options = options_from_json(form["options"])
    result = read_result(folder)
    session = Session("online", spec_from_json(form["spec"]), options, folder, FINISH_S)
    for row in read_metrics(folder.metrics):
        session.log(row, row["epoch"])
    outcome, summary = ("interrupted", {}) if result is None else (result.outcome.value, result.to_summary())
    session.finish(outcome, summary)
    session.remove_earlier()


def main(argv: Sequence[str] | None = None) -> int:
    """Uploads what the command line names."""
    parser = argparse.ArgumentParser(
        prog="python -m anlp.tracking.upload",
        description="Sends runs that were mirrored offline to the wandb server, and removes their offline copies.",
        epilog="example: python -m anlp.tracking.upload runs/mnist",
    )
    parser.add_argument("folder", type=Path, nargs="+", help="a run, a grid, or a folder of grids")
    folders = [folder for path in parser.parse_args(argv).folder for folder in offline_runs(path)]
    find_site().require()
    os.environ.update(QUIET)
    with start_shared_service() as service:
        os.environ.update(service.environment)
        failed = [folder for folder in folders if not _is_uploaded(folder)]
    print(f"{len(folders) - len(failed)} uploaded, {len(failed)} not")
    return EXIT_RUNS_FAILED if failed else EXIT_OK


def _is_uploaded(folder: RunFolder) -> bool:
    try:
        upload(folder)
    except Exception as error:  # the others are still to be uploaded
        print(f"{folder.path}: {error}", file=sys.stderr, flush=True)
        return False
    return True


if __name__ == "__main__":
    raise SystemExit(run_command(main))
