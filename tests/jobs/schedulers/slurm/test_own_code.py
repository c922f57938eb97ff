"""Programs and functions of the user's own on a real Slurm: time limits, packs, lost runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from anlp.records.files import read_metrics
from anlp.records.folders import RunFolder
from jobs.runs.journal import new_tag
from jobs.schedulers.base import Cause
from tests.support.own_code import FORMS, Form
from tests.support.paths import ROOT
from tests.support.schedulers.slurm.cluster import Cluster
from tests.support.submits import Place, attempts_of, wait_until

pytestmark = pytest.mark.slow


@pytest.fixture(params=FORMS, ids=lambda form: form.name)
def form(request: pytest.FixtureRequest) -> Form:
    given: Form = request.param
    return given


def make_study(form: Form, folder: Path, grid: str, *, resumes: bool = True) -> Place:
    """A project with a grid file of a name that Slurm has not heard before."""
    path = form.write(folder / "project", grid, name=f"{new_tag()[:6]}-own")
    if not resumes:
        path.write_text(path.read_text().replace("resume: {exit_code: 3}\n", ""))
    return Place(path, folder / "runs", (("PYTHONPATH", str(ROOT)),))


def the_run(place: Place) -> RunFolder:
    (path,) = place.folder.path.glob("*/spec.json")
    return RunFolder(path.parent)


def wait_for_epochs(place: Place) -> None:
    wait_until(
        lambda: any(
            len(read_metrics(path.parent / "metrics.jsonl")) > 1
            for path in place.folder.path.glob("*/spec.json")
        ),
        lambda: "it does not train",
    )


def wait_for_states(place: Place, *wanted: str) -> None:
    wait_until(
        lambda: {status.state.value for status in place.states().values()} <= {*wanted},
        lambda: f"expected {wanted}, got {place.counts()}",
        pause_s=0.5,
    )


def warn(cluster: Cluster, place: Place) -> None:
    """Slurm's warning before the time limit, sent by hand."""
    (status,) = place.states().values()
    assert status.handle is not None
    cluster.ask(
        "scancel", "--signal=USR2", "--batch", f"{status.handle.native_id}_{status.handle.index}"
    )


def test_a_grid_runs_in_packs_and_a_killed_run_is_lost_alone(
    cluster: Cluster, form: Form, tmp_path: Path
) -> None:
    place = make_study(form, tmp_path, "grid: {do: [ok, die], lr: [0.1, 0.2, 0.3]}\npack: 2\n")

    ended = place.submit("--on", "slurm", "-y", "--chain", "2")
    wait_for_states(place, "done", "lost")

    assert ended.code == 0, ended.err
    states = place.states().values()
    assert sorted(status.state.value for status in states) == ["done"] * 3 + ["lost"] * 3
    assert {status.cause for status in states} == {None, Cause.SIGNAL}


def test_a_warned_run_is_requeued_and_continues(
    cluster: Cluster, form: Form, tmp_path: Path
) -> None:
    place = make_study(form, tmp_path, "fixed: {do: linger}\n")
    place.submit("--on", "slurm", "-y", "--time", "10m")
    wait_for_epochs(place)

    warn(cluster, place)
    wait_for_states(place, "done")

    run = the_run(place)
    assert [attempt["ending"] for attempt in attempts_of(run)] == ["interrupted", "done"]
    assert "begins at epoch 2" in run.log.read_text()


def test_a_program_that_does_not_continue_is_lost_by_its_time_limit(
    cluster: Cluster, tmp_path: Path
) -> None:
    text = (
        "import time, json, os\n"
        "for epoch in range(10**6):\n"
        "    with open(os.environ['ANLP_METRICS'], 'a') as file:\n"
        "        file.write(json.dumps({'epoch': epoch, 'val_acc': 0.5}) + '\\n')\n"
        "    time.sleep(0.05)\n"
    )
    form = Form("endless", {"train.py": text}, "program: train.py")
    place = make_study(form, tmp_path, "fixed: {lr: 0.1}\n")
    place.submit("--on", "slurm", "-y", "--time", "10m")
    wait_for_epochs(place)

    warn(cluster, place)
    wait_for_states(place, "lost")

    (status,) = place.states().values()
    assert (status.cause, status.detail) == (
        Cause.TIMEOUT,
        "the program does not continue where it stopped; give it more time",
    )
    assert len(attempts_of(the_run(place))) == 1
    retried = place.submit("-n", module="jobs.retry")
    assert "15 min" in retried.out
    assert os.environ.get("SLURM_JOB_ID") is None
