"""Where every run of a grid stands: its folder, the journal and one scheduler query, joined."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from anlp.core import lease
from anlp.records.crash import CrashRecord, crash_in
from anlp.records.files import read_jsonl, read_metrics, read_numbered_jsonl
from anlp.records.fingerprint import innermost_frame
from anlp.records.folders import GridFolder, RunFolder
from anlp.records.results import (
    STATE_OF_OUTCOME,
    Outcome,
    RunResult,
    RunState,
    read_result,
    result_from_json,
)
from jobs.config.resources import Resources
from jobs.runs.journal import ExitRecord, Journal, Submission
from jobs.schedulers.base import Cause, JobHandle, JobState, Phase

# Endings after which any submit continues the run; after all others only a retry does.
HARMLESS = frozenset(
    {
        Cause.CANCELLED,
        Cause.LAUNCHER,
        Cause.CONTINUE,
        Cause.PREEMPTED,
        Cause.SKIPPED,
        Cause.DISK_FULL,
    }
)

Redo = Literal["none", "failed", "all"]
Purpose = Literal["search", "confirm"]
Query = Callable[[Sequence[JobHandle]], Mapping[JobHandle, JobState]]


@dataclass(frozen=True, slots=True)
class Asked:
    """A run as a batch file names it, with the submission that is responsible for it."""

    run_id: str
    folder: RunFolder
    form: Mapping[str, Any]  # RunSpec.to_json()
    submission: Submission
    index: int
    handle: JobHandle  # of its element
    place: int = 0  # within its element
    at_once: int = 1  # runs of its element that go at the same time; the others follow
    in_job: int = 1  # runs of its element, itself included
    purpose: Purpose = "search"
    redo: Redo = "none"  # which earlier results this submission of the run sets aside

    @property
    def values(self) -> dict[str, Any]:
        """Settings and seed by name, for filters and screens."""
        return {**self.form["settings"], "seed": self.form["seed"]}


@dataclass(frozen=True, slots=True)
class RunStatus:
    """One run of a grid and where it stands."""

    run_id: str
    values: Mapping[str, Any]  # settings and seed
    state: RunState
    folder: RunFolder
    result: RunResult | None = (
        None  # with only the innermost frame of its traceback when it comes from the cache
    )
    cause: Cause | None = None  # of a lost or interrupted run
    detail: str = ""
    node: str = ""  # where it ended, as the scheduler names it
    handle: JobHandle | None = None
    resources: Resources = field(default_factory=Resources)  # what its last submission asked for
    since: float | None = None  # unix time of the submission
    purpose: Purpose = "search"
    form: Mapping[str, Any] = field(default_factory=dict)
    redo: Redo = "none"  # which earlier results its last submission sets aside
    in_job: int = 1  # runs of its job, itself included: what was asked for is for all of them
    has_folder: bool = False  # whether it ever began
    attempt: lease.Holder | None = None  # at it, the latest; not read where there is a result
    died_alone: bool = (
        False  # it was lost, and its job went on with others: how that ends is not how this did
    )

    def fields(self) -> dict[str, Any]:
        """What a filter can name: settings, seed, id, state, purpose and final metrics."""
        metrics = dict(self.result.metrics) if self.result else {}
        return {
            **self.values,
            **metrics,
            "id": self.run_id,
            "state": self.state.value,
            "purpose": self.purpose,
        }


def asked_runs(folder: GridFolder, submissions: Mapping[str, Submission]) -> dict[str, Asked]:
    """Every run that was ever submitted, with the latest submission that was not refused or left for later."""
    found: dict[str, Asked] = {}
    for submission in submissions.values():
        for index, line in read_numbered_jsonl(folder.path / submission.batch):
            if submission.took(index):
                with suppress(
                    AttributeError, KeyError, TypeError
                ):  # damaged: as if it had not been written
                    found.update(_asked_in(folder, line, submission, index))
    return found


def _asked_in(
    folder: GridFolder, line: Mapping[str, Any], submission: Submission, index: int
) -> dict[str, Asked]:
    """The runs of a line of a batch file; none in a file of another submission, which reused a deleted one's name."""
    options = line["options"]
    if options["batch"] != submission.tag:
        return {}
    purpose, redo = options.get("purpose", "search"), options.get("redo", "none")
    at_once, in_job = int(line.get("at_once", 1)), len(line["specs"])
    handle = submission.handle(index)
    runs = [(place, form, form["run_id"]) for place, form in enumerate(line["specs"])]
    return {
        run_id: Asked(
            run_id,
            folder.run(run_id),
            form,
            submission,
            index,
            handle,
            place,
            at_once,
            in_job,
            purpose,
            redo,
        )
        for place, form, run_id in runs
    }


def read_states(folder: GridFolder, query: Query, *, remember: bool = True) -> dict[str, RunStatus]:
    """The state of every run that was ever submitted to this grid, by run id, in order of submission.

    Args:
        folder: the grid's folder; nothing is written to it but the cache of finished runs.
        query: `states` of the grid's scheduler; called once, about jobs whose end is neither in a result nor in the
            journal, and not at all where there are none.
        remember: whether results found for the first time go to the cache; False writes nothing at all.
    """
    asked = asked_runs(folder, Journal(folder).submissions())
    present = _present(folder)
    results = read_results(
        folder, [run for run in asked.values() if run.run_id in present], remember=remember
    )
    unsettled = [run for run in asked.values() if run.run_id not in results]
    states = _ask(query, unsettled)
    if states:  # which took its time: what has ended by now may have left a result since
        present = _present(folder)
        results |= _late_results([run for run in unsettled if run.run_id in present], states)
    return {
        run.run_id: _status(run, results.get(run.run_id), states, present) for run in asked.values()
    }


def read_results(
    folder: GridFolder, runs: Iterable[Asked], *, remember: bool = True
) -> dict[str, RunResult]:
    """The results that count: those of an earlier submission than one that sets them aside do not.

    What is found is remembered in the folder's `finished.jsonl`, so each result file is read once.
    """
    cached = _read_cache(folder)
    found: dict[str, RunResult] = {}
    fresh: list[RunResult] = []
    for run in runs:
        known = cached.get(run.run_id)
        remembered = known.provenance.get("batch") if known else None
        if known and remembered == run.submission.tag:
            found[run.run_id] = known
            continue
        # what is remembered is of an earlier submission: the folder may have been deleted and the run repeated since
        result = read_result(run.folder)
        if result is not None and _counts(result, run):
            found[run.run_id] = result
            if known is None or remembered != result.provenance.get("batch"):
                fresh.append(result)
    if remember:
        _remember(folder, fresh)
    return found


def _read_cache(folder: GridFolder) -> dict[str, RunResult]:
    """What was remembered, by run id; a damaged line is one that is not there."""
    found: dict[str, RunResult] = {}
    for form in read_jsonl(folder.finished):
        with suppress(AttributeError, KeyError, TypeError, ValueError):
            found[form["run_id"]] = result_from_json(form)
    return found


def _remember(folder: GridFolder, results: Sequence[RunResult]) -> None:
    lines = []
    for result in results:
        error = result.error and replace(
            result.error, traceback=innermost_frame(result.error.traceback)
        )
        lines.append(json.dumps(replace(result, error=error).to_json()))
    if lines:
        # one write of whole lines in append mode; a torn one is skipped by readers and its run read from its folder
        with (
            suppress(OSError),
            folder.finished.open("a") as file,
        ):  # a full or read-only disk: it is only a cache
            file.write(
                "\n".join(["", *lines, ""]) if folder.finished.exists() else "\n".join([*lines, ""])
            )


def _late_results(
    runs: Iterable[Asked], states: Mapping[JobHandle, JobState]
) -> dict[str, RunResult]:
    """Those of runs whose jobs have ended: who ended while the scheduler was asked would count as lost."""
    ended = [
        run for run in runs if run.handle in states and states[run.handle].phase is Phase.ENDED
    ]
    found = {
        run.run_id: (run, read_result(run.folder)) for run in ended if run.folder.result.exists()
    }
    return {
        run_id: result
        for run_id, (run, result) in found.items()
        if result is not None and _counts(result, run)
    }


def _counts(result: RunResult, run: Asked) -> bool:
    if run.redo == "none" or result.provenance.get("batch") == run.submission.tag:
        return True
    return run.redo == "failed" and result.outcome is not Outcome.FAILED


def _present(folder: GridFolder) -> set[str]:
    """Names of the run folders, by one listing."""
    try:
        return set(os.listdir(folder.path))
    except OSError:
        return set()


def _ask(query: Query, runs: Sequence[Asked]) -> Mapping[JobHandle, JobState]:
    open_runs = (run for run in runs if run.index not in run.submission.endings)
    handles = list(dict.fromkeys(run.handle for run in open_runs))
    return query(handles) if handles else {}


def _status(
    run: Asked,
    result: RunResult | None,
    states: Mapping[JobHandle, JobState],
    present: Container[str],
) -> RunStatus:
    has_folder = run.run_id in present
    attempt = lease.read_latest(run.folder.attempts) if has_folder and result is None else None
    job = states.get(run.handle, JobState(Phase.QUEUED))
    return RunStatus(
        run.run_id,
        run.values,
        folder=run.folder,
        result=result,
        handle=run.handle,
        resources=run.submission.resources,
        since=run.submission.time,
        purpose=run.purpose,
        form=run.form,
        redo=run.redo,
        in_job=run.in_job,
        has_folder=has_folder,
        attempt=attempt,
        **(
            _standing(run, attempt, job, has_folder)
            if result is None
            else {"state": STATE_OF_OUTCOME[result.outcome]}
        ),
    )


def _standing(
    run: Asked, attempt: lease.Holder | None, job: JobState, has_folder: bool
) -> dict[str, Any]:
    """Where a run without a result stands, as fields of its status."""
    if attempt is not None and attempt.is_alive():
        return {
            "state": RunState.RUNNING,
            "detail": job.detail if job.phase is Phase.RUNNING else "",
        }
    ending = run.submission.endings.get(run.index)
    if attempt is not None and (loss := crash_in(attempt.record, run.submission.tag)):
        return _died_alone(loss, ending.node if ending else job.node)
    if ending is None and job.phase is not Phase.ENDED:
        is_its_turn = job.phase is Phase.RUNNING and run.place < run.at_once
        state = RunState.RUNNING if is_its_turn else RunState.QUEUED
        return {"state": state, "detail": job.detail, "node": job.node}
    ending = ending or ExitRecord(job.cause or Cause.UNKNOWN, job.detail, job.node)
    if ending.cause is Cause.UNKNOWN and run.submission.after and not _has_begun(run, attempt):
        ending = ExitRecord(Cause.SKIPPED, "its canary did not pass", ending.node)
    if run.place >= run.at_once and not has_folder:
        ending = _before_its_turn(ending)
    state = RunState.INTERRUPTED if ending.cause in HARMLESS else RunState.LOST
    return {"state": state, "cause": ending.cause, "detail": ending.detail, "node": ending.node}


def _died_alone(loss: CrashRecord, node: str) -> dict[str, Any]:
    cause = next((cause for cause in Cause if cause.value == loss.cause), Cause.UNKNOWN)
    return {
        "state": RunState.LOST,
        "cause": cause,
        "detail": loss.detail,
        "node": node,
        "died_alone": True,
    }


def _has_begun(run: Asked, attempt: lease.Holder | None) -> bool:
    """Whether its last submission got as far as its folder: servers forget jobs that waited in vain."""
    return attempt is not None and attempt.record.get("batch") == run.submission.tag


def _before_its_turn(ending: ExitRecord) -> ExitRecord:
    """Of a run that would have followed others in its job: what ended the job is no fault of its own."""
    if ending.cause in HARMLESS or ending.cause is Cause.NOT_STARTED:
        return ending
    return ExitRecord(
        Cause.SKIPPED, f"its job ended before its turn: {ending.cause.value}", ending.node
    )


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run has come, from the last line of its metrics."""

    epoch: int
    epochs: int
    metrics: Mapping[str, Any]


def read_progress(status: RunStatus) -> Progress | None:
    """The last epoch that a run logged, None before its first."""
    lines = read_metrics(status.folder.metrics)
    if not lines:
        return None
    return Progress(int(lines[-1]["epoch"]), int(status.values.get("epochs", 0)), lines[-1])
