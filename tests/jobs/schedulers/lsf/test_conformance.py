from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from jobs.config.resources import Resources
from jobs.schedulers.base import Batch, JobHandle, JobState
from jobs.schedulers.batch import Piece
from jobs.schedulers.lsf.script import Start, render_script
from tests.support import scripted_elements
from tests.support.schedulers.conformance import DependencyConformance, SchedulerConformance
from tests.support.schedulers.lsf.sites import Site, settle


class LsfBench:
    """The pretended LSF with the tiny runner."""

    def __init__(self, site: Site) -> None:
        self.scheduler = site.scheduler()
        self._site = site

    def batch(self, *behaviours: str) -> Batch:
        return self._site.batch(*behaviours)

    def settle(
        self, jobs: Sequence[JobHandle], meanwhile: Callable[[], object] = lambda: None
    ) -> Mapping[JobHandle, JobState]:
        return settle(self.scheduler, jobs, meanwhile)

    def output(self, batch: Batch, index: int) -> str:
        return scripted_elements.log_of(batch.path, index).read_text()

    def effect(self, resources: Resources) -> str:
        batch = Batch("0123456789ab", "grid", Path("/b/1.jsonl"), 1)
        return render_script(batch, Piece(0, 1), resources, Start(Path("/w"), ("python",)))


class TestLsfConformance(DependencyConformance, SchedulerConformance):
    @pytest.fixture
    def bench(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LsfBench]:
        site = Site.install(tmp_path / "site", monkeypatch)
        yield LsfBench(site)
        site.close()
