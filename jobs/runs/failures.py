"""Failed and lost runs: grouped by cause, told in one line each, with advice on what to do next."""

from __future__ import annotations

import re
import signal
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from anlp.console.printable import plain
from anlp.console.verbs import command_name
from anlp.core.errors import OUT_OF_MEMORY_TYPES, OUT_OF_MEMORY_WORDS
from anlp.records.fingerprint import fingerprint_of, first_line, normalise
from anlp.records.results import RunError, RunState
from jobs.common.text import render_pairs
from jobs.runs.queries import own_settings, varying_settings
from jobs.runs.status import RunStatus, describe_cause
from jobs.schedulers.base import Cause, can_never_run, parse_signal, signal_name

FAILURES = frozenset({RunState.FAILED, RunState.LOST})
NUMBERED = frozenset({Cause.SIGNAL, Cause.EXIT})  # the number is the cause: 9 is not 11
ENDED_WELL = frozenset({RunState.DONE, RunState.DIVERGED})
LONGEST_MESSAGE = 100
# Faults of the settings where they are raised before the training began.
CONFIGURATION = frozenset(
    {"ValueError", "TypeError", "KeyError", "AttributeError", "NotImplementedError"}
)
CONFIGURATION_ALWAYS = frozenset({"SpecError", "UserError", "ValidationError"})
_OF_DEVICE = re.compile(r"\b(CUDA|HIP|GPU|cuDNN|cuBLAS)", re.IGNORECASE)

OF_CAUSE: Mapping[Cause, str] = {
    Cause.CANCELLED: "It was cancelled. Submit the grid again to continue it.",
    Cause.LAUNCHER: (
        "The submit that was running it ended (Ctrl-C, a closed terminal). "
        "Submit the grid again to continue it."
    ),
    Cause.CONTINUE: "It saved a checkpoint and asked to be continued. Submit the grid again.",
    Cause.DISK_FULL: (
        "It could not write a file; the cause names it. Fix that and submit the grid again: it "
        "continues from its last checkpoint."
    ),
    Cause.REMOVED: (
        "Its folder was removed while it trained, with what it had learned. Submit the grid again: "
        "it begins again."
    ),
    Cause.SKIPPED: (
        "It did not begin, because what went before it failed: a canary, or too many runs in a "
        "row. Fix that; any submit of the grid then takes it."
    ),
    Cause.PREEMPTED: "Another job took its place. Submit the grid again to continue it.",
    Cause.TIMEOUT: (
        "It reached its time limit. A retry continues it from its checkpoint; where it made no "
        "progress, a retry gives it half as much time again (or as much as --time says)."
    ),
    Cause.OUT_OF_MEMORY: (
        "It reached its memory limit. A retry gives it at least half as much again (or as much as "
        "--mem says); or lower batch_size (that is a new configuration: submit it)."
    ),
    Cause.NODE: (
        "Its node failed, not the run. A retry excludes a node that failed twice, where the "
        "scheduler can exclude nodes."
    ),
    Cause.NOT_STARTED: (
        "Its job began, but not its program: a missing folder, image or module; the job's output "
        "has the reason."
    ),
    Cause.EXIT: "Its process ended without a result; the last lines of its log may say why.",
    Cause.UNKNOWN: (
        "There is no record of how its process ended (a reboot or a kill -9 of its launcher "
        "leaves none)."
    ),
}

NEVER_RUNS_ADVICE = (
    "No node has what it asks for, so it waits for ever. Take it back, ask for less (--gpus, "
    "--mem, --cpus) or for another queue, and submit again."
)

OF_SIGNAL: Mapping[int, str] = {
    signal.SIGKILL: (
        "Probably the kernel's out-of-memory killer (`dmesg` names its victims), or a kill -9 by "
        "hand. Give it more memory, or run fewer at a time with --slots."
    ),
    signal.SIGSEGV: (
        "A crash in native code, seldom the run's own fault; its log may name the library."
    ),
    signal.SIGBUS: (
        "Shared memory or a memory-mapped file ran out or vanished: look for a full /dev/shm or "
        "disk."
    ),
    signal.SIGXCPU: "It reached a limit of processor time: raise `ulimit -t`.",
}
OTHER_SIGNAL = "Something outside the run sent it {name}."

OF_ERROR: Mapping[str, str] = {
    "FileNotFoundError": (
        "A file was missing on the machine where it ran. Data sets are staged by submit; copy "
        "any other file there."
    ),
    "ModuleNotFoundError": "A package is missing in its environment: install it.",
    "OSError": "Reading or writing failed where it ran: check disk space, quota and permissions.",
}
OTHER_ERROR = (
    "It raised an exception; the end of its log has the traceback. Fix the cause, then retry."
)
DEVICE_OUT_OF_MEMORY = (
    "The device did not have enough memory. Lower batch_size (that is a new configuration: submit "
    "it), run fewer at a time with --slots, or force a retry on a larger device."
)
HOST_OUT_OF_MEMORY = (
    "Its machine did not have enough memory. A retry asks for half as much again (or as much as "
    "--mem says)."
)
CONFIGURATION_ERROR = (
    "Its settings were refused, or nothing could be built from them; it would fail again. Fix the "
    "grid (that is a new configuration: submit it), or the code and then force a retry."
)


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Runs that failed in the same way."""

    title: str  # "CUDA out of memory at epoch 0"
    runs: tuple[RunStatus, ...]
    common: Mapping[str, Any]  # varying settings that set them apart from the other runs

    def render(self) -> str:
        """Render `12x CUDA out of memory at epoch 0, all batch_size=4096`."""
        line = f"{len(self.runs)}x {self.title}"
        if self.common and len(self.runs) > 1:
            line += f", all {render_pairs(self.common)}"
        return line


def fingerprint(status: RunStatus) -> tuple[str, ...]:
    """Return what is equal for runs that failed in the same way; only for states in `FAILURES`."""
    error = status.result.error if status.result else None
    if status.state is RunState.FAILED and error:
        found = fingerprint_of(error)
        return status.state.value, found.type, found.message, found.place
    cause = status.cause or Cause.UNKNOWN
    detail = status.detail if cause in NUMBERED else normalise(status.detail)
    return status.state.value, cause.value, detail


def group_failures(
    every: Sequence[RunStatus],
    chosen: Iterable[RunStatus] | None = None,
    names: Sequence[str] | None = None,
) -> list[FailureGroup]:
    """Group the failed and lost runs by fingerprint, the largest group first.

    Args:
        every: all runs of the grid: what a group has in common is what sets it apart from these.
        chosen: the runs that are asked about; None: all of the grid.
        names: the settings that vary in the grid, where they are known already.
    """
    groups: dict[tuple[str, ...], list[RunStatus]] = defaultdict(list)
    for status in every if chosen is None else chosen:
        if status.state in FAILURES:
            groups[fingerprint(status)].append(status)
    names = varying_settings(every) if names is None else names
    sound = [status for status in every if status.state not in FAILURES]
    found = []
    for runs in groups.values():
        members = {status.run_id for status in runs}
        others = sound or [status for status in every if status.run_id not in members]
        found.append(FailureGroup(_title(runs), tuple(runs), common_settings(runs, others, names)))
    return sorted(found, key=lambda group: -len(group.runs))


def common_settings(
    runs: Sequence[RunStatus], others: Sequence[RunStatus], names: Iterable[str]
) -> dict[str, Any]:
    """Return the settings in which all of `runs` agree and not all of `others` agree with them.

    Settings that few successful runs had come first: they tell most.
    """
    first = own_settings(runs[0], names)
    shared = {
        name: value
        for name, value in first.items()
        if all(own_settings(status, (name,)).get(name) == value for status in runs)
    }
    joined = {}
    for name, value in shared.items():
        joined[name] = [status for status in others if status.values.get(name) == value]
    telling = [name for name in shared if not others or len(joined[name]) < len(others)]

    def rank(name: str) -> tuple[int, int]:
        return sum(status.state in ENDED_WELL for status in joined[name]), len(joined[name])

    return {name: shared[name] for name in sorted(telling, key=rank)}


def describe(status: RunStatus) -> str:
    """Say in one line why a run failed or was lost; empty for a run in any other state."""
    return _title([status]) if status.state in FAILURES else ""


def _title(runs: Sequence[RunStatus]) -> str:
    return plain(_raw_title(runs))


def _raw_title(runs: Sequence[RunStatus]) -> str:
    errors = [status.result.error for status in runs if status.result and status.result.error]
    if len(errors) == len(runs):
        return _error_title(errors)
    details = {first_line(status.detail) for status in runs}
    detail = details.pop() if len(details) == 1 else normalise(runs[0].detail)
    return describe_cause(runs[0].cause or Cause.UNKNOWN, detail)


def _error_title(errors: Sequence[RunError]) -> str:
    messages = {first_line(error.message) for error in errors}
    message = messages.pop() if len(messages) == 1 else normalise(errors[0].message)
    title = errors[0].type
    if is_out_of_memory(errors[0]):
        title = message.partition(".")[0]  # figures of the allocator follow: they differ by run
    elif message:
        title = f"{title}: {message}"
    if len(title) > LONGEST_MESSAGE:
        title = title[: LONGEST_MESSAGE - 1] + "…"
    return title + _epochs({error.epoch for error in errors if error.epoch is not None})


def is_out_of_memory(error: RunError) -> bool:
    """Return whether the exception says that memory ran out, on the device or on the host."""
    text = error.message.lower()
    return error.type in OUT_OF_MEMORY_TYPES or any(words in text for words in OUT_OF_MEMORY_WORDS)


def is_device_out_of_memory(error: RunError) -> bool:
    """Return whether the device ran out of memory, which more host memory does not fix."""
    return error.type == "OutOfMemoryError" or (
        is_out_of_memory(error) and _OF_DEVICE.search(error.message) is not None
    )


def is_configuration_error(error: RunError) -> bool:
    """Return whether a repetition must fail again, because of the settings alone.

    An exception before the training began (no epoch, not even 0) comes from settings, data and
    model.
    """
    return error.type in CONFIGURATION_ALWAYS or (
        error.epoch is None and error.type in CONFIGURATION
    )


def _epochs(epochs: set[int]) -> str:
    if not epochs:
        return ""
    if len(epochs) == 1:
        return f" at epoch {min(epochs)}"
    return f" at epochs {min(epochs)} to {max(epochs)}"


@dataclass(frozen=True, slots=True)
class Advice:
    """What probably happened, what to do about it, and the command for that."""

    text: str = ""
    command: str = ""


def advise(status: RunStatus, grid: str) -> Advice:
    """Advise on a run that failed, was lost, was interrupted or can never start; on no other."""
    if status.state is RunState.QUEUED and can_never_run(status.detail):
        cancel = f"{command_name('jobs.cancel')} {grid} --only id={status.run_id}"
        return Advice(NEVER_RUNS_ADVICE, cancel)
    retry = f"{command_name('jobs.retry')} {grid} --only id={status.run_id}"
    if status.state is RunState.FAILED:
        error = status.result.error if status.result else None
        needs_force = error is not None and (
            is_configuration_error(error) or is_device_out_of_memory(error)
        )
        return Advice(_about_error(error), f"{retry} --force" if needs_force else retry)
    text = _about_cause(status.cause or Cause.UNKNOWN, status.detail)
    if status.state is RunState.LOST:
        return Advice(text, retry)
    if status.state is RunState.INTERRUPTED:
        return Advice(text)
    return Advice()


def _about_error(error: RunError | None) -> str:
    if error is None:
        return OTHER_ERROR
    if is_device_out_of_memory(error):
        return DEVICE_OUT_OF_MEMORY
    if is_out_of_memory(error):
        return HOST_OUT_OF_MEMORY
    if is_configuration_error(error):
        return CONFIGURATION_ERROR
    return OF_ERROR.get(error.type, OTHER_ERROR)


def _about_cause(cause: Cause, detail: str) -> str:
    if cause is not Cause.SIGNAL:
        return OF_CAUSE[cause]
    number = parse_signal(detail) or 0
    return OF_SIGNAL.get(number, OTHER_SIGNAL.format(name=signal_name(number)))
