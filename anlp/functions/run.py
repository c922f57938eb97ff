"""`anlp.Run`: what a training function of the user's own needs of the suite.

A script that makes one itself, `run = anlp.Run()`, works without the suite as well: it then prints
what is logged. Started by the suite as a program, it logs to its run.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from anlp.core.files import append_whole, make_folder
from anlp.core.metrics import metric_name
from anlp.core.stop_flag import ASKS_TO_STOP, Interrupted, StopFlag

if TYPE_CHECKING:
    import torch

CHECKPOINT = Path("checkpoints", "last.pt")  # below the folder of a run that no suite carries out


class Sink(Protocol):
    """Where a run's numbers go."""

    def begin(self, after: int) -> None:
        """Begin, or continue after an epoch; called once, before anything is recorded."""

    def log(self, metrics: Mapping[str, float], epoch: int) -> None:
        """Record metrics of an epoch; several calls for one epoch are one record."""

    def report(self, metrics: Mapping[str, float]) -> None:
        """Record final metrics."""

    def flush(self) -> None:
        """Write what is recorded: the present epoch is over."""


class Run:
    """One run: its seed, folder and device, and where it logs, saves and is told to stop.

    Args:
        seed: default: what the suite says, else 0.
        folder: where it may write; default: what the suite says, else the working folder.
        checkpoint: the file that `save` writes; default: `checkpoints/last.pt` in the folder.
        device: auto, cpu or cuda.
        sink: where its numbers go; default: `$ANLP_METRICS`, else the terminal.
        stop: set when it is to stop; default: by SIGTERM, SIGUSR2 and Ctrl-C.
    """

    def __init__(
        self,
        *,
        seed: int | None = None,
        folder: Path | None = None,
        checkpoint: Path | None = None,
        device: str = "auto",
        sink: Sink | None = None,
        stop: StopFlag | None = None,
    ) -> None:
        self.seed = int(os.environ.get("ANLP_SEED", "0")) if seed is None else seed
        self.run_id = os.environ.get("ANLP_RUN_ID", "")
        self.folder = folder or Path(os.environ.get("ANLP_RUN_DIR") or ".").absolute()
        self._checkpoint = checkpoint or self.folder / CHECKPOINT
        self._device = device
        self._sink = sink or _own_sink()
        self._stop = stop or _own_flag()
        self._epoch = 0
        self._loaded: dict[str, Any] | None = None
        self._has_begun = False

    @property
    def device(self) -> torch.device:
        """Return the device to train on; imports torch."""
        from anlp.training.device import prepare_device

        return prepare_device(self._device)

    def load(self) -> dict[str, Any] | None:
        """Return what `save` wrote last, None where a run begins.

        `epochs` continues after its epoch. A damaged file is set aside, and the run begins anew.
        """
        from anlp.training.checkpoint import UnreadableError, load_checkpoint

        try:
            self._loaded = load_checkpoint(self._checkpoint)
        except UnreadableError as error:
            aside = self._checkpoint.with_suffix(".unreadable")
            self._checkpoint.replace(aside)
            print(f"{self._checkpoint}: unreadable ({error}); set aside as {aside.name}")
        if self._loaded is not None:
            self._epoch = int(self._loaded["epoch"])
            print(f"continuing after epoch {self._epoch}", flush=True)
        self._begin()
        return self._loaded

    def _begin(self) -> None:
        if not self._has_begun:
            self._has_begun = True
            self._sink.begin(self._epoch)

    def save(self, content: Mapping[str, Any]) -> None:
        """Write a checkpoint of the present epoch, by rename.

        Args:
            content: tensors, numbers, text, lists and dicts, such as `model.state_dict()`.
        """
        from anlp.training.checkpoint import save_checkpoint

        make_folder(self._checkpoint.parent)
        save_checkpoint(self._checkpoint, {**content, "epoch": self._epoch})

    def epochs(self, total: int) -> Iterator[int]:
        """Yield the epochs to train, 1 to `total`; after `load` those that are missing.

        Raises:
            Interrupted: the run was asked to stop; raised between two epochs.
        """
        if self._loaded is None and self._checkpoint.exists():
            print("a checkpoint is there, but run.load() was not called: it starts anew")
        for epoch in range(self._epoch + 1, total + 1):
            self._stop.raise_if_set()
            self._epoch = epoch
            yield epoch
            self._sink.flush()

    def log(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Log the metrics of an epoch, such as `{"train/loss": 0.3, "val/acc": 0.9}`.

        Raises:
            TypeError: a value is no number.
        """
        self._begin()
        self._sink.log(_numbers(metrics), epoch)

    def report(self, metrics: Mapping[str, float]) -> None:
        """Log final metrics, such as those on the test set.

        Raises:
            TypeError: a value is no number.
        """
        self._begin()
        self._sink.report(_numbers(metrics))

    def should_stop(self) -> bool:
        """Tell whether the run was asked to stop: its time is nearly over, or it was cancelled."""
        return self._stop.is_set()

    def stop(self) -> None:
        """Leave the run here, to be continued.

        Raises:
            Interrupted: always.
        """
        raise Interrupted("left by the function")


class FileSink:
    """Appends JSON lines to the file that the suite reads.

    Args:
        path: `$ANLP_METRICS`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def begin(self, after: int) -> None:
        """Do nothing: rows of an epoch that is repeated replace its earlier ones."""

    def flush(self) -> None:
        """Do nothing: every line is written at once."""

    def log(self, metrics: Mapping[str, float], epoch: int) -> None:
        """Append the line of an epoch."""
        self._append({"epoch": epoch, **metrics})

    def report(self, metrics: Mapping[str, float]) -> None:
        """Append final metrics: a line without an epoch belongs to the last one."""
        self._append(metrics)

    def _append(self, line: Mapping[str, Any]) -> None:
        append_whole(self._path, json.dumps(line).encode() + b"\n")


class TerminalSink:
    """Prints what is logged, for a script that no suite carries out."""

    def begin(self, after: int) -> None:
        """Do nothing."""

    def flush(self) -> None:
        """Do nothing: every line is printed at once."""

    def log(self, metrics: Mapping[str, float], epoch: int) -> None:
        """Print the metrics of an epoch."""
        print(f"epoch {epoch}  {_render(metrics)}", flush=True)

    def report(self, metrics: Mapping[str, float]) -> None:
        """Print final metrics."""
        print(f"result  {_render(metrics)}", flush=True)


def _render(metrics: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())


def _own_sink() -> Sink:
    path = os.environ.get("ANLP_METRICS")
    return FileSink(Path(path)) if path else TerminalSink()


def _own_flag() -> StopFlag:
    """Return a flag that signals set; a second Ctrl-C ends the script as it would without."""
    flag = StopFlag()

    def receive(number: int, frame: Any) -> None:
        flag.receive(number, frame)
        signal.signal(number, signal.SIG_DFL)

    with contextlib.suppress(ValueError):  # not in the main thread
        for number in ASKS_TO_STOP:
            signal.signal(number, receive)
    return flag


def _numbers(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return plain floats by name; tensors of one element and numpy's numbers are numbers."""
    return {metric_name(name): _number(name, value) for name, value in metrics.items()}


def _number(name: str, value: Any) -> float:
    item = getattr(value, "item", None)  # of tensors and of numpy's numbers
    try:
        return float(item() if callable(item) else value)
    except (TypeError, ValueError, RuntimeError):
        kind = type(value).__name__
        raise TypeError(f"metric {name!r}: expected a number, got {kind}") from None
