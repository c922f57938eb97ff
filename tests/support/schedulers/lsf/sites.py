"""Schedulers over the pretended LSF, with tiny elements, and patience."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from jobs.schedulers.base import Batch, JobHandle, JobState, Phase, Scheduler
from jobs.schedulers.lsf.scheduler import LsfProfile, LsfScheduler
from jobs.schedulers.lsf.script import Start
from tests.support import scripted_elements
from tests.support.schedulers.lsf import fake_lsf

PATIENCE_S = 120.0
TAG = "3f2a9c0d1e4b"
RUNNER = (sys.executable, str(Path(__file__).parents[1] / "run_element.py"))


@dataclass(frozen=True, slots=True)
class Site:
    """A pretended LSF in a folder."""

    folder: Path

    @classmethod
    def install(cls, folder: Path, monkeypatch: pytest.MonkeyPatch, **config: Any) -> Site:
        monkeypatch.setenv("PATH", str(fake_lsf.install(folder, **config)), prepend=":")
        monkeypatch.delenv("ANLP_ON", raising=False)  # `auto` finds it
        return cls(folder)

    def configure(self, **config: Any) -> None:
        fake_lsf.configure(self.folder, **config)

    def close(self) -> None:
        fake_lsf.configure(self.folder, down=False)
        fake_lsf.close(self.folder)

    def scheduler(self, patience_s: float = 0.0, **profile: Any) -> LsfScheduler:
        """One that has asked nothing yet."""
        site = LsfProfile("site", **profile)
        return LsfScheduler(site, Start(self.folder, RUNNER), patience_s=patience_s)

    def batch(self, *behaviours: str, max_parallel: int | None = None) -> Batch:
        """Elements that behave so, in a folder of their own."""
        folder = self.folder / "batches" / str(len(list(self.folder.glob("batches/*"))))
        folder.mkdir(parents=True)
        path = scripted_elements.write_batch(folder, *behaviours)
        return Batch(TAG, "study", path, len(behaviours), max_parallel)

    def calls(self, command: str) -> list[list[str]]:
        return fake_lsf.calls(self.folder, command)


def settle(
    scheduler: Scheduler,
    jobs: Sequence[JobHandle],
    meanwhile: Callable[[], object] = lambda: None,
    *,
    patience_s: float = PATIENCE_S,
) -> Mapping[JobHandle, JobState]:
    """The states once all have ended."""
    deadline = time.monotonic() + patience_s
    while True:
        states = scheduler.states(jobs)
        if all(state.phase is Phase.ENDED for state in states.values()):
            return states
        assert time.monotonic() < deadline, states
        meanwhile()
        time.sleep(0.1)
