"""Every path and file format of a run: where its files are, how they are written whole, how they are read back."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Literal

from anlp.spec import RunSpec, TaskSettings

RESULT_VERSION = 1
SUMMARY_KEY = "result"  # of the text in a mirror's summary


class Outcome(str, Enum):
    """How a run ended, as it said itself in `result.json`."""

    OK = "ok"
    DIVERGED = "diverged"  # the loss became NaN or infinite: a result, not a failure
    FAILED = "failed"  # an exception; the traceback is in the result

    @property
    def is_result(self) -> bool:
        """Whether there is something to analyse and nothing to repeat."""
        return self is not Outcome.FAILED


class RunState(str, Enum):
    """Where a run of a grid stands, from its folder, the journal and the scheduler together."""

    NEW = "new"  # never asked for
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    DIVERGED = "diverged"
    INTERRUPTED = "interrupted"  # stopped from outside (Ctrl-C, cancel, its launcher died): any submit continues it
    FAILED = "failed"  # it raised: repeated by retry only
    LOST = "lost"  # its job ended without a result (killed, out of memory, time limit): repeated by retry only

    @property
    def is_final(self) -> bool:
        """Nothing will change this state but a retry or a replacement."""
        return self in (RunState.DONE, RunState.DIVERGED, RunState.FAILED)

    @property
    def is_active(self) -> bool:
        """Somebody is responsible for the run right now."""
        return self in (RunState.QUEUED, RunState.RUNNING)


STATE_OF_OUTCOME: Mapping[Outcome, RunState] = {
    Outcome.OK: RunState.DONE,
    Outcome.DIVERGED: RunState.DIVERGED,
    Outcome.FAILED: RunState.FAILED,
}


@dataclass(frozen=True, slots=True)
class WandbOptions:
    """How runs mirror themselves to wandb; the key is never among them."""

    mode: Literal["auto", "online", "offline", "disabled"] = "auto"  # auto: online with a key, offline without
    project: str = "anlp"
    entity: str | None = None
    group: str = ""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ContainerOptions:
    """The image that runs were submitted with."""

    image: str  # its path
    program: str = ""  # that inspected it: "apptainer 1.4.5"
    sha256: str = ""  # empty for an unpacked image, which has none
    image_commit: str = ""  # git commit of the code in it
    mode: Literal["baked", "live"] = "baked"  # live: the working tree of the submission goes over that code

    def to_json(self) -> dict[str, str]:
        """The form in a run's options and in its provenance."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a run is carried out. None of it changes what the run is or its numbers, so none of it is in the id."""

    data_dir: str = "data"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    checkpoint_every: int = 1  # epochs
    keep: Literal["none", "best", "last"] = "best"  # which weights stay when the run is done
    predictions: bool = False  # whether `predictions.npz` is written when the run is done
    purpose: Literal["search", "confirm"] = "search"
    batch: str = ""  # tag of the submission; a result says which submission it belongs to
    redo: Literal["none", "failed", "all"] = "none"  # which results of earlier submissions are set aside and repeated
    stop_after: int = 0  # so many runs of the submission that fail alike hold back the rest of it; 0: none do
    retries: int = 0  # how often a run that its machine ended is submitted again unasked
    commit: str = ""  # git commit of the submitted code, with "+dirty" if the tree was
    container: ContainerOptions | None = None  # the image it was submitted with
    wandb: WandbOptions = field(default_factory=WandbOptions)

    def to_json(self) -> dict[str, Any]:
        """The form in batch files and `spec.json`."""
        form = {name: getattr(self, name) for name in self.__slots__ if name != "wandb"}
        form["container"] = self.container and self.container.to_json()
        mirror = {name: getattr(self.wandb, name) for name in self.wandb.__slots__}
        return {**form, "wandb": {**mirror, "tags": list(self.wandb.tags)}}


def options_from_json(form: Mapping[str, Any]) -> RunOptions:
    """Inverse of `RunOptions.to_json`; names that this version does not know are left aside."""
    mirror = {name: value for name, value in form.get("wandb", {}).items() if name in WandbOptions.__slots__}
    mirror["tags"] = tuple(mirror.get("tags", ()))
    image = {name: text for name, text in (form.get("container") or {}).items() if name in ContainerOptions.__slots__}
    known = {name: value for name, value in form.items() if name in RunOptions.__slots__}
    container = ContainerOptions(**image) if image else None
    return RunOptions(**{**known, "container": container, "wandb": WandbOptions(**mirror)})


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The folder of one run. Each file has one writer: the run itself."""

    path: Path

    @property
    def run_id(self) -> str:
        """The folder's name is the run's id."""
        return self.path.name

    @property
    def spec(self) -> Path:
        """`RunSpec` and `RunOptions`, the first thing a run writes."""
        return self.path / "spec.json"

    @property
    def metrics(self) -> Path:
        """One line per epoch, epoch 0 before the first update."""
        return self.path / "metrics.jsonl"

    @property
    def checkpoint(self) -> Path:
        """What an interrupted run continues from."""
        return self.path / "checkpoint.pt"

    @property
    def weights(self) -> Path:
        """The weights that were kept (`RunOptions.keep`)."""
        return self.path / "weights.pt"

    @property
    def result(self) -> Path:
        """Written once, by rename, last: its presence means that the run ended."""
        return self.path / "result.json"

    @property
    def log(self) -> Path:
        """Output of all attempts."""
        return self.path / "log.txt"

    @property
    def attempts(self) -> Path:
        """One claim (see `anlp.claim`) per attempt: who ran it, where, and how the attempt ended."""
        return self.path / "attempts"

    @property
    def predictions(self) -> Path:
        """What the model said about each test sample, where the grid asks for it (`RunOptions.predictions`)."""
        return self.path / "predictions.npz"

    @property
    def wandb(self) -> Path:
        """The files of wandb."""
        return self.path / "wandb"


@dataclass(frozen=True, slots=True)
class GridFolder:
    """`runs/<grid>`: what submit wrote, and one folder per run."""

    path: Path

    @property
    def name(self) -> str:
        """The grid's name."""
        return self.path.name

    @property
    def journal(self) -> Path:
        """Append-only record of what was asked of the scheduler and what it answered."""
        return self.path / "journal.jsonl"

    @property
    def batches(self) -> Path:
        """One file per submission."""
        return self.path / "batches"

    @property
    def lock(self) -> Path:
        """Claims of whoever plans and submits."""
        return self.path / "lock"

    @property
    def finished(self) -> Path:
        """Cache of the results that are final, so that nobody reads 10,000 folders twice."""
        return self.path / "finished.jsonl"

    @property
    def answers(self) -> Path:
        """Cache of what schedulers said last, so that commands in a row ask once."""
        return self.path / "answers.json"

    def run(self, run_id: str) -> RunFolder:
        """The folder of one run, whether it exists or not."""
        return RunFolder(self.path / run_id)


@dataclass(frozen=True, slots=True)
class Element:
    """One line of a batch file: what one element of an array job runs."""

    specs: tuple[RunSpec, ...]
    options: RunOptions
    at_once: int = 1  # how many of them at the same time; the others follow
    mem_limit_mib: int | None = None  # of each where there are several: the scheduler limits only their sum

    def to_json(self) -> dict[str, Any]:
        """The line in the batch file; `anlp.settings.element_from_json` reads it."""
        form = {"specs": [spec.to_json() for spec in self.specs], "options": self.options.to_json()}
        shared = {"at_once": self.at_once, "mem_limit_mib": self.mem_limit_mib}
        return form if len(self.specs) == 1 else {**form, **shared}


@dataclass(frozen=True, slots=True)
class RunError:
    """The exception that ended a failed run."""

    type: str
    message: str
    traceback: str
    epoch: int | None = None


@dataclass(frozen=True, slots=True)
class RunResult:
    """`result.json`: everything final about a run."""

    run_id: str
    outcome: Outcome
    metrics: Mapping[str, float] = field(default_factory=dict)  # at the epoch that was tested, "test/acc" and so on
    epoch: int | None = None  # the tested epoch
    epochs: int = 0  # epochs trained
    steps: int = 0  # optimizer updates
    baselines: Mapping[str, float] = field(default_factory=dict)  # {"random": 0.1, "majority": 0.1135} in test/acc
    sizes: Mapping[str, int] = field(default_factory=dict)  # samples: {"train": 54000, "val": 6000, "test": 10000}
    seconds: float = 0.0  # of all attempts together
    error: RunError | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The content of `result.json`; non-finite metrics become null."""
        error = self.error and {name: getattr(self.error, name) for name in self.error.__slots__}
        form = {name: getattr(self, name) for name in self.__slots__}
        return {**form, "version": RESULT_VERSION, "outcome": self.outcome.value, "error": error}

    def to_summary(self) -> dict[str, Any]:
        """What a mirror shows of it: the metrics, and the whole as text for `result_from_summary`."""
        return {**self.metrics, SUMMARY_KEY: json.dumps(_without_nan(self.to_json()))}


def result_from_json(form: Mapping[str, Any]) -> RunResult:
    """Inverse of `RunResult.to_json`; raises `KeyError`, `TypeError` or `ValueError` for anything else."""
    known = {name: value for name, value in form.items() if name in RunResult.__slots__}
    error = form.get("error")
    metrics = {name: float("nan") if value is None else float(value) for name, value in form["metrics"].items()}
    return RunResult(
        **{
            **known,
            "outcome": Outcome(form["outcome"]),
            "metrics": metrics,
            "error": None if error is None else RunError(**error),
        }
    )


def result_from_summary(summary: Mapping[str, Any]) -> RunResult | None:
    """Inverse of `RunResult.to_summary`; None where there is no result, or none that can be read."""
    try:
        return result_from_json(json.loads(summary[SUMMARY_KEY]))
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def read_result(folder: RunFolder) -> RunResult | None:
    """The result of a run, None while there is none (or none that can be read)."""
    form = read_json(folder.result)
    try:
        return None if form is None else result_from_json(form)
    except (AttributeError, KeyError, TypeError, ValueError):
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


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a `metrics.jsonl`; a torn last line is dropped, a missing file has none."""
    try:
        content = path.read_bytes()
        whole = content[: content.rfind(b"\n")] if b"\n" in content else b""
        rows = json.loads(b"[" + whole.replace(b"\n", b",") + b"]")  # all lines at once: half the time
        if len(rows) == content.count(b"\n") and all(type(row) is dict for row in rows):
            return list(rows)
    except (OSError, ValueError):
        pass  # missing, or a line in the middle is damaged: one by one
    return list(read_jsonl(path))


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSON-lines file; lines that were not written whole are left out, a missing file has none.

    Raises:
        OSError: the file is there and cannot be read; what it says is not known, which is not nothing.
    """
    return (form for _, form in read_numbered_jsonl(path))


def read_numbered_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The same with the number of each line, from 0; lines that are left out count."""
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines):
                if not line.endswith(b"\n"):
                    return
                try:
                    found = json.loads(line)
                except ValueError:
                    continue
                if isinstance(found, dict):
                    yield number, found
    except (FileNotFoundError, NotADirectoryError):
        return


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file, None where there is none."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def write_json(path: Path, form: Mapping[str, Any]) -> None:
    """Writes by rename and returns after it is on disk: a reader sees the old file or the new one, never half."""
    write_whole(path, (json.dumps(_without_nan(form), indent=1) + "\n").encode())


def write_jsonl(path: Path, forms: Iterable[Mapping[str, Any]]) -> None:
    """Like `write_json`, one object per line."""
    write_whole(path, b"".join(json.dumps(_without_nan(form)).encode() + b"\n" for form in forms))


def write_whole(path: Path, content: bytes) -> None:
    """Writes `content` by rename, synced to disk before the name appears."""
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _without_nan(value: Any) -> Any:
    """JSON has no NaN: null stands for it."""
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    if isinstance(value, Mapping):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return value
