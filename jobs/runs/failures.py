"""Failed and lost runs by fingerprint: many logs become a few causes, each with what its runs have in common."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from anlp.records.fingerprint import fingerprint_of, first_line, normalise
from anlp.records.results import RunError, RunState
from jobs.common.text import render_pairs
from jobs.runs.queries import own_settings, varying_settings
from jobs.runs.status import RunStatus, describe_cause
from jobs.schedulers.base import Cause

FAILURES = frozenset({RunState.FAILED, RunState.LOST})
NUMBERED = frozenset(
    {Cause.SIGNAL, Cause.EXIT}
)  # here the number is the cause: signal 9 is not signal 11
ENDED_WELL = frozenset({RunState.DONE, RunState.DIVERGED})
LONGEST_MESSAGE = 100
OUT_OF_MEMORY_TYPES = frozenset(
    {"MemoryError", "OutOfMemoryError"}
)  # Python's own, torch's of a device
OUT_OF_MEMORY_WORDS = (
    "out of memory",
    "not enough memory",
    "cannot allocate memory",
    "can't allocate memory",
    "bad_alloc",
)
# Faults of the person who wrote the settings, where they arise before the training began; the others always are.
CONFIGURATION = frozenset(
    {"ValueError", "TypeError", "KeyError", "AttributeError", "NotImplementedError"}
)
CONFIGURATION_ALWAYS = frozenset({"SpecError", "UserError", "ValidationError"})
_OF_DEVICE = re.compile(r"\b(CUDA|HIP|GPU|cuDNN|cuBLAS)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Runs that failed in the same way."""

    title: str  # "CUDA out of memory at epoch 0"
    runs: tuple[RunStatus, ...]
    common: Mapping[
        str, Any
    ]  # varying settings in which they agree with each other but not with all the others

    def render(self) -> str:
        """`12x CUDA out of memory at epoch 0, all batch_size=4096`."""
        shared = f", all {render_pairs(self.common)}" if self.common and len(self.runs) > 1 else ""
        return f"{len(self.runs)}x {self.title}{shared}"


def fingerprint(status: RunStatus) -> tuple[str, ...]:
    """Equal for runs that failed in the same way; only for states in `FAILURES`."""
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
    """The failed and lost runs among `chosen` (default: all of the grid) by fingerprint, the largest group first.

    Args:
        every: all runs of the grid: what a group has in common is what sets it apart from these.
        chosen: the runs that are asked about.
        names: the settings that tell all of them apart, where they are known already.
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
    """The settings in which all of `runs` agree and not all of `others` join them.

    Those that fewest runs had which ended well come first: they tell most.
    """
    first = own_settings(runs[0], names)
    shared = {
        name: value
        for name, value in first.items()
        if all(own_settings(status, (name,)).get(name) == value for status in runs)
    }
    joined = {
        name: [status for status in others if status.values.get(name) == shared[name]]
        for name in shared
    }
    telling = [name for name in shared if not others or len(joined[name]) < len(others)]

    def rank(name: str) -> tuple[int, int]:
        return sum(status.state in ENDED_WELL for status in joined[name]), len(joined[name])

    return {name: shared[name] for name in sorted(telling, key=rank)}


def describe(status: RunStatus) -> str:
    """Why one run failed or was lost, in one line; empty for a run in any other state."""
    return _title([status]) if status.state in FAILURES else ""


def _title(runs: Sequence[RunStatus]) -> str:
    errors = [status.result.error for status in runs if status.result and status.result.error]
    if len(errors) == len(runs):
        return _error_title(errors)
    details = {first_line(status.detail) for status in runs}
    detail = details.pop() if len(details) == 1 else normalise(runs[0].detail)
    return describe_cause(runs[0].cause or Cause.UNKNOWN, detail)


def _error_title(errors: Sequence[RunError]) -> str:
    messages = {first_line(error.message) for error in errors}
    message = messages.pop() if len(messages) == 1 else normalise(errors[0].message)
    if is_out_of_memory(errors[0]):
        title = message.partition(".")[
            0
        ]  # the allocator's figures follow; they differ from run to run
    else:
        title = f"{errors[0].type}: {message}" if message else errors[0].type
    title = title if len(title) <= LONGEST_MESSAGE else title[: LONGEST_MESSAGE - 1] + "…"
    return title + _epochs({error.epoch for error in errors if error.epoch is not None})


def is_out_of_memory(error: RunError) -> bool:
    """Whether the exception says that memory ran out, on the device or on the host."""
    text = error.message.lower()
    return error.type in OUT_OF_MEMORY_TYPES or any(words in text for words in OUT_OF_MEMORY_WORDS)


def is_device_out_of_memory(error: RunError) -> bool:
    """Whether it was the memory of the device: what a job asks of its machine does not cure that."""
    return error.type == "OutOfMemoryError" or (
        is_out_of_memory(error) and _OF_DEVICE.search(error.message) is not None
    )


def is_configuration_error(error: RunError) -> bool:
    """Whether repeating must fail again: the settings themselves were refused, or nothing could be built from them.

    An exception before there is a trainer (no epoch, not even 0) arose from settings, data and model alone.
    """
    return error.type in CONFIGURATION_ALWAYS or (
        error.epoch is None and error.type in CONFIGURATION
    )


def _epochs(epochs: set[int]) -> str:
    if not epochs:
        return ""
    return (
        f" at epoch {min(epochs)}"
        if len(epochs) == 1
        else f" at epochs {min(epochs)} to {max(epochs)}"
    )
