"""How runs ended before: put on record before schedulers forget it, read back per run, and judged."""

from __future__ import annotations

import signal
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from anlp.core import lease
from anlp.records.crash import LOST
from anlp.records.files import read_numbered_jsonl
from anlp.records.folders import GridFolder, RunFolder
from anlp.records.results import RunState
from jobs.config.resources import Resources
from jobs.runs.journal import ExitRecord, Journal, Submission
from jobs.runs.status import RunStatus
from jobs.schedulers.base import Cause, JobHandle, parse_signal

# What a run itself cannot be blamed for; a SIGKILL joins them: no run sends it to itself.
INFRASTRUCTURE = frozenset({Cause.NODE, Cause.NOT_STARTED, Cause.LAUNCHER, Cause.UNKNOWN})


@dataclass(frozen=True, slots=True)
class SubmittedAttempt:
    """One submission of one run."""

    tag: str  # of the submission
    handle: JobHandle
    asked: Resources  # for this run alone, whatever shared its job
    at_once: int  # how many runs its job carried out at the same time
    ending: ExitRecord | None  # None: with a result, not yet, or not on record yet


SubmittedAttempts = Mapping[str, Sequence[SubmittedAttempt]]  # by run id, in order of submission


def read_attempts(folder: GridFolder, submissions: Mapping[str, Submission]) -> SubmittedAttempts:
    """Every submission of every run that was not refused or left for later."""
    found: dict[str, list[SubmittedAttempt]] = defaultdict(list)
    for submission in submissions.values():
        for index, line in read_numbered_jsonl(folder.path / submission.batch):
            if submission.took(index):
                with suppress(
                    AttributeError, KeyError, TypeError, ValueError
                ):  # damaged: as if it were not there
                    for run_id in _runs_in(line, submission.tag):
                        found[run_id].append(
                            _attempt(submission, index, int(line.get("at_once", 1)))
                        )
    return found


def _runs_in(line: Mapping[str, Any], tag: str) -> list[str]:
    """The runs of a line of a batch file; none in a file of another submission, which reused a deleted one's name."""
    return [form["run_id"] for form in line["specs"]] if line["options"]["batch"] == tag else []


def _attempt(submission: Submission, index: int, at_once: int) -> SubmittedAttempt:
    ending = submission.endings.get(index)
    return SubmittedAttempt(
        submission.tag, submission.handle(index), submission.each, at_once, ending
    )


def record_endings(journal: Journal, statuses: Iterable[RunStatus]) -> None:
    """Writes down what ended without a result and is not on record yet; call it while holding the grid."""
    ended = {
        status.handle: status
        for status in sorted(statuses, key=_is_lost)
        if status.cause and not status.died_alone
    }
    if not ended:
        return
    for submission in journal.submissions().values():
        fresh = {
            index: ending_of(ended[handle])
            for index, handle in _open_handles(submission)
            if handle in ended
        }
        if fresh:
            journal.all_ended(submission.tag, fresh)


def _open_handles(submission: Submission) -> Iterator[tuple[int, JobHandle]]:
    """Index and handle of the elements of which the journal does not know how they ended."""
    for index in range(submission.size):
        if index not in submission.endings and submission.took(index):
            yield index, submission.handle(index)


def _is_lost(status: RunStatus) -> bool:
    """Of runs that shared a job, the one that was at work tells what ended it."""
    return status.state is RunState.LOST


def ending_of(status: RunStatus) -> ExitRecord:
    """How a run without a result ended."""
    return ExitRecord(status.cause or Cause.UNKNOWN, status.detail, status.node)


def is_infrastructure(ending: ExitRecord) -> bool:
    """Whether the machine is to blame and not the run, so that repeating it as it was may help."""
    if ending.cause is Cause.SIGNAL:
        return parse_signal(ending.detail) == signal.SIGKILL
    return ending.cause in INFRASTRUCTURE


def past_endings(status: RunStatus, trials: Sequence[SubmittedAttempt]) -> list[ExitRecord]:
    """Every ending of a run without a result, the last one included whether it is on record or not.

    Where it died beside others that went on, its own attempts know how, and not the end of its job.
    """
    own = _read_crashes(status.folder)
    endings = [own.get(trial.tag, trial.ending) for trial in trials]
    if endings and endings[-1] is None and status.cause is not None:
        endings[-1] = ending_of(status)
    return [ending for ending in endings if ending is not None]


def _read_crashes(folder: RunFolder) -> dict[str, ExitRecord]:
    """How a run died by itself, by tag of the submission."""
    records = [lease.read(path) for path in sorted(folder.attempts.glob("*.json"))]
    return {
        str(record.get("batch")): _ending_in(record)
        for record in records
        if record.get("ending") == LOST
    }


def _ending_in(record: Mapping[str, Any]) -> ExitRecord:
    cause = Cause.parse(record.get("cause")) or Cause.UNKNOWN
    return ExitRecord(cause, str(record.get("detail", "")))


def find_bad_nodes(
    statuses: Iterable[RunStatus], trials: SubmittedAttempts, least: int = 2
) -> frozenset[str]:
    """Nodes whose failure ended at least so many jobs of the grid."""
    past = [
        (trial.handle, trial.ending) for some in trials.values() for trial in some if trial.ending
    ]
    failures = {(handle, ending.node) for handle, ending in past if ending.cause is Cause.NODE}
    failures |= {
        (status.handle, status.node)
        for status in statuses
        if status.cause is Cause.NODE and status.handle
    }
    counted = Counter(node for _, node in failures if node)
    return frozenset(node for node, number in counted.items() if number >= least)


def find_auto_retries(
    journal: Journal, history: Mapping[str, RunStatus], retries: int
) -> frozenset[str]:
    """Ids of the lost runs that are taken unasked: machines ended them, `retries` times at most."""
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
    """Whether the last attempt of a submission saved a checkpoint; it does so only where it got further."""
    begun = [record["since"] for record in _attempts(folder) if record.get("batch") == tag]
    try:
        return bool(begun) and folder.checkpoint.stat().st_mtime > max(begun)
    except OSError:
        return False


def _attempts(folder: RunFolder) -> Iterator[Mapping[str, Any]]:
    return (lease.read(path) for path in folder.attempts.glob("*.json"))
