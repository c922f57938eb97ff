"""Sends what a user's own program logged with wandb: its folders as they are, by wandb itself."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

from anlp.core.spec import RunSpec
from anlp.records.options import WandbOptions
from anlp.records.results import RunResult
from anlp.tasks.user_code import is_program

TIMEOUT_S = 3600.0
SOURCE = "wandb"  # in a result's provenance: the program logs with wandb itself
_ADDRESS = re.compile(r"https?://[^/\s]+/([^/\s]+)/([^/\s]+)/runs/")  # of a run: entity, project
_NOISE = ("Syncing ", "Loaded credentials", "View run")


class SyncError(Exception):
    """wandb did not take everything; the text says why."""


def own_logs(spec: RunSpec, copies: Iterable[Path], result: RunResult | None) -> list[Path]:
    """Return the logs of wandb that a program wrote itself, in the order of its attempts.

    A run of a program that logs otherwise has none: what its mirror wrote is in `metrics.jsonl`.

    Args:
        spec: the run.
        copies: its offline folders.
        result: of the run, where it has one.
    """
    if not is_program(spec.task):
        return []
    if result is not None and result.provenance.get("logged_by") != SOURCE:
        return []
    return [log for copy in copies for log in sorted(copy.glob("*.wandb"))]


def send_logs(
    logs: Sequence[Path], spec: RunSpec, wandb: WandbOptions, known_url: str
) -> WandbOptions:
    """Send logs with all that belongs to them: media, files, system metrics.

    What was sent to its end before is left out. A log that was sent in part is sent whole: the
    server then has some rows twice, and tables take each epoch once.

    Args:
        logs: of the program.
        spec: the run that the logs of its id become; those of other ids stay runs of their own.
        wandb: what the run was submitted with.
        known_url: of the project that runs of the grid were sent to before; empty: not known.

    Returns:
        The same with the project that the run is in: one that the program names counts.

    Raises:
        SyncError: wandb did not take everything.
    """
    own = [log for log in logs if log.name == f"run-{spec.run_id}.wandb"]
    if not own:  # the program gives its run an id of its own
        own = [log for log in logs if log.name == logs[0].name]
    place = ["--entity", wandb.entity] if wandb.entity else []
    told = _sync(own, "--id", spec.run_id, *place)
    others = [log for log in logs if log not in own]
    if others:
        _sync(others, *place)
    found = _ADDRESS.search(told) or _ADDRESS.search(f"{known_url}/runs/")
    if found is None:
        return wandb
    entity, project = map(unquote, found.groups())
    return replace(wandb, entity=entity, project=project)


def _sync(logs: Sequence[Path], *options: str) -> str:
    """Return what wandb said."""
    argv = [sys.executable, "-m", "wandb", "sync", *options, *map(str, logs)]
    # a service of its own: the shared one has settings of the runs that it has
    environment = {name: text for name, text in os.environ.items() if name != "WANDB_SERVICE"}
    environment["WANDB_SILENT"] = "false"  # what goes wrong is to be told
    done = subprocess.run(  # noqa: S603 - a list of words, without a shell
        argv,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    left = [log for log in logs if not log.with_name(f"{log.name}.synced").exists()]
    if left:
        raise SyncError(f"wandb sync: {_reason(done.stderr) or f'exit code {done.returncode}'}")
    return done.stdout + done.stderr


def _reason(text: str) -> str:
    """Return the last line that says more than what is being done."""
    lines = [line.removeprefix("wandb: ").strip() for line in text.splitlines()]
    told = [line for line in lines if line and not any(noise in line for noise in _NOISE)]
    return told[-1][:300] if told else ""
