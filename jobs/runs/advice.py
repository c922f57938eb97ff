"""What to do about a run that did not end well, in one or two sentences."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass

from anlp.records.results import RunError, RunState
from jobs.runs.failures import is_configuration_error, is_device_out_of_memory, is_out_of_memory
from jobs.runs.status import RunStatus
from jobs.schedulers.base import Cause, parse_signal, signal_name

OF_CAUSE: Mapping[Cause, str] = {
    Cause.CANCELLED: "Somebody cancelled it. Submit the grid again to continue it.",
    Cause.LAUNCHER: "The submit that was running it ended (Ctrl-C, a closed terminal). Submit the grid again.",
    Cause.CONTINUE: "It saved a checkpoint and asked to be continued. Submit the grid again.",
    Cause.DISK_FULL: "It could not write to its folder: a full disk, a quota, a lost right. Mend that, submit the grid "
    "again: it goes on from its last checkpoint.",
    Cause.SKIPPED: "It was not begun, since what went before it failed: a canary, or too many runs in a row. Mend "
    "that; any submit of the grid then takes it.",
    Cause.PREEMPTED: "Another job was given its place. Submit the grid again to continue it.",
    Cause.TIMEOUT: "It met its time limit. A retry continues it from its checkpoint, and gives it half as much time "
    "again where it got no further (or as much as --time says).",
    Cause.OUT_OF_MEMORY: "It met its memory limit. A retry gives it half as much again (or as much as --mem says); or "
    "lower batch_size (that is a new configuration: submit it).",
    Cause.NODE: "Its machine failed, not the run. A retry leaves out a machine that failed twice, where the scheduler can.",
    Cause.NOT_STARTED: "Its job began, but not its program: a missing folder, image or module; the job's output has "
    "the reason.",
    Cause.EXIT: "Its process ended without a result; the last lines of its log may say why.",
    Cause.UNKNOWN: "Nobody recorded how its process ended (a reboot, or a kill -9 of its launcher, too).",
}

OF_SIGNAL: Mapping[int, str] = {
    signal.SIGKILL: "Probably the kernel's out-of-memory killer (`dmesg` names its victims), or a kill -9 by hand. "
    "Give it more memory, or run fewer at a time with --slots.",
    signal.SIGSEGV: "A crash in native code, seldom the run's own fault; its log may name the library.",
    signal.SIGBUS: "Shared memory or a memory-mapped file ran out or vanished: look for a full /dev/shm or disk.",
    signal.SIGXCPU: "It met a limit of processor time: raise `ulimit -t`.",
}
OTHER_SIGNAL = "Something outside the run sent it {name}."

OF_ERROR: Mapping[str, str] = {
    "FileNotFoundError": "A file was missing where it ran. Data sets are staged by submit; put anything else there.",
    "ModuleNotFoundError": "A package is missing in the environment it ran in: install it.",
    "OSError": "Reading or writing failed where it ran: look at disk space and quota.",
}
OTHER_ERROR = (
    "It raised an exception; the end of its log has the traceback. Mend the cause, then retry."
)
DEVICE_OUT_OF_MEMORY = (
    "The device had not enough memory for it. Lower batch_size (that is a new configuration: submit it), run fewer at "
    "a time with --slots, or force a retry on a larger device."
)
HOST_OUT_OF_MEMORY = "Its machine had not enough memory for it. A retry asks for half as much again (or as much as --mem says)."
CONFIGURATION_ERROR = (
    "Its settings were refused, or nothing could be built from them; it would fail again. Mend the grid (that is a new "
    "configuration: submit it), or the code and then force a retry."
)


@dataclass(frozen=True, slots=True)
class Advice:
    """What probably happened and what to do, and the command for it."""

    text: str = ""
    command: str = ""


def advise(status: RunStatus, grid: str) -> Advice:
    """What to do next about a run that failed, was lost or was interrupted; nothing for any other."""
    retry = f"python -m jobs.retry {grid} --only id={status.run_id}"
    if status.state is RunState.FAILED:
        error = status.result.error if status.result else None
        needs_force = error is not None and (
            is_configuration_error(error) or is_device_out_of_memory(error)
        )
        return Advice(_about_error(error), f"{retry} --force" if needs_force else retry)
    text = _about_cause(status.cause or Cause.UNKNOWN, status.detail)
    if status.state is RunState.LOST:
        return Advice(text, retry)
    return Advice(text) if status.state is RunState.INTERRUPTED else Advice()


def _about_error(error: RunError | None) -> str:
    if error is None:
        return OTHER_ERROR
    if is_device_out_of_memory(error):
        return DEVICE_OUT_OF_MEMORY
    if is_out_of_memory(error):
        return HOST_OUT_OF_MEMORY
    return (
        CONFIGURATION_ERROR
        if is_configuration_error(error)
        else OF_ERROR.get(error.type, OTHER_ERROR)
    )


def _about_cause(cause: Cause, detail: str) -> str:
    if cause is not Cause.SIGNAL:
        return OF_CAUSE[cause]
    number = parse_signal(detail) or 0
    return OF_SIGNAL.get(number, OTHER_SIGNAL.format(name=signal_name(number)))
