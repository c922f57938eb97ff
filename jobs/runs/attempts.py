"""How earlier attempts at runs ended: recorded in the journal, read back for each run, judged."""

from __future__ import annotations

import signal
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from anlp.core import lease
from anlp.records.crash import LOST
from anlp.records.folders import GridFolder, RunFolder
from anlp.records.results import RunState
from jobs.config.resources import Resources
from jobs.runs.batches import handed_over
from jobs.runs.journal import ExitRecord, Journal, Submission
from jobs.runs.status import RunStatus
from jobs.schedulers import registry
from jobs.schedulers.base import Cause, JobHandle, cause_of_record, parse_signal

# Causes outside the run; so is a SIGKILL, which no run sends to itself.
INFRASTRUCTURE = frozenset({Cause.NODE, Cause.NOT_STARTED, Cause.LAUNCHER, Cause.UNKNOWN})


@dataclass(frozen=True, slots=True)
class SubmittedAttempt:
    """One submission of one run."""

    tag: str  # of the submission
    handle: JobHandle
    asked: Resources  # for this run alone, also where others shared its job
    at_once: int  # how many runs its job carried out at the same time
    ending: ExitRecord | None  # None: with a result, not yet, or not on record yet


SubmittedAttempts = Mapping[str, Sequence[SubmittedAttempt]]  # by run id, in order of submission


def read_attempts(folder: GridFolder, submissions: Mapping[str, Submission]) -> SubmittedAttempts:
    """Return every submission of every run that a scheduler accepted, or may have."""
    found: dict[str, list[SubmittedAttempt]] = defaultdict(list)
    for submission, line in handed_over(folder, submissions):
        attempt = _attempt(submission, line.index, line.at_once)
        for run_id in line.run_ids:
            found[run_id].append(attempt)
    return found


def _attempt(submission: Submission, index: int, at_once: int) -> SubmittedAttempt:
    ending = submission.endings.get(index)
    return SubmittedAttempt(
        submission.tag, submission.handle(index), submission.each, at_once, ending
    )


def record_endings(journal: Journal, statuses: Iterable[RunStatus]) -> None:
    """Record in the journal what ended without a result; call it while holding the grid.

    Schedulers forget how jobs ended, the journal does not.
    """
    for tag, fresh in _fresh_endings(journal.submissions(), statuses).items():
        journal.all_ended(tag, fresh)


def keep_endings(folder: GridFolder, statuses: Iterable[RunStatus]) -> None:
    """Keep the causes that a command which only looks learned from shared schedulers.

    They may have purged their history by the next submit. An end that is not explained is left
    out: another look may explain it.
    """
    learned = [
        status
        for status in statuses
        if status.cause not in (None, Cause.UNKNOWN)
        and status.handle is not None
        and status.handle.scheduler != registry.LOCAL
    ]
    journal = Journal(folder)
    submissions = journal.submissions() if learned else {}
    fresh = {}
    for tag, endings in _fresh_endings(submissions, learned).items():
        before = submissions[tag].learned
        fresh[tag] = {
            index: ending for index, ending in endings.items() if before.get(index) != ending
        }
    journal.learn(fresh)


def _fresh_endings(
    submissions: Mapping[str, Submission], statuses: Iterable[RunStatus]
) -> dict[str, dict[int, ExitRecord]]:
    """Return the ends that are not on record yet, by tag and index."""
    ended = {
        status.handle: status
        for status in sorted(statuses, key=_is_lost)
        if status.cause and not (status.crashed_in_pack or status.waits_in_vain)
    }
    if not ended:
        return {}
    found = {}
    for submission in submissions.values():
        fresh = {
            index: ending_of(ended[handle])
            for index, handle in _open_handles(submission)
            if handle in ended
        }
        if fresh:
            found[submission.tag] = fresh
    return found


def _open_handles(submission: Submission) -> Iterator[tuple[int, JobHandle]]:
    """Index and handle of the elements whose end is not in the journal."""
    for index in range(submission.size):
        if index not in submission.endings and submission.took(index):
            yield index, submission.handle(index)


def _is_lost(status: RunStatus) -> bool:
    """Return a sort key: of runs that shared a job, a lost one tells what ended the job."""
    return status.state is RunState.LOST


def ending_of(status: RunStatus) -> ExitRecord:
    """Return how a run without a result ended."""
    return ExitRecord(status.cause or Cause.UNKNOWN, status.detail, status.node)


def is_infrastructure(ending: ExitRecord) -> bool:
    """Return whether the machine caused the end, not the run: a repetition may succeed."""
    if ending.cause is Cause.SIGNAL:
        return parse_signal(ending.detail) == signal.SIGKILL
    return ending.cause in INFRASTRUCTURE


def past_endings(status: RunStatus, trials: Sequence[SubmittedAttempt]) -> list[ExitRecord]:
    """Return every ending of a run without a result, also the last one if it is not recorded yet.

    Where the run crashed in a job that went on with others, its own attempts tell how.
    """
    own = _read_crashes(status.folder)
    endings = [own.get(trial.tag, trial.ending) for trial in trials]
    if endings and endings[-1] is None and status.cause is not None:
        endings[-1] = ending_of(status)
    return [ending for ending in endings if ending is not None]


def _read_crashes(folder: RunFolder) -> dict[str, ExitRecord]:
    """Return how a run crashed in a job that went on, by tag of the submission."""
    records = [lease.read(path) for path in sorted(folder.attempts.glob("*.json"))]
    return {
        str(record.get("batch")): _ending_in(record)
        for record in records
        if record.get("ending") == LOST
    }


def _ending_in(record: Mapping[str, Any]) -> ExitRecord:
    detail = str(record.get("detail", ""))
    return ExitRecord(cause_of_record(record.get("cause"), detail), detail)


def find_bad_nodes(
    statuses: Iterable[RunStatus], trials: SubmittedAttempts, least: int = 2
) -> frozenset[str]:
    """Return the nodes that ended at least `least` jobs of the grid.

    They failed, or they lack what others have: jobs never started there, such as without the image,
    while runs of the same submission began elsewhere.
    """
    every = list(statuses)
    begun = {tag for status in every for tag in _begun_by(status)}
    ended = {
        (trial.tag, trial.handle, trial.ending)
        for some in trials.values()
        for trial in some
        if trial.ending is not None
    }
    for status in every:
        tried = trials.get(status.run_id, ())
        if status.handle and status.cause:
            ended.add((tried[-1].tag if tried else "", status.handle, ending_of(status)))
    blamed = {
        (handle, ending.node)
        for tag, handle, ending in ended
        if ending.cause is Cause.NODE or (ending.cause is Cause.NOT_STARTED and tag in begun)
    }
    counted = Counter(node for _, node in blamed if node)
    return frozenset(node for node, number in counted.items() if number >= least)


def _begun_by(status: RunStatus) -> set[str]:
    """Return the submissions by which a run began, as far as its latest files tell."""
    records: list[Mapping[str, Any]] = []
    if status.result is not None:
        records.append(status.result.provenance)
    if status.attempt is not None:
        records.append(status.attempt.record)
    return {str(record["batch"]) for record in records if "batch" in record}


def find_auto_retries(
    journal: Journal, history: Mapping[str, RunStatus], retries: int
) -> frozenset[str]:
    """Return the ids of lost runs to repeat unasked: machines ended them, up to `retries` times."""
    lost = [
        status
        for status in history.values()
        if status.state is RunState.LOST and is_infrastructure(ending_of(status))
    ]
    if not (retries and lost):
        return frozenset()
    trials = read_attempts(journal.folder, journal.submissions())
    return frozenset(
        status.run_id for status in lost if _infrastructure_failures(status, trials) <= retries
    )


def _infrastructure_failures(status: RunStatus, trials: SubmittedAttempts) -> int:
    return sum(map(is_infrastructure, past_endings(status, trials.get(status.run_id, ()))))


def has_progressed(folder: RunFolder, tag: str) -> bool:
    """Return whether the last attempt of a submission saved a checkpoint: it made progress.

    Times are compared by the clock of the disk, which may not be the node's: an attempt begins with
    its `spec.json`.
    """
    begun = [record["since"] for record in _attempts(folder) if record.get("batch") == tag]
    try:
        if not begun:
            return False
        start = folder.spec.stat().st_mtime if folder.spec.exists() else max(begun)
        return folder.checkpoint.stat().st_mtime > start
    except OSError:
        return False


def _attempts(folder: RunFolder) -> Iterator[Mapping[str, Any]]:
    return (lease.read(path) for path in folder.attempts.glob("*.json"))
