"""Read how far a run is: the end of its log, of its metrics, and of what its job printed."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anlp.console.printable import plain
from anlp.core.spec import epochs_in
from anlp.records.files import read_metrics
from anlp.records.folders import GridFolder, RunFolder
from anlp.records.results import read_result
from jobs.runs.journal import Journal, Submission
from jobs.schedulers import registry
from jobs.schedulers.base import READ_OUTPUT

if TYPE_CHECKING:  # that module asks this one about jobs that began no run
    from jobs.runs.status import RunStatus

BLOCK = 1 << 16
MOST_BYTES = 1 << 22  # that are read of a log
LONGEST_LINE = 2_000
LINE_END = re.compile(r"\r*\n|\r+")
MOST_SAID = 160  # characters of a line
LINES_OF_REASON = 20  # among which the reason of a job that began nothing is looked for


def last_words(status: RunStatus, lines: int) -> list[str]:
    """Return the last lines of a run's log, or of its traceback where there is no log."""
    found = tail(status.folder.log, lines)
    if found:
        return found
    result = read_result(status.folder)
    return result.error.traceback.splitlines()[-lines:] if result and result.error else []


def tail(path: Path, lines: int, end: int | None = None) -> list[str]:
    """Return the last lines before byte `end` of a file, reading no more of it than needed.

    A carriage return ends a line, too: progress bars write thousands of them. Lines are cut at
    `LONGEST_LINE` letters, and at most `MOST_BYTES` are read; without a file there are no lines.
    """
    blocks: list[bytes] = []
    size = ends = 0
    try:
        with path.open("rb") as file:
            position = file.seek(0, os.SEEK_END) if end is None else end
            # "\r\n" may lie across two blocks, and is counted twice then
            while position > 0 and ends <= lines + len(blocks) and size < MOST_BYTES:
                start = max(0, position - BLOCK)
                file.seek(start)
                blocks.append(file.read(position - start))
                ends += len(LINE_END.findall(blocks[-1].decode("latin-1")))
                size += position - start
                position = start
    except OSError:
        return []
    text = b"".join(reversed(blocks)).decode(errors="replace")
    found = split_lines(text)
    if position > 0 and len(found) <= lines and found:
        found[0] = f"… {found[0]}"  # its beginning was not read
    return found[-lines:]


def split_lines(text: str) -> list[str]:
    r"""Return the lines of a log, also those that a carriage return ends, cut to a bearable length.

    >>> split_lines("10 %\r20 %\ndone\r\n")
    ['10 %', '20 %', 'done']
    """
    found = LINE_END.split(text)
    if not found[-1]:
        found.pop()
    return [line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]}…" for line in found]


def job_output_path(status: RunStatus) -> Path | None:
    """Return the file with the output of a run's last job, None for runs on this machine."""
    handle = status.handle
    if handle is None or handle.scheduler == registry.LOCAL:
        return None
    folder = GridFolder(status.folder.path.parent)
    for submission in Journal(folder).submissions().values():
        for job in submission.jobs:
            if (submission.scheduler, job.native_id) == (handle.scheduler, handle.native_id):
                batch = folder.path / submission.batch
                path = registry.output_path(handle.scheduler, batch, job, handle.index)
                has_text = path is not None and path.is_file() and path.stat().st_size > 0
                return path if has_text else None
    return None


def last_job_output(status: RunStatus, lines: int) -> list[str]:
    """Return the last lines of the job's output below its path; nothing where there is none."""
    path = job_output_path(status)
    return [f"(its job printed, in {path})", *tail(path, lines)] if path else []


def quote_output(detail: str, run: RunFolder, submission: Submission, index: int) -> str:
    """Return what ended a job with the last line that it printed, instead of where to read it."""
    line = _last_line_of_job(GridFolder(run.path.parent), submission, index)
    if not line:
        return detail
    return f"{detail.removesuffix(READ_OUTPUT).rstrip('; ')}: {line[:MOST_SAID]}"


def _last_line_of_job(folder: GridFolder, submission: Submission, index: int) -> str:
    """Return the last line with text that the job of an element printed, empty where none is."""
    for job in submission.jobs:
        if not job.first <= index < job.first + job.size:
            continue
        batch = folder.path / submission.batch
        path = registry.output_path(submission.scheduler, batch, job, index - job.first)
        lines = tail(path, LINES_OF_REASON) if path is not None else []
        told = (plain(line).strip() for line in reversed(lines))
        return next((line for line in told if line), "")
    return ""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is, from the last line of its metrics."""

    epoch: int
    epochs: int
    metrics: Mapping[str, Any]


def read_progress(status: RunStatus) -> Progress | None:
    """Return the last epoch that a run logged, None before its first."""
    lines = [line for line in read_metrics(status.folder.metrics) if "epoch" in line]
    if not lines:
        return None
    return Progress(lines[-1]["epoch"], epochs_in(status.values), lines[-1])
