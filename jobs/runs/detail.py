"""Gather everything that is known about one run, from its folder, its leases and the journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from anlp.core import lease
from anlp.core.units import count
from anlp.records.fingerprint import render_frame
from anlp.records.folders import GridFolder, RunFolder
from anlp.records.options import WandbOptions, options_from_json
from anlp.records.results import RunState, read_result
from jobs.runs.batches import asked_runs
from jobs.runs.failures import Advice, advise
from jobs.runs.journal import Journal
from jobs.runs.logs import last_job_output, last_words, read_progress
from jobs.runs.polling import SchedulerReport
from jobs.runs.queries import own_settings, varying_settings
from jobs.runs.status import RunStatus
from jobs.schedulers.base import can_never_run


@dataclass(frozen=True, slots=True)
class Attempt:
    """One process that worked on this run, from its lease."""

    number: int
    since: float
    host: str
    pid: int
    ended: float | None
    ending: str  # done, diverged, failed, interrupted; running; killed: nothing was written


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything that is known about one run."""

    grid: str
    status: RunStatus
    varying: Mapping[str, Any]
    others: Mapping[str, Any]  # settings that are the same in the whole grid
    attempts: tuple[Attempt, ...]
    waits: str  # why it has not started, for a queued run
    advice: Advice
    wandb: WandbOptions
    metrics: Mapping[str, Any]  # final ones, or those of the last epoch
    arose: str  # where its exception arose
    log: tuple[str, ...]
    reports: tuple[SchedulerReport, ...] = ()  # of shared schedulers
    printed: tuple[str, ...] = ()  # the end of what its job printed, for a lost run


def explain(
    folder: GridFolder,
    statuses: Sequence[RunStatus],
    status: RunStatus,
    lines: int,
    reports: tuple[SchedulerReport, ...],
) -> Explanation:
    """Read what the grid's folder and the run's own files say about one run.

    Args:
        folder: of the grid.
        statuses: all its runs.
        status: the run.
        lines: how many lines of its log.
        reports: what shared schedulers reported.
    """
    names = varying_settings(statuses)
    constant = [name for name in status.values if name not in names]
    result = read_result(status.folder)  # its own file has the whole traceback
    return Explanation(
        grid=folder.name,
        status=status,
        varying=own_settings(status, names),
        others=own_settings(status, constant),
        attempts=_attempts_of(status),
        waits=_why_it_waits(folder, statuses, status),
        advice=advise(status, folder.name),
        wandb=_wandb_options(folder, status),
        metrics=_metrics(status),
        arose=render_frame(result.error.traceback) if result and result.error else "",
        log=tuple(last_words(status, lines)),
        reports=reports,
        printed=tuple(last_job_output(status, lines)) if status.state is RunState.LOST else (),
    )


def _metrics(status: RunStatus) -> Mapping[str, Any]:
    """Return the final metrics, or those of the last epoch."""
    if status.result is not None:
        return status.result.metrics
    progress = read_progress(status)
    return {} if progress is None else progress.metrics


def _attempts_of(status: RunStatus) -> tuple[Attempt, ...]:
    """Return the run's attempts; a heartbeat that its job's end outweighs is no sign of life."""
    attempts = read_process_attempts(status.folder)
    if status.state not in (RunState.LOST, RunState.INTERRUPTED):
        return attempts
    return tuple(
        replace(attempt, ending="killed") if attempt.ending == "running" else attempt
        for attempt in attempts
    )


def read_process_attempts(folder: RunFolder) -> tuple[Attempt, ...]:
    """Return the processes that worked on the run, from first to last."""
    paths = sorted(path for path in folder.attempts.glob("*.json") if path.stem.isdigit())
    return tuple(_attempt(int(path.stem), lease.read(path), lease.is_alive(path)) for path in paths)


def _attempt(number: int, record: Mapping[str, Any], is_alive: bool) -> Attempt:
    ending = "running" if is_alive else "killed"
    if "ended" in record:
        ending = record.get("ending", "ended")
    return Attempt(
        number,
        record.get("since", 0.0),
        record.get("host", "?"),
        record.get("pid", 0),
        record.get("ended"),
        ending,
    )


def _why_it_waits(folder: GridFolder, statuses: Sequence[RunStatus], status: RunStatus) -> str:
    if status.state is not RunState.QUEUED:
        return ""
    if can_never_run(status.detail):
        return status.detail
    journal = Journal(folder)
    asked = asked_runs(folder, journal.submissions())
    mine = asked[status.run_id]
    if mine.index in journal.cancelled(mine.submission.tag):
        return "it was cancelled; its launcher will take it off the queue in a moment"
    batch = [one for one in statuses if asked[one.run_id].submission.tag == mine.submission.tag]
    ahead = sum(
        one.state is RunState.QUEUED and asked[one.run_id].index < mine.index for one in batch
    )
    running = sum(one.state is RunState.RUNNING for one in batch)
    place = (
        f"behind {count(ahead, 'queued run')} of its submission"
        if ahead
        else "the next of its submission"
    )
    answer = (
        ""
        if mine.submission.is_answered
        else "; the scheduler has not confirmed the submission yet"
    )
    said = f"{status.detail}; " if status.detail else ""
    return f"{said}{place}; {count(running, 'run')} under way{answer}"


def _wandb_options(folder: GridFolder, status: RunStatus) -> WandbOptions:
    """Return the options of its latest submission."""
    mine = asked_runs(folder, Journal(folder).submissions())[status.run_id]
    return options_from_json(mine.line.options).wandb
