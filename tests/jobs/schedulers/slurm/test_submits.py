"""`python -m jobs.submit` on a real Slurm, with everything that can go wrong on the way: each run
exactly once.

Runs step through their epochs without training (`stepping_runs.py`); what training makes of an
interruption is in
`test_runs.py`.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from anlp.records.files import read_json, read_metrics
from anlp.records.folders import RunFolder
from anlp.records.results import RunState
from jobs.runs.journal import new_tag
from jobs.runs.status import RunStatus
from jobs.schedulers import registry
from jobs.schedulers.base import Cause
from tests.support.paths import ROOT
from tests.support.schedulers.slurm.cluster import NODES, SITE, Cluster
from tests.support.schedulers.slurm.command_log import note_calls, put_first
from tests.support.submits import Ended, Place, attempts_of, make_place, wait_until

pytestmark = pytest.mark.slow
PROGRAMS = {
    name: f"/usr/bin/{name}" for name in ("sbatch", "squeue", "sacct", "scancel", "scontrol")
}
ALIVE = {RunState.QUEUED, RunState.RUNNING, RunState.DONE}


def make_steps(
    folder: Path, rates: int | str, *, name: str = "steps", more: str = "", **extra: str
) -> Place:
    """A grid of stepping runs, with as many learning rates or those of the list, and programs
    before Slurm's own.

    Its name is its own: Slurm remembers the jobs of every test before this one, and of an earlier
    try of this one.
    """
    lr = {"logspace": [1e-4, 1e-1, rates]} if isinstance(rates, int) else rates
    text = (
        f"task: mnist\nfixed: {{data: digits, epochs: 3}}\ngrid: "
        f"{{lr: {lr}}}\nwandb: {{mode: disabled}}\n{more}"
    )
    place = folder / name
    place.mkdir()
    name = f"{new_tag()[:6]}-{name}"  # first: names of jobs are cut
    calls = note_calls(place / "bin", PROGRAMS)
    path = f"{calls.folder}:{os.environ['PATH']}"
    modules = f"{SITE}:{ROOT}"
    return make_place(place, text, name=f"{name}.yaml", PATH=path, PYTHONPATH=modules, **extra)


def wait_for(place: Place, *states: RunState, timeout_s: float = 180.0) -> None:
    """Returns when every run of the grid is in one of these states."""
    wait_until(
        lambda: set(place.counts()) <= set(states), lambda: story_of(place), timeout_s, pause_s=0.3
    )


def wait_for_done(place: Place, least: int) -> set[RunState]:
    """Returns the states that any run was in on the way, when at least so many are done or one
    leads nowhere.
    """
    seen: set[RunState] = set()

    def is_so() -> bool:
        counts = place.counts()
        seen.update(counts)
        return counts.get(RunState.DONE, 0) >= least or not seen <= ALIVE

    wait_until(is_so, lambda: story_of(place), 180.0, pause_s=0.3)
    return seen


def story_of(place: Place) -> str:
    """Where the runs stand, and what the first task printed."""
    outputs = sorted(place.folder.batches.glob("*/*.out"))
    return f"{place.counts()}\n{outputs[0].read_text() if outputs else 'nothing was printed'}"


def tasks_of(cluster: Cluster, place: Place) -> list[str]:
    """The tasks of all jobs that Slurm took for a grid."""
    lines = [
        line.split()
        for line in cluster.ask("squeue", "-h", "-r", "-t", "all", "-o", "%i %j").splitlines()
    ]
    return [job for job, name in lines if name.startswith(place.file.stem[:7])]


def endings_of(run: RunFolder) -> list[str]:
    """How each attempt ended; nothing where it was killed."""
    return [str(attempt.get("ending", "")) for attempt in attempts_of(run)]


def check_once(run: RunFolder) -> None:
    """One attempt brought the result, the last; every epoch is there, in order, once."""
    endings, result = endings_of(run), read_json(run.result) or {}
    assert (endings.count("done"), endings[-1]) == (1, "done")
    assert result["provenance"]["attempts"] == len(endings)
    assert [line["epoch"] for line in read_metrics(run.metrics)] == [0, 1, 2, 3]


def test_two_hundred_runs_end_each_exactly_once_although_a_node_dies_twice(
    cluster_alone: Cluster, tmp_path: Path
) -> None:
    place = make_steps(
        tmp_path, 200, more="resources: {cpus: 2}\n", STEP_S="0.4", STEP_STAY="0.0001"
    )
    seen: set[RunState] = set()

    submitted = place.submit("--on", "slurm", "--max-parallel", "24")
    assert submitted.code == 0, submitted.err
    for attempt, done in enumerate((40, 100), 1):
        seen |= wait_for_done(place, done)
        node = node_of(cluster_alone, place, 0.0001, attempt)
        cluster_alone.act("fail", node)
        seen |= set(place.counts())
        cluster_alone.act("start", node)
    seen |= wait_for_done(place, 200)

    assert seen <= ALIVE  # no run was called lost meanwhile
    assert place.counts() == {RunState.DONE: 200}
    for run in place.runs():
        check_once(run)
    assert endings_of(state_of(place, 0.0001).folder) == ["", "", "done"]
    assert len(tasks_of(cluster_alone, place)) == 200


def node_of(cluster: Cluster, place: Place, rate: float, attempt: int) -> str:
    """The node where a run is at work for the so many-th time."""
    run, task = state_of(place, rate).folder, state_of(place, rate).handle
    assert task is not None
    wait_until(
        lambda: len(attempts_of(run)) == attempt, lambda: story_of(place), 180.0, pause_s=0.1
    )
    return cluster.ask(
        "squeue", "-h", "-r", "-j", f"{task.native_id}_{task.index}", "-o", "%N"
    ).strip()


# What happens to a submit: what its environment says, what stands before sbatch, and how the
# command ends.
ACCIDENTS: Mapping[str, tuple[str, str, int]] = {
    "before_the_intent": ("before intend", "", -signal.SIGKILL),
    "after_the_intent": ("after intend", "", -signal.SIGKILL),
    "while_sbatch_is_at_it": (
        "",
        'kill -9 $PPID; sleep 3; exec /usr/bin/sbatch "$@"',
        -signal.SIGKILL,
    ),
    "before_the_answer_is_written": ("before accepted", "", -signal.SIGKILL),
    "after_the_answer_is_written": ("after accepted", "", -signal.SIGKILL),
    "answer_lost": (
        "",
        '/usr/bin/sbatch "$@" >/dev/null; echo "sbatch: error: Batch job submission failed: '
        'Socket timed out on send/recv operation" >&2; exit 1',
        2,
    ),
}


def test_a_submit_that_is_killed_or_not_answered_is_made_up_for_by_the_next(
    cluster: Cluster, tmp_path: Path
) -> None:
    places = {name: make_steps(tmp_path, 2, name=name) for name in ACCIDENTS}
    for name, (_, instead, _) in ACCIDENTS.items():
        if instead:
            put_first(places[name].file.parent / "bin", "sbatch", instead)

    first = all_at_once(
        {name: accident(places[name], dies) for name, (dies, _, _) in ACCIDENTS.items()},
        "--on",
        "slurm",
    )
    for place in places.values():
        put_first(place.file.parent / "bin", "sbatch", 'exec /usr/bin/sbatch "$@"')
    again = all_at_once(places, "--on", "slurm")
    for place in places.values():
        wait_for(place, RunState.DONE)

    assert {name: ended.code for name, ended in first.items()} == {
        name: how[2] for name, how in ACCIDENTS.items()
    }
    assert "Socket timed out" in first["answer_lost"].err
    assert {name: (ended.code, ended.is_plain) for name, ended in again.items()} == dict.fromkeys(
        places, (0, True)
    )
    for name, place in places.items():
        assert (name, len(tasks_of(cluster, place)), len(place.runs())) == (name, 2, 2)
        assert [endings_of(run) for run in place.runs()] == [["done"], ["done"]]


def accident(place: Place, dies: str) -> Place:
    """The same place, where submits die as told."""
    return Place(place.file, place.root, (*place.extra, ("SUBMIT_DIES", dies))) if dies else place


def all_at_once(places: Mapping[str, Place], *words: str) -> dict[str, Ended]:
    """Submits of several grids at the same time, to their ends."""
    processes = {name: place.start(*words) for name, place in places.items()}
    return {name: ended(process) for name, process in processes.items()}


def ended(process: subprocess.Popen[str]) -> Ended:
    out, err = process.communicate(timeout=120)
    return Ended(process.returncode, out, err)


def test_of_two_submits_at_the_same_time_each_run_is_taken_once(
    cluster: Cluster, tmp_path: Path
) -> None:
    place = make_steps(tmp_path, 6, name="raced")

    submits = [ended(process) for process in [place.start("--on", "slurm") for _ in range(2)]]
    wait_for(place, RunState.DONE)

    assert [submit.code for submit in submits] == [0, 0]
    assert len(tasks_of(cluster, place)) == 6
    assert [endings_of(run) for run in place.runs()] == [["done"]] * 6


def test_a_submit_waits_for_a_controller_that_is_away_and_a_status_says_so(
    cluster_alone: Cluster, tmp_path: Path
) -> None:
    place, other = make_steps(tmp_path, 2), make_steps(tmp_path, 2, name="other", STEP_S="2")
    other.submit("--on", "slurm")
    cluster_alone.act("stop-controller")
    status, submit = other.start(module="jobs.status"), place.start("--on", "slurm")
    looked = ended(status)
    wait_until(
        lambda: log_of(place).count("scontrol show config") > 1, lambda: "it did not try again"
    )
    cluster_alone.act("start-controller")
    submitted = ended(submit)
    for waiting in (place, other):
        wait_for(waiting, RunState.DONE)

    assert "Unable to contact slurm controller" in looked.out + looked.err
    assert (looked.is_plain, "lost" in looked.out) == (True, False)
    assert submitted.code == 0, submitted.err
    assert "Unable to contact slurm controller (connect failure); trying again in" in submitted.err
    for waiting in (place, other):
        assert [endings_of(run) for run in waiting.runs()] == [["done"], ["done"]]


def log_of(place: Place) -> str:
    """Every call of a command of Slurm, one a line."""
    log = place.file.parent / "bin" / "calls"
    return log.read_text() if log.exists() else ""


def state_of(place: Place, rate: float) -> RunStatus:
    return next(status for status in place.states().values() if status.values["lr"] == rate)


def test_how_a_run_was_ended_is_named_with_its_node(cluster: Cluster, tmp_path: Path) -> None:
    if "task/cgroup" not in cluster.ask("scontrol", "show", "config"):
        pytest.skip(
            "no memory cgroup can be written here: Slurm polls and kills, and calls it a signal"
        )
    place = make_steps(
        tmp_path,
        "[0.1, 0.2]",
        more="resources: {mem: 100M}\n",
        STEP_S="30",
        STEP_EAT="0.1",
        STEP_STUBBORN="0.2",
    )
    # where others have no jobs that would have to end first
    quiet = f'resources: {{exclude: "{NODES}[1-3]"}}\n'
    spare = make_steps(
        tmp_path, "[0.3]", name="spare", more=quiet, STEP_S="30", STEP_STUBBORN="0.3"
    )

    place.submit("--on", "slurm")
    spare.submit("--on", "slurm", "--queue", "spare")
    for rate, grid in ((0.2, place), (0.3, spare)):
        wait_for_attempt(grid, rate)
    handle = state_of(place, 0.2).handle
    assert handle is not None
    registry.cancel([handle])
    cluster.ask("sbatch", "--exclusive", f"--nodelist={NODES}4", "-o/dev/null", "--wrap", "true")
    for grid in (place, spare):
        wait_for(grid, RunState.LOST, RunState.INTERRUPTED)

    found = [state_of(grid, rate) for grid, rate in ((place, 0.1), (place, 0.2), (spare, 0.3))]
    assert [status.cause for status in found] == [
        Cause.OUT_OF_MEMORY,
        Cause.CANCELLED,
        Cause.PREEMPTED,
    ]
    assert found[1].detail == f"cancelled by user {os.getuid()}"
    assert NODES + "4" not in [status.node for status in found[:2]]
    assert found[2].node == f"{NODES}4"


def wait_for_attempt(place: Place, rate: float) -> None:
    """Returns when the run is at work."""
    wait_until(
        lambda: state_of(place, rate).state is RunState.RUNNING,
        lambda: f"{place.states()}",
        pause_s=0.2,
    )


@pytest.mark.parametrize("passes", [True, False])
def test_what_follows_a_canary_is_released_or_held_back_by_slurm_itself(
    cluster: Cluster, tmp_path: Path, passes: bool
) -> None:
    place = make_steps(tmp_path, "[0.1, 0.2, 0.3]", STEP_FAIL="" if passes else "0.1")

    submitted = place.submit("--on", "slurm", "--canary")
    wait_for(place, RunState.DONE, RunState.FAILED, RunState.INTERRUPTED)

    assert submitted.code == 0, submitted.err
    held = [status for status in place.states().values() if status.cause is Cause.SKIPPED]
    expected: tuple[dict[RunState, int], list[str]] = (
        ({RunState.DONE: 3}, [])
        if passes
        else ({RunState.FAILED: 1, RunState.INTERRUPTED: 2}, ["its canary"] * 2)
    )
    assert (place.counts(), [status.detail[:10] for status in held]) == expected
    assert len(place.runs()) == (3 if passes else 1)
