"""The result of a run, and the states that a run may be in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any

from anlp.core.checked import NULL_IS_NAN, Within, make
from anlp.core.damage import describe_fault, note_damage
from anlp.core.json_text import parse_json
from anlp.records.files import MOST_EPOCHS, read_json, without_nan
from anlp.records.folders import RunFolder

if TYPE_CHECKING:  # without pydantic: a program's run needs little else of the records
    from anlp.core.spec import TaskSettings

# What a file may hold: a damaged number must not fill a chart or end a command.
Epoch = Annotated[int, Within(0, MOST_EPOCHS)]
Amount = Annotated[int, Within(0, 2**53)]
Seconds = Annotated[float, Within(0, 1e10)]
Measured = Annotated[float, NULL_IS_NAN]

RESULT_VERSION = 1
SUMMARY_KEY = "result"  # of the text in a mirror's summary


class Outcome(str, Enum):
    """How a run ended, as its `result.json` has it."""

    OK = "ok"
    DIVERGED = "diverged"  # the loss became NaN or infinite: a result, not a failure
    FAILED = "failed"  # an exception; the traceback is in the result

    @property
    def is_result(self) -> bool:
        """Return whether there is something to analyse and nothing to repeat."""
        return self is not Outcome.FAILED


class RunState(str, Enum):
    """Where a run of a grid stands, from its folder, the journal and the scheduler together."""

    NEW = "new"  # never asked for
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    DIVERGED = "diverged"
    INTERRUPTED = "interrupted"  # stopped from outside (Ctrl-C, cancel): any submit continues it
    FAILED = "failed"  # it raised: repeated by retry only
    LOST = "lost"  # ended without a result (killed, out of memory, time limit): repeated by retry

    @property
    def is_final(self) -> bool:
        """Return whether only a retry or a replacement can change this state."""
        return self in (RunState.DONE, RunState.DIVERGED, RunState.FAILED)

    @property
    def is_active(self) -> bool:
        """Return whether a job or a process has the run right now."""
        return self in (RunState.QUEUED, RunState.RUNNING)


STATE_OF_OUTCOME: Mapping[Outcome, RunState] = {
    Outcome.OK: RunState.DONE,
    Outcome.DIVERGED: RunState.DIVERGED,
    Outcome.FAILED: RunState.FAILED,
}


@dataclass(frozen=True, slots=True)
class RunError:
    """The exception that ended a failed run."""

    type: str
    message: str
    traceback: str
    epoch: Epoch | None = None


@dataclass(frozen=True, slots=True)
class RunResult:
    """`result.json`: everything final about a run."""

    run_id: str
    outcome: Outcome
    # at the epoch that was tested, "test/acc" and so on
    metrics: Mapping[str, Measured] = field(default_factory=dict)
    epoch: Epoch | None = None  # the tested epoch
    epochs: Epoch = 0  # epochs trained
    steps: Amount = 0  # optimizer updates
    # {"random": 0.1, "majority": 0.1135} in test/acc
    baselines: Mapping[str, Measured] = field(default_factory=dict)
    # samples: {"train": 54000, "val": 6000, "test": 10000}
    sizes: Mapping[str, Amount] = field(default_factory=dict)
    seconds: Seconds = 0.0  # of all attempts together
    error: RunError | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the content of `result.json`; non-finite metrics become null."""
        error = None
        if self.error is not None:
            error = {name: getattr(self.error, name) for name in self.error.__slots__}
        form = {name: getattr(self, name) for name in self.__slots__}
        return {**form, "version": RESULT_VERSION, "outcome": self.outcome.value, "error": error}

    def to_summary(self) -> dict[str, Any]:
        """Return what a mirror shows: the metrics, and the whole result as text."""
        return {**self.metrics, SUMMARY_KEY: json.dumps(without_nan(self.to_json()))}


def result_from_json(form: Any) -> RunResult:
    """Inverse of `RunResult.to_json`.

    Raises:
        ValueError: not the form of a result; `describe_fault` says what is wrong.
    """
    return make(RunResult, form)


def result_from_summary(summary: Mapping[str, Any]) -> RunResult | None:
    """Inverse of `RunResult.to_summary`; None where there is no readable result."""
    try:
        return result_from_json(parse_json(summary[SUMMARY_KEY]))
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def read_result(folder: RunFolder) -> RunResult | None:
    """Read the result of a run; None while there is none, or a damaged one, which is noted."""
    form = read_json(folder.result)
    try:
        return None if form is None else result_from_json(form)
    except ValueError as error:
        note_damage(folder.result, describe_fault(error))
        return None


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run as analysis sees it, whether it came from a folder or from wandb."""

    run_id: str
    config_id: str
    task: str
    settings: TaskSettings
    seed: int
    purpose: str
    outcome: Outcome | None  # None: not ended
    result: RunResult | None
    history: tuple[Mapping[str, float], ...] = ()
