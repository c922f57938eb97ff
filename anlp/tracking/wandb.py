"""The wandb mirror of a run: a copy of its metrics that can neither fail nor delay the run."""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from anlp.core import wandb_server
from anlp.core.spec import RunSpec
from anlp.records.files import read_jsonl, read_metrics
from anlp.records.folders import RunFolder
from anlp.records.options import RunOptions, WandbOptions
from anlp.records.wandb_offline import keep_project_url
from anlp.tracking.wandb_service import Service, preload, start_shared_service
from anlp.tracking.wandb_session import (
    FLUSH_S,
    QUIET,
    MirrorError,
    Mode,
    Session,
    find_site,
)

__all__ = ["BUDGET_S", "WandbMirror", "open_mirror", "preload", "start_shared_service"]

BUDGET_S = 15.0
SAFE_S = 2 * FLUSH_S

# A service keeps the id of a run whose process was killed as long as it lives; a new one does not.
_IN_USE = "is in use"

_AnyMode = Literal["online", "offline", "disabled"]
_MODES: tuple[_AnyMode, ...] = ("online", "offline", "disabled")


@dataclass(frozen=True, slots=True)
class _Row:
    metrics: Mapping[str, Any]
    step: int


@dataclass(frozen=True, slots=True)
class _End:
    outcome: str
    summary: Mapping[str, Any]


_Items = queue.SimpleQueue["_Row | _End"]


def open_mirror(
    spec: RunSpec, options: RunOptions, folder: RunFolder, *, budget_s: float = BUDGET_S
) -> WandbMirror:
    """Return a tracker that copies the run to wandb in a thread; at once, and without raising.

    A row has to be in `metrics.jsonl` before it is logged here: what goes wrong is repaired from
    that file.

    Args:
        spec: its settings, seed, task and config id become the config, its run id the wandb id.
        options: `options.wandb` has the details; the key comes from WANDB_API_KEY or netrc.
        folder: wandb's own files go to `folder.wandb`.
        budget_s: the most that `finish` may wait for wandb; nothing else waits at all.
    """
    return WandbMirror(spec, options, folder, budget_s)


class WandbMirror:
    """A `Tracker` that feeds wandb through a queue."""

    def __init__(
        self, spec: RunSpec, options: RunOptions, folder: RunFolder, budget_s: float
    ) -> None:
        self._items: _Items = queue.SimpleQueue()
        self._folder = folder
        self._budget_s = budget_s
        self._worker = _Worker(self._items, spec, options, folder, budget_s)
        self._thread = threading.Thread(target=self._worker.run, name="wandb-mirror", daemon=True)
        if options.wandb.mode != "disabled":
            self._start()

    def _start(self) -> None:
        os.environ.update(QUIET)  # here and not in the thread: see `_python_environment`
        try:
            self._thread.start()
        except RuntimeError as error:  # the limit of processes and threads is reached
            _say(f"{error}; every row is in {self._folder.metrics}")

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Hand one row over, in microseconds."""
        self._items.put(_Row(dict(metrics), step))

    def finish(self, outcome: str, summary: Mapping[str, Any]) -> None:
        """Return when wandb has everything on disk (online: on the server), or after the budget.

        Args:
            outcome: ok, diverged, failed or interrupted.
            summary: the result, see `RunResult.to_summary`; empty where there is none.
        """
        if not self._thread.is_alive():
            return
        self._items.put(_End(outcome, dict(summary)))
        self._thread.join(self._budget_s)
        if self._thread.is_alive():
            self._worker.abandon()
            _say(f"gave up after {self._budget_s:g} s; every row is in {self._folder.metrics}")


class _Worker:
    """The thread: tries one way of mirroring after the other, until one reaches the end."""

    def __init__(
        self, items: _Items, spec: RunSpec, options: RunOptions, folder: RunFolder, budget_s: float
    ) -> None:
        self._items = items
        self._spec = spec
        self._options = options
        self._folder = folder
        self._finish_s = budget_s / 2  # the other half is for going offline after all
        self._is_replacement = (
            options.redo == "all" and next(read_jsonl(folder.metrics), None) is None
        )
        self._end: _End | None = None
        self._service: Service | None = None  # of this worker, where no pool shares one
        self._is_abandoned = False

    def run(self) -> None:
        """Mirror the run; never raises, what goes wrong is a line in the log."""
        # hands the interpreter back to `open_mirror`, which would otherwise wait 5 ms for its turn
        time.sleep(0.001)
        try:
            self._mirror()
        except Exception as error:  # of wandb, the disk or the network: it must not touch the run
            self._say(f"{_reason(error)}; every row is in {self._folder.metrics}")
        finally:
            self._leave_own_service()

    def abandon(self) -> None:
        """Print nothing more, and kill the worker's own service: the run waits no longer."""
        self._is_abandoned = True
        if self._service is not None:
            self._service.kill()

    def _mirror(self) -> None:
        mode = self._reachable(_mode(self._options.wandb))
        if mode == "disabled":
            return
        self._join_service()
        try:
            self._copy(mode)
        except Exception as error:  # as in `run`
            if _IN_USE not in str(error):
                self._say(f"{_reason(error)}; continuing offline in {self._folder.wandb}")
                mode = "offline"
            self._leave_service()
            self._join_service()
            self._copy(mode)

    def _reachable(self, mode: _AnyMode) -> _AnyMode:
        """Return offline instead of online where the server cannot be reached."""
        if mode != "online":
            return mode
        site = find_site()
        if site.key is None:
            obstacle = f"no key for {site.host} in WANDB_API_KEY or netrc"
        elif not wandb_server.is_answering(site.url):
            obstacle = f"no answer from {site.url}"
        else:
            return mode
        self._say(f"{obstacle}; continuing offline in {self._folder.wandb}")
        return "offline"

    def _copy(self, mode: Mode) -> None:
        session = Session(mode, self._spec, self._options, self._folder, self._finish_s)
        if mode == "online":
            keep_project_url(self._folder, session.project_url)
        if self._is_replacement and session.has_rows:
            session.close()
            raise MirrorError(
                "the server has these epochs of the run that this one replaces; delete it there"
            )
        for row in read_metrics(self._folder.metrics):
            session.log(row, row["epoch"])
        end = self._follow(session, time.monotonic() + SAFE_S if mode == "offline" else None)
        session.finish(end.outcome, end.summary)
        session.remove_earlier()

    def _follow(self, session: Session, safe_at: float | None) -> _End:
        """Copy rows as they come; at `safe_at` remove the folders of earlier attempts."""
        while self._end is None:
            try:
                item = self._items.get(
                    timeout=None if safe_at is None else max(safe_at - time.monotonic(), 0.0)
                )
            except queue.Empty:
                session.remove_earlier()
                safe_at = None
                continue
            if isinstance(item, _End):
                self._end = item
            else:
                session.log(item.metrics, item.step)
        return self._end

    def _join_service(self) -> None:
        if "WANDB_SERVICE" not in os.environ:
            self._service = start_shared_service()
            for name, value in self._service.environment.items():
                _python_environment()[os.fsencode(name)] = os.fsencode(value)

    def _leave_service(self) -> None:
        """Forget the connection to a service, and end the worker's own service."""
        import wandb  # loaded by now

        _python_environment().pop(b"WANDB_SERVICE", None)
        service, self._service = self._service, None
        if service is not None:
            service.stop()
        wandb.teardown()

    def _leave_own_service(self) -> None:
        if self._service is not None:
            self._leave_service()

    def _say(self, text: str) -> None:
        if not self._is_abandoned:
            _say(text)


def _python_environment() -> dict[bytes, bytes]:
    """Return the environment as Python code sees it, without that of the C library behind it.

    setenv of the C library moves what getenv of another thread is reading: a run whose first matrix
    product asked for MKL_VERBOSE meanwhile died of SIGSEGV, about one in 100. wandb reads
    `os.environ` only, so in this thread its variables are set there and nowhere else.
    """
    data: dict[bytes, bytes] = os.environ._data  # type: ignore[attr-defined]  # private, in no stub
    return data


def _mode(options: WandbOptions) -> _AnyMode:
    """Resolve `auto`: WANDB_MODE where it is set, else online where there is a key."""
    if options.mode != "auto":
        return options.mode
    for wish in _MODES:
        if os.environ.get("WANDB_MODE") == wish:
            return wish
    return "offline" if find_site().key is None else "online"


def _reason(error: Exception) -> str:
    """Return the first line of wandb's message; it has hosts and statuses, never a key."""
    if isinstance(error, MirrorError):
        return str(error)
    text = str(error).strip().partition("\n")[0].rstrip(".")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _say(text: str) -> None:
    print(f"wandb: {text}", file=sys.stderr, flush=True)
