from __future__ import annotations

from pathlib import Path

import pytest
from slurm_cluster import Cluster, make_batch, make_scheduler, settle

from jobs.resources import Resources
from jobs.schedulers.base import JobState, Phase

pytestmark = pytest.mark.slow


def test_an_array_of_twenty_elements_runs_to_its_end_each_exactly_once(cluster: Cluster, tmp_path: Path) -> None:
    batch = make_batch(tmp_path, *["ok"] * 20, max_parallel=8)
    scheduler = make_scheduler()

    handles = scheduler.submit(batch, Resources())
    states = settle(scheduler, handles)

    assert [states[handle] for handle in handles] == [JobState(Phase.ENDED)] * 20
    assert len(list(batch.path.with_suffix(".slurm").glob("*.out"))) == 20
