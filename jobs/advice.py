"""What to do about a run that did not end well, in one or two sentences."""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping

from anlp.record import RunError, RunState
from jobs.failures import is_out_of_memory
from jobs.schedulers.base import Cause
from jobs.state import RunStatus

RETRY = "python -m jobs.retry {grid} --only id={run}"

OF_CAUSE: Mapping[Cause, str] = {
    Cause.CANCELLED: "Somebody cancelled it. Submit the grid again to continue it.",
    Cause.LAUNCHER: "The submit that was running it ended (Ctrl-C, a closed terminal). Submit the grid again.",
    Cause.CONTINUE: "It saved a checkpoint and asked to be continued. Submit the grid again.",
    Cause.TIMEOUT: "It met its time limit. Give it more (`time` under `resources`, or --time) and retry: " + RETRY,
    Cause.OUT_OF_MEMORY: "It met its memory limit. Give it more (`mem` under `resources`, or --mem) or lower "
    "batch_size, and retry: " + RETRY,
    Cause.NODE: "Its machine failed, not the run. Retry it: " + RETRY,
    Cause.EXIT: "Its process ended without a result; the last lines of its log may say why. Retry it: " + RETRY,
    Cause.UNKNOWN: "Nobody recorded how its process ended (a reboot, a kill -9 of everything). Retry it: " + RETRY,
}

OF_SIGNAL: Mapping[int, str] = {
    signal.SIGKILL: "Probably the kernel's out-of-memory killer (see `dmesg`), or a kill -9 by hand. Give it more "
    "memory or run fewer at a time (--slots), and retry: " + RETRY,
    signal.SIGSEGV: "A crash in native code, seldom the run's own fault; the log may name the library. Retry it: "
    + RETRY,
    signal.SIGBUS: "Shared memory or a memory-mapped file ran out or vanished (a full /dev/shm or disk). Retry: "
    + RETRY,
    signal.SIGXCPU: "It met a limit of processor time (`ulimit -t`). Raise the limit and retry: " + RETRY,
}
OTHER_SIGNAL = "Something outside the run sent it {name}. Retry it: " + RETRY

OF_ERROR: Mapping[str, str] = {
    "FileNotFoundError": "A file is missing where it ran; data sets are staged by submit. Put it there and retry: "
    + RETRY,
    "ModuleNotFoundError": "A package is missing in the environment it ran in. Install it and retry: " + RETRY,
    "OSError": "Reading or writing failed where it ran: look at disk space and quota, then retry: " + RETRY,
}
OTHER_ERROR = "It raised an exception: python -m jobs.logs {grid} {run} shows the traceback. When mended: " + RETRY
OUT_OF_MEMORY_ERROR = (
    "The device had not enough memory for it. Lower batch_size (a new configuration: submit it), run fewer at a time "
    "(--slots), or take a larger device, and retry: " + RETRY
)


def advise(status: RunStatus, grid: str) -> str:
    """What to do next about a run that failed, was lost or was interrupted; empty for any other."""
    error = status.result.error if status.result else None
    if status.state is RunState.FAILED:
        text = _about_error(error)
    elif status.state in (RunState.LOST, RunState.INTERRUPTED):
        text = _about_cause(status.cause or Cause.UNKNOWN, status.detail)
    else:
        return ""
    return text.format(grid=grid, run=status.run_id)


def _about_error(error: RunError | None) -> str:
    if error is None:
        return OTHER_ERROR
    return OUT_OF_MEMORY_ERROR if is_out_of_memory(error) else OF_ERROR.get(error.type, OTHER_ERROR)


def _about_cause(cause: Cause, detail: str) -> str:
    if cause is not Cause.SIGNAL:
        return OF_CAUSE[cause]
    number = signal_number(detail)
    return OF_SIGNAL.get(number, OTHER_SIGNAL.replace("{name}", signal_name(number)))


def signal_number(detail: str) -> int:
    """The number in `signal 9` or of the name in `SIGKILL`; 0 where there is neither."""
    named = re.search(r"\bSIG[A-Z0-9]+\b", detail)
    if named and named[0] in signal.Signals.__members__:
        return int(signal.Signals[named[0]])
    numbered = re.search(r"\d+", detail)
    return int(numbered[0]) if numbered else 0


def signal_name(number: int) -> str:
    """`SIGTERM` for 15; `a signal` where the number has no name."""
    return signal.Signals(number).name if number in {int(one) for one in signal.Signals} else "a signal"
