from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from jobs.config.resources import Resources
from jobs.schedulers.base import Batch, JobHandle, JobState
from jobs.schedulers.batch import Piece
from jobs.schedulers.pbs.script import Start, render_script
from jobs.schedulers.pbs.validate import Dialect
from jobs.schedulers.site import apply
from tests.support import scripted_elements
from tests.support.schedulers.conformance import DependencyConformance, SchedulerConformance
from tests.support.schedulers.pbs import fake_pbs
from tests.support.schedulers.pbs.sites import Site, pbs_profile, settle

pytestmark = pytest.mark.slow


class PbsBench:
    """The pretended PBS with the tiny runner."""

    def __init__(self, site: Site, dialect: Dialect) -> None:
        self.scheduler = site.scheduler()
        self._site = site
        self._dialect = dialect

    def batch(self, *behaviours: str) -> Batch:
        return self._site.batch(*behaviours)

    def settle(
        self, jobs: Sequence[JobHandle], meanwhile: Callable[[], object] = lambda: None
    ) -> Mapping[JobHandle, JobState]:
        return settle(self.scheduler, jobs, meanwhile)

    def output(self, batch: Batch, index: int) -> str:
        return scripted_elements.log_of(batch.path, index).read_text()

    def effect(self, resources: Resources) -> str:
        profile = pbs_profile("generic-pbs")
        batch = Batch("0123456789ab", "grid", Path("/b/1.jsonl"), 1)
        return render_script(
            batch,
            Piece(0, 1),
            apply(profile, resources),
            profile,
            self._dialect,
            Start(Path("/w"), ("python",)),
        )


def make_bench(
    folder: Path, monkeypatch: pytest.MonkeyPatch, dialect: Dialect
) -> Iterator[PbsBench]:
    commands = fake_pbs.install(folder / "site", dialect=dialect.value)
    monkeypatch.setenv("PATH", str(commands), prepend=":")
    monkeypatch.delenv("ANLP_ON", raising=False)  # `auto` finds it
    yield PbsBench(Site(folder / "site"), dialect)
    fake_pbs.close(folder / "site")


class TestPbsProConformance(DependencyConformance, SchedulerConformance):
    @pytest.fixture
    def bench(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PbsBench]:
        yield from make_bench(tmp_path, monkeypatch, Dialect.PRO)


class TestTorqueConformance(DependencyConformance, SchedulerConformance):
    @pytest.fixture
    def bench(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PbsBench]:
        yield from make_bench(tmp_path, monkeypatch, Dialect.TORQUE)
