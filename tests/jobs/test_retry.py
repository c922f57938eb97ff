from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from anlp.core import lease
from anlp.core.errors import UserError
from anlp.records.folders import GridFolder
from anlp.records.results import RunState
from jobs import retry
from jobs.config.resources import Resources
from jobs.runs.journal import ExitRecord, Journal
from jobs.runs.queries import read_grid
from jobs.schedulers.base import Cause
from tests.support.grids import GONE, a_spec, an_error, fail, finish, journal_lines, lose, submit
from tests.support.quick_runner import use_quick_runner


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GridFolder:
    monkeypatch.setenv("ANLP_RUNS", str(tmp_path))
    return GridFolder(tmp_path / "demo")


def squeezed(text: str) -> list[str]:
    """Lines with their columns two blanks apart."""
    return [re.sub("   +", "  ", line) for line in text.splitlines()]


def asks_of(folder: GridFolder, *words: str) -> dict[str, Any]:
    """What the plan of a retry asks for, by run."""
    with redirect_stdout(StringIO()) as out:
        assert retry.main(["demo", "-n", "--json", *words]) == 0
    return {
        run["id"]: run["resources"]
        for row in json.loads(out.getvalue())["remedies"]
        for run in row["runs"]
    }


def test_a_dry_run_shows_what_would_be_repeated_and_writes_nothing(
    folder: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    specs = [a_spec(seed=seed) for seed in range(4)]
    tag = submit(folder, specs)
    finish(folder, specs[0], tag)
    fail(folder, specs[1], tag, an_error())
    lose(folder, tag, 2, Cause.SIGNAL, "signal 9")
    lose(folder, tag, 3, Cause.CANCELLED)
    before = journal_lines(folder)

    assert retry.main(["demo", "-n"]) == 0

    text = capsys.readouterr().out
    assert text.startswith(
        "demo: 2 runs to repeat; 1 interrupted: any submit of the grid continues them\n"
    )
    assert [line.split("  ") for line in squeezed(text)[1:]] == [
        ["", "cause", "runs", "what is done", "why"],
        ["", "ValueError: bad shape at epoch 0", "1", "again", "an exception that may pass"],
        ["", "killed by signal 9", "1", "again", "as it was"],
    ]
    assert journal_lines(folder) == before


def test_where_nothing_failed_nothing_is_submitted(
    folder: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = a_spec()
    finish(folder, spec, submit(folder, [spec]))

    assert retry.main(["demo"]) == 0
    assert capsys.readouterr().out == "demo: no run failed or was lost\n"


def test_only_narrows_what_is_repeated(
    folder: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    specs = [a_spec(lr=lr) for lr in (0.1, 0.2, 0.3)]
    tag = submit(folder, specs)
    for spec in specs:
        fail(folder, spec, tag, an_error())

    retry.main(["demo", "-n", "--only", "lr>0.1"])

    assert capsys.readouterr().out.startswith("demo: 2 runs to repeat\n")


def test_more_than_ten_runs_are_repeated_only_when_the_user_agrees(folder: GridFolder) -> None:
    specs = [a_spec(seed=seed) for seed in range(11)]
    tag = submit(folder, specs)
    for spec in specs:
        fail(folder, spec, tag, an_error())
    before = journal_lines(folder)

    with pytest.raises(UserError, match=r"Submit these 11 runs again\? .*--yes"):
        retry.main(["demo"])

    assert journal_lines(folder) == before


def test_a_wrong_resource_is_one_sentence(folder: GridFolder) -> None:
    spec = a_spec()
    fail(folder, spec, submit(folder, [spec]), an_error())

    with pytest.raises(UserError, match="--mem: expected an amount of memory"):
        retry.main(["demo", "--mem", "lots"])


def test_what_is_left_is_said_with_what_to_do_and_nothing_is_submitted(
    folder: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    specs = [a_spec(seed=seed) for seed in range(2)]
    tag = submit(folder, specs)
    fail(folder, specs[0], tag, an_error("KeyError", "'lr'", epoch=None))
    fail(folder, specs[1], tag, an_error("OutOfMemoryError", "CUDA out of memory. Tried", epoch=0))
    before = journal_lines(folder)

    assert retry.main(["demo"]) == 0

    text = "\n".join(squeezed(capsys.readouterr().out))
    assert text.startswith("demo: 0 runs to repeat, 2 left\n")
    assert (
        "left  its configuration is at fault; fix the grid, or fix the code and then --force"
        in text
    )
    assert (
        "left  the device was full, which memory of the host does not cure; lower batch_size"
        in text
    )
    assert journal_lines(folder) == before


def test_the_plan_for_programs_names_every_run_with_what_it_gets(folder: GridFolder) -> None:
    specs = [a_spec(seed=seed) for seed in range(3)]
    tag = submit(folder, specs, resources=Resources(mem_mib=1000, walltime_min=10), launcher=GONE)
    lose(folder, tag, 0, Cause.OUT_OF_MEMORY)
    lose(folder, tag, 1, Cause.TIMEOUT)
    fail(folder, specs[2], tag, an_error("SpecError"))

    asks = asks_of(folder)

    assert [asks[spec.run_id] and asks[spec.run_id]["mem_mib"] for spec in specs] == [
        1500,
        1000,
        None,
    ]
    assert asks[specs[1].run_id]["walltime_min"] == 15
    assert {ask["mem_mib"] for ask in asks_of(folder, "--mem", "3G", "--force").values()} == {3072}
    assert asks_of(folder, "--most-mem", "1200M")[specs[0].run_id]["mem_mib"] == 1200


def test_json_shows_a_plan_only(folder: GridFolder) -> None:
    with pytest.raises(UserError, match="--json: shows a plan only"):
        retry.main(["demo", "--json"])


def test_memory_grows_from_what_the_run_had_last_and_is_bounded_by_what_it_had_first(
    folder: GridFolder,
) -> None:
    spec = a_spec()
    for memory in (1000, 1500, 3600):
        tag = submit(folder, [spec], resources=Resources(mem_mib=memory), launcher=GONE)
        lose(folder, tag, 0, Cause.OUT_OF_MEMORY)

    assert asks_of(folder)[spec.run_id]["mem_mib"] == 4000


def test_a_run_of_a_packed_job_gets_what_one_run_asks_for(folder: GridFolder) -> None:
    specs = [a_spec(seed=seed) for seed in range(2)]
    tag = submit(folder, specs, per_element=2, at_once=2, launcher=GONE)
    edit_intent(folder, resources={"mem_mib": 4000}, each={"mem_mib": 2000})
    lose(folder, tag, 0, Cause.OUT_OF_MEMORY)

    assert {ask["mem_mib"] for ask in asks_of(folder).values()} == {3000}


def edit_intent(folder: GridFolder, **content: Any) -> None:
    lines = journal_lines(folder)
    changed = [{**line, **content} if line["event"] == "intent" else line for line in lines]
    folder.journal.write_text("".join(json.dumps(line) + "\n" for line in changed))


def test_a_checkpoint_of_the_last_attempt_is_continued_with_the_same_time(
    folder: GridFolder,
) -> None:
    specs = [a_spec(seed=seed) for seed in range(2)]
    tag = submit(folder, specs, resources=Resources(walltime_min=10), launcher=GONE)
    for index, spec in enumerate(specs):
        run = folder.run(spec.run_id)
        lease.acquire(run.attempts, {"batch": tag}).release()
        run.checkpoint.write_bytes(b"")
        lose(folder, tag, index, Cause.TIMEOUT)
    long_ago = time.time() - 1000
    os.utime(folder.run(specs[1].run_id).checkpoint, (long_ago, long_ago))

    asks = asks_of(folder)

    assert [asks[spec.run_id]["walltime_min"] for spec in specs] == [10, 15]


def test_a_node_that_ended_two_jobs_is_left_out_on_slurm_only(folder: GridFolder) -> None:
    specs = [a_spec(seed=seed) for seed in range(3)]
    tag = submit(folder, specs, slurm_job="17")
    ended = {
        0: ExitRecord(Cause.NODE, node="n7"),
        1: ExitRecord(Cause.NODE, node="n7"),
        2: ExitRecord(Cause.NODE, node="n8"),
    }
    Journal(folder).all_ended(tag, ended)

    assert {ask["exclude"] for ask in asks_of(folder).values()} == {"n7"}
    assert {ask["exclude"] for ask in asks_of(folder, "--on", "pbs").values()} == {None}


@pytest.mark.slow
def test_runs_that_ask_for_unlike_resources_go_out_as_batches_of_their_own(
    folder: GridFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_quick_runner(monkeypatch, tmp_path)
    specs = [a_spec(seed, lr=0.1 + seed) for seed in range(2)]
    tag = submit(folder, specs, resources=Resources(mem_mib=1000), launcher=GONE)
    lose(folder, tag, 0, Cause.OUT_OF_MEMORY)
    lose(folder, tag, 1, Cause.SIGNAL, "signal 9")

    assert retry.main(["demo", "-q"]) == 0

    intents = [line for line in journal_lines(folder) if line["event"] == "intent"]
    assert [line["resources"]["mem_mib"] for line in intents] == [1000, 1500, 1000]
    assert {status.state for status in read_grid(folder)} == {RunState.DONE}


@pytest.mark.slow
def test_failed_and_lost_runs_are_trained_without_the_grid_file(folder: GridFolder) -> None:
    specs = [a_spec(seed=seed, epochs=1, train_samples=64) for seed in range(4)]
    tag = submit(folder, specs, launcher=GONE)
    finished = finish(folder, specs[0], tag).result.read_text()
    fail(folder, specs[1], tag, an_error())
    lose(folder, tag, 2, Cause.SIGNAL, "signal 9")
    lose(folder, tag, 3, Cause.CANCELLED)

    done = subprocess.run(
        [sys.executable, "-m", "jobs.retry", "demo", "--wandb", "disabled", "-q"],
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert done.returncode == 0, done.stderr
    states = {status.run_id: status.state for status in read_grid(folder)}
    assert [states[spec.run_id] for spec in specs] == [
        RunState.DONE,
        RunState.DONE,
        RunState.DONE,
        RunState.INTERRUPTED,
    ]
    assert folder.run(specs[0].run_id).result.read_text() == finished
