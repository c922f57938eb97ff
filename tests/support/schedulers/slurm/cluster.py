"""A real Slurm of four nodes for the tests that need one, started once for all test processes and
stopped by the last.

Each checkout has its own, with ports, nodes and a folder of its own: two on one machine do not
meet.

A test that takes `cluster` shares it; one that takes `cluster_alone` breaks parts of it and has it
to itself.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from jobs.runs.journal import new_tag
from jobs.schedulers.base import Batch, JobHandle, JobState, Phase
from jobs.schedulers.slurm.scheduler import SlurmScheduler
from jobs.schedulers.slurm.script import SlurmOptions, output_of
from tests.support import scripted_elements
from tests.support.paths import ROOT as CHECKOUT

SCRIPT = Path(__file__).with_name("cluster.sh")
SITE = SCRIPT.with_name("site")
TAG = hashlib.sha256(str(CHECKOUT).encode()).hexdigest()[:6]
ROOT = Path(f"/tmp/anlp-slurm-{TAG}")  # short, as sockets below it must be
LOCKS = Path(f"/tmp/anlp-slurm-{TAG}-locks")
NODES = f"t{TAG}n"  # and a number from 1 to 4
PATIENCE_S = 300.0  # on a machine that is busy otherwise


@dataclass(frozen=True, slots=True)
class Cluster:
    """The running cluster, as clients find it by SLURM_CONF."""

    def act(self, *words: str) -> None:
        """`fail n1`, `start n1`, `stop-controller`, ...: see cluster.sh."""
        subprocess.run([SCRIPT, *words], check=True, env=_environment(), stdout=subprocess.DEVNULL)

    def ask(self, *argv: str) -> str:
        """What a command of Slurm prints."""
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def why_not() -> str | None:
    """Why there can be no cluster here, None where there can."""
    if os.geteuid() != 0:
        return "the real Slurm needs root (it starts slurmctld and slurmd)"
    if not Path("/etc/debian_version").exists() or shutil.which("apt-get") is None:
        return "the real Slurm is installed by apt-get on Debian 12"
    return None


@pytest.fixture(scope="session")
def running_cluster() -> Iterator[Cluster]:
    if reason := why_not():
        pytest.skip(reason)
    LOCKS.mkdir(exist_ok=True)
    with (LOCKS / "users").open("w") as users:
        fcntl.flock(users, fcntl.LOCK_SH)
        with _locked(fcntl.LOCK_SH):  # not while a test of another process has parts of it down
            subprocess.run([SCRIPT, "up"], check=True, env=_environment())
        yield Cluster()
        fcntl.flock(
            users, fcntl.LOCK_UN
        )  # first, or two that end together would each think that the other needs it
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        subprocess.run([SCRIPT, "down"], check=True, env=_environment())


@pytest.fixture
def cluster(running_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    _point_clients_to_it(monkeypatch)
    with _locked(fcntl.LOCK_SH):
        yield running_cluster


@pytest.fixture
def cluster_alone(running_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    _point_clients_to_it(monkeypatch)
    with _locked(fcntl.LOCK_EX):
        yield running_cluster
        subprocess.run(
            [SCRIPT, "up"], check=True, env=_environment()
        )  # repairs what the test broke


def make_scheduler(patience_s: float = 0.0) -> SlurmScheduler:
    """A scheduler whose elements behave as `scripted_elements.BEHAVIOURS` says."""
    return SlurmScheduler(
        SlurmOptions(runner="tests.support.scripted_elements:run"), patience_s=patience_s
    )


def make_batch(folder: Path, *behaviours: str, max_parallel: int | None = None) -> Batch:
    """A batch file with an element for each behaviour, in a place of its own."""
    place = folder / new_tag()
    place.mkdir()
    return Batch(
        new_tag(),
        "grid",
        scripted_elements.write_batch(place, *behaviours),
        len(behaviours),
        max_parallel,
    )


def settle(
    scheduler: SlurmScheduler,
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
        assert time.monotonic() < deadline, f"not ended: {states}"
        meanwhile()
        time.sleep(0.3)


def said(batch: Batch, job: JobHandle) -> str:
    """What an element printed, with Slurm's own lines."""
    return output_of(batch.path, job.native_id, job.index).read_text()


def _environment() -> dict[str, str]:
    return {**os.environ, "SLURM_CLUSTER": str(ROOT), "SLURM_NODES": NODES}


def _point_clients_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CONF", str(ROOT / "slurm.conf"))
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))
    monkeypatch.delenv("ANLP_ON", raising=False)  # `auto` finds it


@contextmanager
def _locked(kind: int) -> Iterator[None]:
    with (LOCKS / "tests").open("w") as lock:
        fcntl.flock(lock, kind)
        yield
