from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from jobs.config.resources import Resources
from jobs.schedulers.base import Batch, Cause, JobHandle, JobState
from jobs.schedulers.slurm.script import SlurmOptions, render_script
from tests.support import scripted_elements
from tests.support.schedulers.conformance import Bench, SchedulerConformance
from tests.support.schedulers.slurm.cluster import Cluster, make_batch, make_scheduler, settle


class SlurmBench:
    """The real Slurm with the tiny runner."""

    def __init__(self, folder: Path) -> None:
        self.scheduler = make_scheduler()
        self._folder = folder

    def batch(self, *behaviours: str) -> Batch:
        return make_batch(self._folder, *behaviours)

    def settle(
        self, jobs: Sequence[JobHandle], meanwhile: Callable[[], object] = lambda: None
    ) -> Mapping[JobHandle, JobState]:
        return settle(self.scheduler, jobs, meanwhile)

    def output(self, batch: Batch, index: int) -> str:
        return scripted_elements.log_of(batch.path, index).read_text()

    def effect(self, resources: Resources) -> str:
        return render_script(
            Batch("0123456789ab", "grid", Path("/b/1.jsonl"), 1),
            resources,
            SlurmOptions(),
            Path("/w"),
        )


@pytest.mark.slow
class TestSlurmConformance(SchedulerConformance):
    @pytest.fixture
    def bench(self, cluster: Cluster, tmp_path: Path) -> SlurmBench:
        return SlurmBench(tmp_path)

    def test_the_time_limit_is_kept(self, bench: Bench) -> None:
        """Slurm counts minutes and looks every 30 s, so a job with the shortest limit ends after 80
        s.
        """
        handles = bench.scheduler.submit(
            bench.batch("stubborn 200"), Resources(walltime_min=0.5 / 60)
        )

        assert bench.settle(handles)[handles[0]].cause is Cause.TIMEOUT
