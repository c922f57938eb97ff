"""Real training in a real image under a real Slurm, ended in every way that it knows; and a key
that shows nowhere.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from anlp.records.files import read_json, read_metrics
from anlp.records.folders import RunFolder
from anlp.records.results import RunState
from jobs import cancel
from jobs.config.resources import Resources
from jobs.containers.apptainer import Container
from jobs.schedulers.base import Batch, Cause
from jobs.schedulers.slurm.scheduler import SlurmScheduler
from jobs.schedulers.slurm.script import SlurmOptions
from tests.support.schedulers.slurm.cluster import Cluster, said, settle
from tests.support.submits import Place, attempts_of, make_place, numbers_of, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("as_this_user")]
STUDY = """\
task: mnist
fixed: {data: digits, hidden: 64, batch_size: 32, dropout: 0.2, epochs: 100}
grid: {lr: [0.1, 0.01]}
wandb: {mode: disabled}
"""
ON_SLURM = ("--on", "slurm", "-q")
KEY = "0123456789abcdef,very 'secret' $(touch key)"
PATIENCE_S = 150.0


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, image: Path) -> Place:
    """The same grid in the same image, where nothing interrupts it."""
    place = make_place(
        tmp_path_factory.mktemp("undisturbed"), f"{STUDY}container: {image}\n", APPTAINER_USERNS="1"
    )
    assert place.submit("--on", "local", "-q").code == 0
    return place


@pytest.fixture
def place(tmp_path: Path, image: Path) -> Place:
    return make_place(tmp_path, f"{STUDY}container: {image}\n")


def outputs_of(place: Place) -> str:
    """What all tasks printed, with Slurm's own lines."""
    return "\n".join(path.read_text() for path in place.folder.batches.glob("*.slurm/*.out"))


def wait_for(place: Place, state: RunState) -> None:
    """Returns when all runs are in it."""

    wait_until(
        lambda: set(place.counts()) == {state},
        lambda: f"{place.counts()} {outputs_of(place)}",
        PATIENCE_S,
        pause_s=0.3,
    )


def wait_for_epochs(place: Place, count: int) -> list[RunFolder]:
    def trained() -> bool:
        return len(place.runs()) == 2 and all(
            len(read_metrics(run.metrics)) > count for run in place.runs()
        )

    wait_until(trained, lambda: "it does not train", PATIENCE_S, pause_s=0.1)
    return place.runs()


def endings(run: RunFolder) -> list[str]:
    return [attempt.get("ending", "") for attempt in attempts_of(run)]


def test_warned_of_the_time_limit_runs_are_requeued_and_end_with_the_same_numbers(
    cluster: Cluster, place: Place, undisturbed: Place
) -> None:
    assert place.submit(*ON_SLURM, "--time", "1m").code == 0
    wait_for_epochs(place, 3)
    (job,) = {status.handle.native_id for status in place.states().values() if status.handle}
    for index in (
        0,
        1,
    ):  # what Slurm sends by itself before the limit, which so short a run need not live to see
        cluster.ask("scancel", "--signal=USR2", "--batch", f"{job}_{index}")
    wait_for(place, RunState.DONE)

    assert numbers_of(place) == numbers_of(undisturbed)
    for run in place.runs():
        assert (endings(run)[0], endings(run)[-1]) == ("interrupted", "done")
        assert (read_json(run.result) or {})["provenance"]["container"]["mode"] == "baked"
    assert "this job is timed-out" in outputs_of(place)
    assert "to be requeued (19 remaining timeouts)" in outputs_of(place)


def test_slurms_own_warning_before_the_time_limit_reaches_the_run_in_the_image(
    cluster: Cluster, place: Place, undisturbed: Place
) -> None:
    """Without help: the runs are held still until the clock of the real Slurm has brought
    the warning.
    """
    assert place.submit(*ON_SLURM, "--time", "3m").code == 0
    runs = wait_for_epochs(place, 3)
    elements = elements_of(place)
    for process in elements:
        os.kill(process, signal.SIGSTOP)
    wait_until(lambda: all(map(is_warned, elements)), lambda: "no warning came", PATIENCE_S)
    before = [len(read_metrics(run.metrics)) for run in runs]
    for process in elements:
        os.kill(process, signal.SIGCONT)
    wait_for(place, RunState.DONE)

    assert len(elements) == 2
    assert all(3 < count < 100 for count in before)
    assert numbers_of(place) == numbers_of(undisturbed)
    assert all("continuing after epoch" in run.log.read_text() for run in runs)
    assert [(endings(run)[0], endings(run)[-1]) for run in runs] == [("interrupted", "done")] * 2
    assert "to be requeued (19 remaining timeouts)" in outputs_of(place)
    assert "Bus error" not in outputs_of(place)


def elements_of(place: Place) -> list[int]:
    """Process ids of what trains in the image."""
    root = str(place.root).encode()
    found = {int(path.name): read(path, "cmdline") for path in Path("/proc").glob("[0-9]*")}
    return [
        process
        for process, argv in found.items()
        if is_element(argv) and any(root in word for word in argv)
    ]


def is_element(argv: Sequence[bytes]) -> bool:
    return b"anlp.runtime.slurm_task" in argv and b"--in-image" in argv and b"sh" not in argv


def is_warned(process: int) -> bool:
    """Whether SIGUSR2 waits for a process that is held still."""
    (line,) = [
        line
        for line in Path(f"/proc/{process}/status").read_text().splitlines()
        if line.startswith("ShdPnd:")
    ]
    return bool(int(line.split()[1], 16) >> (signal.SIGUSR2 - 1) & 1)


def test_preempted_runs_are_requeued_and_end_with_the_same_numbers(
    cluster_alone: Cluster, place: Place, undisturbed: Place
) -> None:
    assert place.submit(*ON_SLURM, "--time", "60m", "--queue", "low").code == 0
    wait_for_epochs(place, 3)
    cluster_alone.ask("sbatch", "--exclusive", "-N4", "-o/dev/null", "--wrap", "sleep 1")
    wait_for(place, RunState.DONE)

    assert numbers_of(place) == numbers_of(undisturbed)
    assert [endings(run) for run in place.runs()] == [["interrupted", "done"]] * 2


def test_cancelled_runs_leave_a_checkpoint_and_the_next_submit_ends_with_the_same_numbers(
    cluster: Cluster, place: Place, undisturbed: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANLP_RUNS", str(place.root))
    assert place.submit(*ON_SLURM).code == 0
    runs = wait_for_epochs(place, 3)
    assert cancel.main([place.folder.name, "-y"]) == 0
    wait_until(
        lambda: not {RunState.RUNNING, RunState.QUEUED} & set(place.counts()),
        lambda: "alive",
        PATIENCE_S,
    )

    saved = [torch.load(run.checkpoint, weights_only=True)["epoch"] for run in runs]
    assert place.submit(*ON_SLURM, "--retry").code == 0
    wait_for(place, RunState.DONE)

    assert all(0 <= epoch < 100 for epoch in saved)
    assert numbers_of(place) == numbers_of(undisturbed)
    assert all("continuing after epoch" in run.log.read_text() for run in runs)
    assert [endings(run) for run in runs] == [["interrupted", "done"]] * 2
    assert "Bus error" not in outputs_of(
        place
    )  # of what nothing had read before the image was gone


def read(process: Path, name: str) -> list[bytes]:
    """What /proc tells of a process, nothing where it is gone."""
    try:
        return (process / name).read_bytes().split(b"\0")
    except OSError:
        return []


def look_at_processes(secret: bytes) -> tuple[list[bytes], set[bytes]]:
    """Words of any process with the secret in them, and what elements have as their key."""
    words, keys = [], set()
    for process in Path("/proc").glob("[0-9]*"):
        argv = read(process, "cmdline")
        words += [word for word in argv if secret in word]
        if is_element(argv):
            entries = read(process, "environ")
            keys |= {
                entry.partition(b"=")[2] for entry in entries if entry.startswith(b"WANDB_API_KEY=")
            }
    return words, keys


def test_a_key_reaches_the_runs_and_stands_nowhere(
    cluster: Cluster, place: Place, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)

    assert place.submit(*ON_SLURM, "--time", "5m").code == 0
    wait_for_epochs(place, 1)
    secret = KEY.split(",")[0].encode()
    words, keys = look_at_processes(secret)
    wait_for(place, RunState.DONE)

    assert (words, keys) == ([], {KEY.encode()})
    files = [path for path in place.root.parent.rglob("*") if path.is_file()]
    assert [path for path in files if secret in path.read_bytes()] == []
    assert not [path for path in files if path.name == "key"]
    assert len(list(place.folder.batches.glob("*.slurm/*.out"))) == 2


def test_a_container_that_does_not_start_is_no_result(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "1.jsonl").touch()
    batch = Batch("0123456789ab", "study", tmp_path / "1.jsonl", 1)
    scheduler = SlurmScheduler(SlurmOptions(container=Container(tmp_path / "gone.sif")))

    handles = scheduler.submit(batch, Resources())
    state = settle(scheduler, handles)[handles[0]]

    assert (state.cause, state.detail) == (
        Cause.NOT_STARTED,
        "exit code 72: its script or its container could not start; the job's output says why",
    )
    wait_until(lambda: "FATAL:" in said(batch, handles[0]), lambda: said(batch, handles[0]))
