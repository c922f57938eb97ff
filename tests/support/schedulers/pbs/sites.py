"""Schedulers over the pretended PBS, with tiny elements, and patience."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jobs.schedulers import backoff
from jobs.schedulers.base import Batch, JobHandle, JobState, Phase, Scheduler
from jobs.schedulers.pbs.profile import PbsProfile
from jobs.schedulers.pbs.scheduler import PbsScheduler
from jobs.schedulers.pbs.script import Start
from jobs.schedulers.profiles import load_profile
from tests.support import scripted_elements
from tests.support.schedulers.pbs import fake_pbs

PATIENCE_S = 120.0
TAG = "3f2a9c0d1e4b"
RUNNER = (sys.executable, str(Path(__file__).parents[1] / "run_element.py"))


def pbs_profile(name: str = "generic-pbs") -> PbsProfile:
    """A shipped profile of a PBS site."""
    profile = load_profile(name)
    assert isinstance(profile, PbsProfile)
    return profile


@dataclass(frozen=True, slots=True)
class Site:
    """A pretended PBS in a folder."""

    folder: Path

    def configure(self, **config: Any) -> None:
        fake_pbs.configure(self.folder, **config)

    def scheduler(
        self, *, say: Callable[[str], None] = backoff.say, **profile: Any
    ) -> PbsScheduler:
        """One that has asked nothing yet; without warnings, which would be what ends an element,
        not its limit.
        """
        shipped = pbs_profile()
        return PbsScheduler(
            replace(shipped, **{"warn_s": 0.0, **profile}), Start(self.folder, RUNNER), say=say
        )

    def batch(self, *behaviours: str, max_parallel: int | None = None) -> Batch:
        """Elements that behave so, in a folder of their own."""
        folder = self.folder / "batches" / str(len(list(self.folder.glob("batches/*"))))
        folder.mkdir(parents=True)
        return Batch(
            TAG,
            "study",
            scripted_elements.write_batch(folder, *behaviours),
            len(behaviours),
            max_parallel,
        )

    def calls(self, command: str) -> list[list[str]]:
        return [call for call in fake_pbs.calls(self.folder) if call[0] == command]


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
