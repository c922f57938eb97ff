"""Screens and refusals of every command while a shared scheduler is down, and how often each asks
it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from anlp.core.errors import SchedulerError
from anlp.records.folders import GridFolder
from jobs import cancel, explain, logs, retry, status
from jobs.runs.polling import PollInterval
from jobs.runs.polling_cache import CachedState, JobStateCache, read_cache, write_cache
from jobs.schedulers.slurm import client
from tests.support.grids import a_spec, finish, submit
from tests.support.quick_runner import call_submit
from tests.support.schedulers.slurm import fake_slurm

SPECS = [a_spec(lr=lr) for lr in (0.1, 0.2, 0.3)]
GRID = """\
task: mnist
fixed: {data: digits, epochs: 10}
grid: {lr: [0.1, 0.2, 0.3]}
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Slurm that has the grid's array in its queue; a question that fails is asked once."""
    site = tmp_path / "slurm"
    monkeypatch.setenv("PATH", str(fake_slurm.install(site, state="PENDING")), prepend=":")
    monkeypatch.delenv("ANLP_ON", raising=False)  # `auto` finds it
    monkeypatch.setattr(client, "MOST_RETRIES", 0)
    fake_slurm.add_array(site, "4711", len(SPECS))
    return site


def questions(site: Path) -> list[str]:
    """The programs that were called since the last time, with squeue's and scancel's jobs."""
    calls = [line.split() for line in fake_slurm.read_calls(site)]
    fake_slurm.take_calls(site)
    return [
        f"{words[0]} {words[words.index('-j') + 1] if '-j' in words else words[-1]}"
        for words in calls
    ]


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
    folder: GridFolder, site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_slurm.set_down(site)

    assert show(capsys)[1:3] == [
        "  2 queued   1 done",
        "  slurm does not answer; this is what the folders say "
        "(squeue: Unable to contact slurm controller (connect failure))",
    ]


def test_status_shows_the_last_answer_with_its_age(
    folder: GridFolder, site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_slurm.set_state(site, "RUNNING")
    show(capsys)
    age_answers(folder, 185)
    fake_slurm.set_down(site)

    assert show(capsys)[1:3] == [
        "  2 running   1 done",
        "  slurm does not answer; this is what the folders and its answer of 3 min 5 s ago say "
        "(squeue: Unable to contact slurm controller (connect failure))",
    ]


def test_status_says_how_old_an_answer_is_and_how_to_get_another(
    folder: GridFolder, site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show(capsys)
    age_answers(folder, 25)

    assert show(capsys)[2] == "  slurm was asked 25 s ago (--fresh asks now)"
    assert "slurm was asked" not in "\n".join(show(capsys, "--fresh"))
    assert questions(site) == ["squeue 4711"] * 2


def test_json_tells_of_the_outage(
    folder: GridFolder, site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_slurm.set_state(site, "TIMEOUT")
    fake_slurm.set_no_database(site)
    show(capsys)
    asked = json.loads(show(capsys, "--json")[0])["schedulers"]
    age_answers(folder, 60)
    fake_slurm.set_down(site)

    down = json.loads(show(capsys, "--json")[0])["schedulers"]

    note = (
        f"Slurm's accounts do not answer ({fake_slurm.NO_DATABASE}): "
        "jobs of which only they would know the end count as alive"
    )
    assert asked == [
        {"scheduler": "slurm", "asked": asked[0]["asked"], "outage": None, "notes": [note]}
    ]
    assert down == [
        {
            **asked[0],
            "asked": round(asked[0]["asked"] - 60, 3),
            "outage": f"squeue: {fake_slurm.DOWN}",
        }
    ]


def test_watch_goes_on_through_an_outage(
    folder: GridFolder,
    site: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits: list[float] = []
    wait_s = PollInterval.wait_s

    def advance(*words: Any) -> float:
        waits.append(wait_s(*words))
        age_answers(folder, waits[-1])
        if len(waits) == 1:
            fake_slurm.set_down(site)
        if len(waits) == 3:
            fake_slurm.set_down(site, False)
            fake_slurm.set_state(site, "TIMEOUT")
        return 0.0

    monkeypatch.setattr(PollInterval, "wait_s", advance)

    text = "\n".join(show(capsys, "--watch"))

    assert waits == [40, 40, 60]
    assert text.count("slurm does not answer") == 1
    assert text.index("2 queued") < text.index("slurm does not answer") < text.index("2 lost")


def test_explain_and_logs_say_so_beside_what_the_folder_knows(
    folder: GridFolder, site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_slurm.set_down(site)

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
    folder: GridFolder, site: Path, command: Callable[[], Any]
) -> None:
    fake_slurm.set_down(site)

    with pytest.raises(SchedulerError, match="Unable to contact slurm controller"):
        command()


def test_submit_refuses_and_writes_nothing(
    folder: GridFolder, site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_slurm.set_down(site)
    before = folder.journal.read_bytes()

    assert call_submit(folder.path.with_suffix(".yaml"), "--on", "slurm") == 2

    assert capsys.readouterr().err == f"slurm: squeue: {fake_slurm.DOWN}; try again later\n"
    assert folder.journal.read_bytes() == before


# --- how often a command asks


def test_commands_in_a_row_share_one_question(
    folder: GridFolder, site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show(capsys)
    explain.main(["demo", SPECS[1].run_id])
    logs.main(["demo", SPECS[1].run_id])
    logs.main(["demo", "--failed"])
    show(capsys, "--json")

    assert questions(site) == ["squeue 4711"]


@pytest.mark.slow
def test_submit_asks_once_about_what_is_under_way(
    folder: GridFolder, site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call_submit(folder.path.with_suffix(".yaml"), "--on", "slurm") == 0

    assert "nothing to submit: 2 queued, 1 done" in capsys.readouterr().out
    assert questions(site) == ["squeue 4711"]


def test_a_dry_run_asks_once_and_writes_nothing(
    folder: GridFolder, site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(os.listdir(folder.path))

    assert call_submit(folder.path.with_suffix(".yaml"), "--on", "slurm", "-n") == 0

    assert questions(site) == ["squeue 4711"]
    assert sorted(os.listdir(folder.path)) == before


def test_cancel_asks_once_and_the_next_status_asks_again(
    folder: GridFolder, site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cancel.main(["demo", "--only", "lr=0.2"]) == 0
    assert questions(site) == ["squeue 4711", "scancel 4711_[1]"]

    show(capsys)

    assert questions(site)[:1] == ["squeue 4711"]
