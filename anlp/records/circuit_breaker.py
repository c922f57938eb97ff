"""The circuit breaker of a batch: after too many equal failures no further run is begun.

Two files beside the batch file and no process that waits: each run that ends appends a line to
`3.ended`; a run that finds its failure `stop_after` times there, and no success since, creates
`3.tripped`; a run that is to begin looks for that file. A line that was torn or lost counts for
nothing.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from anlp.core.checked import make
from anlp.core.files import append_whole, create_whole
from anlp.core.json_text import parse_json
from anlp.records.files import read_json
from anlp.records.fingerprint import Fingerprint, fingerprint_of
from anlp.records.results import RunError

LONGEST = 300  # characters of a message: a line is one write
TAIL = 1 << 20  # bytes that are read of the notes, thousands of lines
CANCEL_TIMEOUT_S = 20.0
# The command that cancels the pending elements of this job's array; the job's launcher sets it.
CANCEL_PENDING = "ANLP_CANCEL_PENDING"


@dataclass(frozen=True, slots=True)
class Tripped:
    """Why a batch was stopped."""

    failure: Fingerprint
    count: int  # of runs that failed so
    time: float

    def __str__(self) -> str:
        """`10 runs in a row failed with ValueError: bad shape, in loop.py step`."""
        who = "1 run" if self.count == 1 else f"{self.count or 'too many'} runs in a row"
        return f"{who} failed with {self.failure}"


def read(batch: Path) -> Tripped | None:
    """Return why the batch was stopped; None where it was not."""
    if not marker_of(batch).exists():
        return None
    form = read_json(marker_of(batch)) or {}
    try:
        return make(Tripped, form)
    except ValueError:  # unfinished or damaged: its presence is what counts
        return Tripped(Fingerprint("the same exception", "", ""), 0, 0.0)


def latest(batches: Iterable[Path]) -> Tripped | None:
    """Return why one of these batches was stopped, the last of them; None: none was."""
    stopped = [tripped for batch in batches if (tripped := read(batch)) is not None]
    return max(stopped, key=lambda tripped: tripped.time, default=None)


def note(batch: Path, run_id: str, error: RunError | None, *, stop_after: int) -> Tripped | None:
    """Note that a run ended, and stop the batch where this failure is one too many.

    Args:
        batch: the batch file.
        run_id: the run.
        error: what ended it; None where it ended well.
        stop_after: how many equal failures are too many; 0: none are, and nothing is noted.

    Returns:
        Why the batch was stopped, where this call did it; None otherwise.
    """
    if not stop_after:
        return None
    failure = None if error is None else _cut(fingerprint_of(error))
    _append(_notes(batch), {"run": run_id, "failure": None if failure is None else asdict(failure)})
    if failure is None:
        return None
    count = streaks(_last_lines(_notes(batch)))[failure]
    tripped = Tripped(failure, count, time.time())
    return tripped if count >= stop_after and _create(marker_of(batch), asdict(tripped)) else None


def streaks(lines: Iterable[Mapping[str, Any]]) -> Counter[Fingerprint]:
    """Count each failure since a run last ended well; lines in order, newest last."""
    found: Counter[Fingerprint] = Counter()
    for line in lines:
        if line.get("failure") is None:
            found.clear()
        else:
            with suppress(ValueError):
                found[make(Fingerprint, line["failure"])] += 1
    return found


def cancel_pending() -> str:
    """Take what waits of this job's array off the queue, by the command that the environment names.

    What stays in the queue ends by itself as soon as it begins.

    Returns:
        What went wrong, in words; empty where nothing did, or where no command is named.
    """
    argv = shlex.split(os.environ.get(CANCEL_PENDING, ""))
    if not argv:
        return ""
    try:
        done = subprocess.run(  # noqa: S603 - a list, which the job's own script or launcher set
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=CANCEL_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f"{argv[0]}: {error}"
    if done.returncode == 0:
        return ""
    return f"{argv[0]}: {done.stderr.strip() or f'exit code {done.returncode}'}"


def stop_if_tripped(batch: Path, run_id: str, error: RunError | None, *, stop_after: int) -> None:
    """Note that a run ended; where that stops the batch, say so and cancel what waits.

    Never raises for a full disk.
    """
    try:
        tripped = note(batch, run_id, error, stop_after=stop_after)
    except OSError as fault:
        print(f"{batch}: how a run ended could not be noted ({fault})", file=sys.stderr)
        return
    if tripped is not None:
        print(f"{batch}: {tripped}: what has not begun is held back", file=sys.stderr)
        if fault_of_cancel := cancel_pending():
            print(fault_of_cancel, file=sys.stderr)


def _notes(batch: Path) -> Path:
    return batch.with_suffix(".ended")


def marker_of(batch: Path) -> Path:
    """Return the file whose presence stops a batch: `3.tripped`."""
    return batch.with_suffix(".tripped")


def _cut(failure: Fingerprint) -> Fingerprint:
    return Fingerprint(failure.type[:LONGEST], failure.message[:LONGEST], failure.place[:LONGEST])


def _append(path: Path, form: Mapping[str, Any]) -> None:
    """Append a whole line in one write.

    The line break before it separates it from what a killed writer left.
    """
    append_whole(path, b"\n" + json.dumps(form).encode() + b"\n")


def _last_lines(path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL))
        for line in file:
            with suppress(ValueError):
                form = parse_json(line)
                if isinstance(form, dict):
                    yield form


def _create(path: Path, form: Mapping[str, Any]) -> bool:
    """Create the file; return False where another process did."""
    return create_whole(path, json.dumps(form).encode())
