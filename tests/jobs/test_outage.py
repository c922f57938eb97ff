"""Screens and refusals of every command while a shared scheduler is down, and how often each asks
it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from anlp.core.errors import SchedulerError
from anlp.records.folders import GridFolder
from jobs import cancel, explain, logs, retry, status
from jobs.runs.polling_cache import CachedState, JobStateCache, read_cache, write_cache
from jobs.schedulers.base import Cause, JobState, Phase
from tests.support.grids import a_spec, finish, submit
from tests.support.quick_runner import call_submit
from tests.support.schedulers.fake_cluster import DOWN, FakeCluster

SPECS = [a_spec(lr=lr) for lr in (0.1, 0.2, 0.3)]
GRID = """\
task: mnist
fixed: {data: digits, epochs: 10}
grid: {lr: [0.1, 0.2, 0.3]}
"""


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    made = FakeCluster()
    made.install(monkeypatch)
    return made


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GridFolder:
    """A grid of three runs that are with Slurm, the first of them done."""
    monkeypatch.setenv("ANLP_RUNS", str(tmp_path))
    folder = GridFolder(tmp_path / "demo")
    finish(folder, SPECS[0], submit(folder, SPECS, slurm_job="4711"))
    (tmp_path / "demo.yaml").write_text(GRID)
    return folder


def show(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert status.main(["demo", *arguments]) == 0
    return capsys.readouterr().out.splitlines()


def age_answers(folder: GridFolder, seconds: float) -> None:
    """Makes what is remembered older."""
    known = read_cache(folder.answers)
    jobs = {
        job: CachedState(answer.state, answer.time - seconds) for job, answer in known.jobs.items()
    }
    write_cache(folder.answers, JobStateCache(jobs, known.notes))


def test_status_says_that_the_scheduler_is_down_and_loses_nothing(
    folder: GridFolder, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.go_down()

    assert show(capsys)[1:3] == [
        "  2 queued   1 done",
        "  slurm does not answer; this is what the folders say "
        "(squeue: Unable to contact slurm controller (connect failure))",
    ]


def test_status_shows_the_last_answer_with_its_age(
    folder: GridFolder, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.state = JobState(Phase.RUNNING)
    show(capsys)
    age_answers(folder, 185)
    cluster.go_down()

    assert show(capsys)[1:3] == [
        "  2 running   1 done",
        "  slurm does not answer; this is what the folders and its answer of 3 min 5 s ago say "
        "(squeue: Unable to contact slurm controller (connect failure))",
    ]


def test_status_says_how_old_an_answer_is_and_how_to_get_another(
    folder: GridFolder, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    show(capsys)
    age_answers(folder, 25)

    assert show(capsys)[2] == "  slurm was asked 25 s ago (--fresh asks now)"
    assert "slurm was asked" not in "\n".join(show(capsys, "--fresh"))
    assert cluster.asked == [("slurm", 2)] * 2


def test_json_tells_of_the_outage(
    folder: GridFolder, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.notes = ("no accounts",)
    show(capsys)
    asked = json.loads(show(capsys, "--json")[0])["schedulers"]
    age_answers(folder, 60)
    cluster.go_down()

    down = json.loads(show(capsys, "--json")[0])["schedulers"]

    assert asked == [
        {"scheduler": "slurm", "asked": asked[0]["asked"], "outage": None, "notes": ["no accounts"]}
    ]
    assert down == [
        {
            **asked[0],
            "asked": round(asked[0]["asked"] - 60, 3),
            "outage": DOWN.removeprefix("slurm: "),
        }
    ]


def test_watch_goes_on_through_an_outage(
    folder: GridFolder,
    cluster: FakeCluster,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        age_answers(folder, seconds)
        if len(waits) == 1:
            cluster.go_down()
        if len(waits) == 3:
            cluster.error = None
            cluster.end(Cause.TIMEOUT)

    monkeypatch.setattr(time, "sleep", sleep)

    text = "\n".join(show(capsys, "--watch"))

    assert waits == [40, 40, 60]
    assert text.count("slurm does not answer") == 1
    assert text.index("2 queued") < text.index("slurm does not answer") < text.index("2 lost")


def test_explain_and_logs_say_so_beside_what_the_folder_knows(
    folder: GridFolder, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.go_down()

    explain.main(["demo", SPECS[1].run_id])
    said = " ".join(capsys.readouterr().out.split())
    logs.main(["demo", SPECS[1].run_id])
    log = capsys.readouterr()

    assert "queued, the next of its submission" in said
    assert (
        "slurm does not answer; this is what the folders say "
        "(squeue: Unable to contact slurm controller" in said
    )
    assert log.err.startswith("slurm does not answer")
    assert log.out == f"{SPECS[1].run_id} is queued and has written nothing\n"


@pytest.mark.parametrize(
    "command",
    [
        lambda: cancel.main(["demo"]),
        lambda: retry.main(["demo"]),
    ],
    ids=["cancel", "retry"],
)
def test_what_changes_something_refuses_with_the_schedulers_words(
    folder: GridFolder, cluster: FakeCluster, command: Callable[[], Any]
) -> None:
    cluster.go_down()

    with pytest.raises(SchedulerError, match="Unable to contact slurm controller"):
        command()


def test_submit_refuses_and_writes_nothing(
    folder: GridFolder, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.go_down()
    before = folder.journal.read_bytes()

    assert call_submit(folder.path.with_suffix(".yaml"), "--on", "slurm") == 2

    assert capsys.readouterr().err == f"{DOWN}; try again later\n"
    assert folder.journal.read_bytes() == before


# --- how often a command asks


def test_commands_in_a_row_share_one_question(
    folder: GridFolder, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    show(capsys)
    explain.main(["demo", SPECS[1].run_id])
    logs.main(["demo", SPECS[1].run_id])
    logs.main(["demo", "--failed"])
    show(capsys, "--json")

    assert cluster.asked == [("slurm", 2)]


@pytest.mark.slow
def test_submit_asks_once_about_what_is_under_way(
    folder: GridFolder, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call_submit(folder.path.with_suffix(".yaml"), "--on", "slurm") == 0

    assert "nothing to submit: 2 queued, 1 done" in capsys.readouterr().out
    assert cluster.asked == [("slurm", 2)]


def test_a_dry_run_asks_once_and_writes_nothing(
    folder: GridFolder, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(os.listdir(folder.path))

    assert call_submit(folder.path.with_suffix(".yaml"), "--on", "slurm", "-n") == 0

    assert cluster.asked == [("slurm", 2)]
    assert sorted(os.listdir(folder.path)) == before


def test_cancel_asks_once_and_the_next_status_asks_again(
    folder: GridFolder, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cancel.main(["demo", "--only", "lr=0.2"]) == 0
    assert [job.index for job in cluster.stopped] == [1]
    assert cluster.asked == [("slurm", 2)]

    show(capsys)

    assert cluster.asked == [("slurm", 2), ("slurm", 1)]
