"""Where every run of a grid stands: its folder, the journal and one scheduler query, joined."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from anlp.core import lease
from anlp.core.files import append_whole
from anlp.records.crash import CrashRecord, crash_in
from anlp.records.files import parse_jsonl
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
from jobs.runs.batches import Asked, Purpose, Redo, asked_runs, jobs_that_ended_badly, recall
from jobs.runs.journal import Journal
from jobs.runs.logs import quote_output
from jobs.schedulers.base import (
    READ_OUTPUT,
    RUNS_FAILED,
    Cause,
    JobHandle,
    JobState,
    Phase,
    cause_of_record,
)

# Causes after which any submit continues the run; after all others only a retry does.
HARMLESS = frozenset(
    {
        Cause.CANCELLED,
        Cause.LAUNCHER,
        Cause.CONTINUE,
        Cause.PREEMPTED,
        Cause.SKIPPED,
        Cause.DISK_FULL,
        Cause.REMOVED,
    }
)
# Causes that say only that there is no record of the end: a request to stop explains it better.
UNTOLD = frozenset({Cause.LAUNCHER, Cause.UNKNOWN})
NO_RESULT = "it left no result: its folder was not writable, or was deleted since"
DAMAGED_RESULT = "its result.json is damaged; a retry repeats the run"

# Causes that say nothing about the process of a run
NOT_DEFINITE = frozenset({None, Cause.UNKNOWN, Cause.LAUNCHER})

Query = Callable[[Sequence[JobHandle]], Mapping[JobHandle, JobState]]


@dataclass(frozen=True, slots=True)
class Standing:
    """Where one run stands, and what ended it where it has no result."""

    state: RunState
    cause: Cause | None = None  # of a lost or interrupted run
    detail: str = ""  # one line in the scheduler's words
    node: str = ""  # where it ran, as the scheduler names it
    crashed_in_pack: bool = False  # it died while its job went on with other runs
    waits_in_vain: bool = False  # its job is in the queue still, behind one that did not end well

    @property
    def why(self) -> str:
        """Return what ended it, in one line; empty where nothing did."""
        return "" if self.cause is None else describe_cause(self.cause, self.detail)


HELD_BACK = Standing(
    RunState.INTERRUPTED, Cause.SKIPPED, "its canary did not pass", waits_in_vain=True
)


def describe_cause(cause: Cause, detail: str) -> str:
    """Say in one line what ended a run that left no result.

    >>> describe_cause(Cause.TIMEOUT, "limit 2 h"), describe_cause(Cause.TIMEOUT, "")
    ('time limit: limit 2 h', 'time limit')
    >>> describe_cause(Cause.SIGNAL, "signal 9"), describe_cause(Cause.EXIT, "exit code 3")
    ('killed by signal 9', 'exit code 3')
    """
    if not detail:
        return cause.value
    if cause is Cause.SIGNAL:
        return f"killed by {detail}"
    if cause is Cause.EXIT or detail.startswith(cause.value):
        return detail
    return f"{cause.value}: {detail}"


def classify(job: JobState | None, result: RunResult | None, *, is_held: bool = False) -> Standing:
    """Decide where a run stands. This is the only place that does.

    Args:
        job: the state of its job; None: its launcher ended before it began.
        result: the result that counts for its latest submission, if there is one. It wins: a
            process that was killed after it had written its result has done its work.
        is_held: whether a living process has the run's lease; it may belong to another submission.
    """
    if result is not None:
        return Standing(STATE_OF_OUTCOME[result.outcome])
    if is_held:
        return Standing(RunState.RUNNING, detail=_detail_of_held(job))
    if job is None:
        return Standing(RunState.INTERRUPTED, Cause.LAUNCHER)
    if job.phase is not Phase.ENDED:
        state = RunState.RUNNING if job.phase is Phase.RUNNING else RunState.QUEUED
        return Standing(state, detail=job.detail, node=job.node)
    if job.cause is None:
        return Standing(RunState.LOST, Cause.EXIT, NO_RESULT, job.node)
    state = RunState.INTERRUPTED if job.cause in HARMLESS else RunState.LOST
    return Standing(state, job.cause, job.detail, job.node)


def _detail_of_held(job: JobState | None) -> str:
    """Return the scheduler's word on a run that a process works on, unless it waits or ended."""
    if job is None or job.phase is Phase.QUEUED or job.cause is not None:
        return ""
    return "" if job.detail == RUNS_FAILED else job.detail


def result_that_counts(result: RunResult | None, tag: str, redo: Redo = "all") -> RunResult | None:
    """Return the result unless it is of an earlier submission than `tag`, which sets it aside."""
    if result is None or redo == "none" or result.provenance.get("batch") == tag:
        return result
    if redo == "failed" and result.outcome is not Outcome.FAILED:
        return result
    return None


@dataclass(frozen=True, slots=True)
class RunStatus:
    """One run of a grid and where it stands."""

    run_id: str
    values: Mapping[str, Any]  # settings and seed
    state: RunState
    folder: RunFolder
    result: RunResult | None = None  # from the cache, with the innermost frame of a traceback only
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
    attempt: lease.Holder | None = None  # the latest; not read where there is a result
    crashed_in_pack: bool = False  # it died while its job went on with other runs
    waits_in_vain: bool = False  # its job is in the queue still, behind one that did not end well

    def fields(self) -> dict[str, Any]:
        """Return what a filter can name: settings, seed, id, state, purpose and final metrics."""
        metrics = dict(self.result.metrics) if self.result else {}
        return {
            **self.values,
            **metrics,
            "id": self.run_id,
            "state": self.state.value,
            "purpose": self.purpose,
        }


def read_states(folder: GridFolder, query: Query, *, remember: bool = True) -> dict[str, RunStatus]:
    """Return the state of every run that was ever submitted, by run id, in order of submission.

    Args:
        folder: the grid's folder; nothing is written to it but the cache of finished runs.
        query: asks schedulers for states; called once, about jobs whose end is neither in a result
            nor in the journal, and not at all where there are none.
        remember: whether results found for the first time go to the cache; False writes nothing.
    """
    submissions = Journal(folder).submissions()
    asked = asked_runs(folder, submissions)
    present = _present(folder)
    results = read_results(
        folder, [run for run in asked.values() if run.run_id in present], remember=remember
    )
    unsettled = [run for run in asked.values() if run.run_id not in results]
    states = recall(_ask(query, unsettled), unsettled)
    if states:  # a query takes time: runs that ended meanwhile may have left results
        present = _present(folder)
        results |= _late_results([run for run in unsettled if run.run_id in present], states)
    ended_badly = jobs_that_ended_badly(submissions, asked.values(), results, states)
    found = {}
    for run in asked.values():
        job = states.get(run.handle, JobState(Phase.QUEUED))
        waits_in_vain = job.phase is Phase.QUEUED and run.waits_for_one_of(ended_badly)
        found[run.run_id] = _status(
            run, results.get(run.run_id), job, present, waits_in_vain=waits_in_vain
        )
    return found


def read_results(
    folder: GridFolder, runs: Iterable[Asked], *, remember: bool = True
) -> dict[str, RunResult]:
    """Return the results that count: those that a later submission sets aside do not.

    They are cached in the folder's `finished.jsonl`, so each result file is read once.
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
        # the cached one is of an earlier submission: the run may have been repeated since
        result = read_result(run.folder)
        if result is not None and _counts(result, run):
            found[run.run_id] = result
            if known is None or remembered != result.provenance.get("batch"):
                fresh.append(result)
    if remember:
        _remember(folder, fresh)
    return found


def _read_cache(folder: GridFolder) -> dict[str, RunResult]:
    """Return the cached results by run id; damaged lines are left out."""
    found: dict[str, RunResult] = {}
    for _, result in parse_jsonl(folder.finished, result_from_json):
        found[result.run_id] = result
    return found


def _remember(folder: GridFolder, results: Sequence[RunResult]) -> None:
    """Append results to the cache in one write; on a full or read-only disk there is no cache."""
    if not results:
        return
    lines = [json.dumps(_for_cache(result).to_json()).encode() + b"\n" for result in results]
    with suppress(OSError):
        append_whole(folder.finished, b"".join(lines))


def _for_cache(result: RunResult) -> RunResult:
    """Return the result with the innermost traceback frame only; the whole is in its own file."""
    if result.error is None:
        return result
    frame = innermost_frame(result.error.traceback)
    return replace(result, error=replace(result.error, traceback=frame))


def _late_results(
    runs: Iterable[Asked], states: Mapping[JobHandle, JobState]
) -> dict[str, RunResult]:
    """Results of runs whose jobs ended, perhaps during the query: they must not count as lost."""
    found = {}
    for run in runs:
        job = states.get(run.handle)
        if job is not None and job.phase is Phase.ENDED and run.folder.result.exists():
            result = read_result(run.folder)
            if result is not None and _counts(result, run):
                found[run.run_id] = result
    return found


def _counts(result: RunResult, run: Asked) -> bool:
    return result_that_counts(result, run.submission.tag, run.redo) is not None


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
    job: JobState,
    present: Container[str],
    *,
    waits_in_vain: bool,
) -> RunStatus:
    has_folder = run.run_id in present
    attempt = lease.read_latest(run.folder.attempts) if has_folder and result is None else None
    if result is not None:
        standing = classify(None, result)
    else:
        standing = _standing(run, attempt, job, has_folder)
        if standing.detail == NO_RESULT and run.folder.result.exists():
            standing = replace(standing, detail=DAMAGED_RESULT)
        if waits_in_vain and standing.state is RunState.QUEUED:
            standing = HELD_BACK
    return RunStatus(
        run.run_id,
        run.values,
        standing.state,
        folder=run.folder,
        result=result,
        cause=standing.cause,
        detail=standing.detail,
        node=standing.node,
        handle=run.handle,
        resources=run.submission.resources,
        since=run.submission.time,
        purpose=run.purpose,
        form=run.form,
        redo=run.redo,
        in_job=run.in_job,
        has_folder=has_folder,
        attempt=attempt,
        crashed_in_pack=standing.crashed_in_pack,
        waits_in_vain=standing.waits_in_vain,
    )


def _standing(
    run: Asked, attempt: lease.Holder | None, job: JobState, has_folder: bool
) -> Standing:
    """Return where a run without a result stands."""
    ending = run.submission.endings.get(run.index)
    if ending is not None:
        job = JobState(Phase.ENDED, ending.cause, ending.detail, ending.node)
    if attempt is not None and attempt.is_alive() and not _is_refuted(attempt, run, job):
        return classify(job, None, is_held=True)
    if attempt is not None and (crash := crash_in(attempt.record, run.submission.tag)):
        return _crashed(crash, job.node)
    if job.phase is Phase.RUNNING and run.place >= run.at_once:
        job = replace(job, phase=Phase.QUEUED)  # its turn comes after other runs of its job
    if job.cause in UNTOLD and run.index in run.submission.cancelled:
        job = replace(job, cause=Cause.CANCELLED, detail="by jobs.cancel")
    if job.phase is Phase.ENDED:
        job = _blame(job, run, attempt, has_folder)
    return classify(job, None)


def _is_refuted(attempt: lease.Holder, run: Asked, job: JobState) -> bool:
    """Return whether a definite end of a run's job outweighs the heartbeat of its process.

    A heartbeat on another host cannot be checked: it counts for two minutes after the process died.
    A process on this host is looked at itself, and outweighs both.
    """
    is_definite = job.phase is Phase.ENDED and job.cause not in NOT_DEFINITE
    return is_definite and not attempt.is_here() and run.is_job_of(attempt.record)


def name_unwritable(job: JobState, attempt: lease.Holder) -> JobState:
    """Return the end of a job with the file that could not be written, as its attempt noted it."""
    named = attempt.record.get("unwritable")
    if job.cause is not Cause.DISK_FULL or not isinstance(named, str):
        return job
    return replace(job, detail=named)


def _crashed(crash: CrashRecord, node: str) -> Standing:
    cause = cause_of_record(crash.cause, crash.detail)
    standing = classify(JobState(Phase.ENDED, cause, crash.detail, node), None)
    return replace(standing, crashed_in_pack=True)


def _blame(job: JobState, run: Asked, attempt: lease.Holder | None, has_folder: bool) -> JobState:
    """Return the end of a job for one of its runs: one that never began was skipped, not lost."""
    has_begun = attempt is not None and attempt.record.get("batch") == run.submission.tag
    is_behind = run.place >= run.at_once and not has_folder
    if job.cause is None and job.detail == RUNS_FAILED and not (has_begun or is_behind):
        words = f"{RUNS_FAILED} before the run began; {READ_OUTPUT}"
        job = replace(job, cause=Cause.NOT_STARTED, detail=words)
    if job.cause is Cause.NOT_STARTED and job.detail.endswith(READ_OUTPUT):
        return replace(job, detail=quote_output(job.detail, run.folder, run.submission, run.index))
    if run.submission.after and not has_begun and job.cause in (None, Cause.UNKNOWN):
        # schedulers forget jobs that waited for others in vain
        return replace(job, cause=Cause.SKIPPED, detail="its canary did not pass")
    if has_begun and attempt is not None:
        job = name_unwritable(job, attempt)
    if not is_behind or job.cause in HARMLESS or job.cause is Cause.NOT_STARTED:
        return job
    why = job.cause or Cause.UNKNOWN
    return replace(job, cause=Cause.SKIPPED, detail=f"its job ended before its turn: {why.value}")
