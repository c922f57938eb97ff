"""The append-only record of a grid: what was asked of a scheduler, and what it answered.

The line that states an intent is on disk before the scheduler is called: if a process dies in
between, the next command knows what to look for.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from anlp.core import lease
from anlp.core.errors import UserError
from anlp.core.files import advise, append_whole, make_folder
from anlp.core.json_text import text_in, time_in, whole_in
from anlp.core.lease import HeldError
from anlp.records.files import parse_jsonl
from anlp.records.folders import GridFolder
from jobs.common.processes import is_stopped
from jobs.common.users import user_name
from jobs.config.resources import Resources, resources_from_json
from jobs.schedulers.base import Batch, Cause, Job, JobHandle

MOST_ELEMENTS = 10_000_000  # of a submission: more is a damaged number
LOCK_LEASE_S = 30.0
LOCK_PATIENCE_S = 120.0


@dataclass(frozen=True, slots=True)
class ExitRecord:
    """An element that ended without a result, as its launcher saw it."""

    cause: Cause
    detail: str = ""
    node: str = ""


@dataclass
class Submission:
    """Everything the journal says about one submission."""

    tag: str
    scheduler: str
    batch: str  # path of the batch file, relative to the grid's folder
    size: int
    redo: str
    time: float
    by: lease.Process
    resources: Resources
    jobs: list[Job] = field(default_factory=list)  # those known to be accepted
    is_answered: bool = False  # what `jobs` does not cover was not accepted
    refused: str | None = None
    user: str = ""  # who submitted it; empty: not recorded
    cluster: str = ""  # that it was submitted to, where the scheduler names it
    last: float = 0.0  # unix time of its latest line
    after: tuple[str, ...] = ()  # jobs that had to end well first
    each: Resources = field(default_factory=Resources)  # for one run; `resources`: for a job
    profile: str | None = None  # of the site
    max_parallel: int | None = None  # jobs at a time
    endings: dict[int, ExitRecord] = field(default_factory=dict)
    cancelled: set[int] = field(default_factory=set)  # elements that were asked to stop
    learned: dict[int, ExitRecord] = field(default_factory=dict)  # see `Journal.learn`

    def handle(self, index: int) -> JobHandle:
        """Return the handle of an element; without an answer, one of the submitting process."""
        for job in self.jobs:
            if job.first <= index < job.first + job.size:
                return JobHandle(self.scheduler, job.native_id, index - job.first)
        return JobHandle(self.scheduler, self.by.to_id(), index)

    def took(self, index: int) -> bool:
        """Return whether the scheduler accepted an element, or may have."""
        is_covered = any(job.first <= index < job.first + job.size for job in self.jobs)
        return is_covered or not (self.is_answered or self.refused is not None)


@dataclass(frozen=True, slots=True)
class Journal:
    """The journal of one grid folder."""

    folder: GridFolder

    @contextmanager
    def locked(self, patience_s: float = LOCK_PATIENCE_S) -> Iterator[None]:
        """Hold the grid against every other submit, cancel and retry, on any host.

        Raises:
            HeldError: a living process held it for longer than `patience_s`.
        """
        deadline = time.monotonic() + patience_s
        while True:
            try:
                held = lease.acquire(self.folder.lock, lease_s=LOCK_LEASE_S)
                break
            except lease.HeldError as error:
                if time.monotonic() > deadline or _is_stopped(error):
                    raise
                time.sleep(0.05)
        try:
            lease.sweep(self.folder.lock)
            yield
        finally:
            held.release()

    @contextmanager
    def held(self) -> Iterator[Journal]:
        """Hold the grid as `locked` does, and say in a sentence why that is not possible.

        Raises:
            UserError: another command holds it and does not finish, or its folder cannot be
                written.
        """
        with writing_to(self.folder), self._locked_in_words():
            yield self

    @contextmanager
    def _locked_in_words(self) -> Iterator[None]:
        try:
            with self.locked():
                yield
        except HeldError as error:
            advice = "try again"
            if _is_stopped(error):
                pid = error.holder.get("pid")
                advice = f"it is stopped: `fg` in its terminal or `kill -CONT {pid}` lets it go on"
            raise UserError(
                f"{self.folder.name}: another command is at work on this grid ({error}); {advice}"
            ) from None

    def intend(
        self,
        batch: Batch,
        scheduler: str,
        redo: str,
        resources: Resources,
        each: Resources | None = None,
        profile: str | None = None,
    ) -> None:
        """Write the intent to submit `batch`; returns after the line is on disk.

        Args:
            batch: the elements to submit.
            scheduler: its name.
            redo: which earlier results are set aside.
            resources: what a job asks for.
            each: what one run asks for; None: it has its job for itself.
            profile: of the site, if one was named.
        """
        by = lease.Process.this()
        self._append(
            "intent",
            tag=batch.tag,
            scheduler=scheduler,
            batch=str(batch.path.relative_to(self.folder.path)),
            n=batch.size,
            redo=redo,
            resources=asdict(resources),
            each=asdict(each or resources),
            after=list(batch.after),
            profile=profile,
            max_parallel=batch.max_parallel,
            user=user_name(),
            cluster=batch.cluster,
            by={"host": by.host, "boot": by.boot, "pid": by.pid, "started": by.started},
        )

    def accepted(self, tag: str, job: Job) -> None:
        """Write that the scheduler accepted a part of a submission; more may follow."""
        self._append("accepted", tag=tag, id=job.native_id, first=job.first, n=job.size)

    def answered(self, tag: str) -> None:
        """Write that the scheduler accepted nothing more of a submission."""
        self._append("answered", tag=tag)

    def refused(self, tag: str, why: str) -> None:
        """Write that the scheduler refused a submission."""
        self._append("refused", tag=tag, why=why)

    def ended(self, tag: str, index: int, ending: ExitRecord) -> None:
        """Write that an element ended without a result."""
        self.all_ended(tag, {index: ending})

    def all_ended(self, tag: str, endings: Mapping[int, ExitRecord]) -> None:
        """Write that elements ended without a result, all of them in one write."""
        self._append_all("ended", _forms_of_endings(tag, endings))

    def learn(self, endings: Mapping[str, Mapping[int, ExitRecord]]) -> None:
        """Keep how elements ended, by tag and index, for when their scheduler has forgotten it.

        For commands that do not hold the grid: it goes to a file of its own. Nothing is kept where
        the folder cannot be written.
        """
        forms = [form for tag, some in endings.items() for form in _forms_of_endings(tag, some)]
        if forms and self.folder.path.is_dir():
            with suppress(OSError):
                append_whole(self.folder.endings, _encode("ended", forms), sync=False)

    def cancel(self, elements: Mapping[str, Sequence[int]]) -> None:
        """Write the request to stop elements, by tag; a launcher on this machine obeys it."""
        for tag, indices in elements.items():
            self._append("cancel", tag=tag, indices=list(indices))

    def submissions(self) -> dict[str, Submission]:
        """Return every submission by tag, in the order of their intents."""
        found: dict[str, Submission] = {}
        # a damaged line counts as not written
        for _ in parse_jsonl(self.folder.journal, partial(_apply, found)):
            pass
        self._add_learned(found)
        return found

    def _add_learned(self, found: Mapping[str, Submission]) -> None:
        """Add what commands learned that only looked."""
        with suppress(OSError):  # another user's file: the scheduler may still tell
            for _ in parse_jsonl(self.folder.endings, partial(_learn, found)):
                pass

    def cancelled(self, tag: str) -> set[int]:
        """Return the elements of a submission that were asked to stop."""
        found: set[int] = set()
        for _, indices in parse_jsonl(self.folder.journal, partial(_cancelled, tag)):
            found |= indices
        return found

    def _append(self, event: str, **content: Any) -> None:
        self._append_all(event, [content])

    def _append_all(self, event: str, contents: Sequence[Mapping[str, Any]]) -> None:
        make_folder(self.folder.path)
        append_whole(self.folder.journal, _encode(event, contents), sync=True)


def _is_stopped(held: HeldError) -> bool:
    """Return whether the holder is a process of this host that waits to be told to go on."""
    holder = lease.process_from_json(held.holder)
    return holder.is_here() and holder.is_alive() and is_stopped(holder.pid)


def new_tag() -> str:
    """Return a name that no other submission has."""
    return uuid.uuid4().hex[:12]


def _cancelled(tag: str, line: Mapping[str, Any]) -> set[int]:
    """Return the elements of a submission that a line asks to stop."""
    if line.get("event") != "cancel" or line.get("tag") != tag:
        return set()
    return {index for index in line["indices"] if type(index) is int}


def _apply(found: dict[str, Submission], line: Mapping[str, Any]) -> None:
    """Add what a line says.

    Raises:
        KeyError, TypeError, ValueError: the line is damaged; it added nothing.
    """
    event, tag = line.get("event"), str(line.get("tag"))
    if tag in found:
        found[tag].last = time_in(line, "time")
    if event == "intent":
        found[tag] = _submission(tag, line)
    elif tag not in found:
        return
    elif event == "accepted":
        first, size = whole_in(line, "first", MOST_ELEMENTS), whole_in(line, "n", MOST_ELEMENTS)
        found[tag].jobs.append(Job(text_in(line, "id"), first, size))
    elif event == "answered":
        found[tag].is_answered = True
    elif event == "refused":
        found[tag].refused = text_in(line, "why")
    elif event == "cancel":
        found[tag].cancelled.update(_cancelled(tag, line))
    elif event == "ended":
        found[tag].endings[whole_in(line, "index", MOST_ELEMENTS)] = _parse_ending(line)


def _submission(tag: str, line: Mapping[str, Any]) -> Submission:
    """Return the submission that an intent begins."""
    resources = resources_from_json(line["resources"])
    batch = Path(text_in(line, "batch"))
    if batch.is_absolute() or ".." in batch.parts:
        raise ValueError(f"batch: expected a file of the grid's folder, got {batch}")
    most = line.get("max_parallel")
    profile = line.get("profile")
    return Submission(
        tag,
        text_in(line, "scheduler"),
        str(batch),
        whole_in(line, "n", MOST_ELEMENTS),
        text_in(line, "redo"),
        time_in(line, "time"),
        lease.process_from_json(line["by"]),
        resources,
        user=str(line.get("user", "")),
        cluster=str(line.get("cluster", "")),
        last=time_in(line, "time"),
        after=tuple(map(str, line.get("after", ()))),
        each=resources_from_json(line["each"]) if "each" in line else resources,
        profile=None if profile is None else str(profile),
        max_parallel=None if most is None else whole_in(line, "max_parallel", MOST_ELEMENTS),
    )


def _learn(found: Mapping[str, Submission], line: Mapping[str, Any]) -> None:
    """Add an ending that a command learned; one of a submission that is not known is left out."""
    submission = found.get(text_in(line, "tag"))
    if submission is not None:
        submission.learned[whole_in(line, "index", MOST_ELEMENTS)] = _parse_ending(line)


def _parse_ending(line: Mapping[str, Any]) -> ExitRecord:
    return ExitRecord(
        Cause[text_in(line, "cause")], text_in(line, "detail"), str(line.get("node", ""))
    )


def _forms_of_endings(tag: str, endings: Mapping[int, ExitRecord]) -> list[dict[str, Any]]:
    return [
        {
            "tag": tag,
            "index": index,
            "cause": ending.cause.name,
            "detail": ending.detail,
            "node": ending.node,
        }
        for index, ending in endings.items()
    ]


def _encode(event: str, forms: Sequence[Mapping[str, Any]]) -> bytes:
    """Return a line for each form, all of this moment."""
    now = round(time.time(), 3)
    return b"".join(
        json.dumps({"time": now, "event": event, **form}).encode() + b"\n" for form in forms
    )


@contextmanager
def writing_to(folder: GridFolder) -> Iterator[None]:
    """Turn what a full, read-only or forbidden disk answers into a sentence that names the cause.

    Raises:
        UserError: a file of the grid cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{folder.path}: cannot be written ({error.strerror or error}); "
            f"{_file_within(folder, error)}{advise(error)}, or set ANLP_RUNS to another folder"
        ) from error


def _file_within(folder: GridFolder, error: OSError) -> str:
    """Return the file that an error is about, `journal.jsonl: `; empty for the folder itself."""
    name = error.filename if isinstance(error.filename, str) else ""
    within = name.removeprefix(f"{folder.path}/")
    return f"{within}: " if within != name else ""
