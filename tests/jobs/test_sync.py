from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import wandb
from pandas.testing import assert_frame_equal

import analysis
from anlp.core import lease
from anlp.core.errors import UserError
from anlp.records.files import write_json, write_jsonl
from anlp.records.folders import GridFolder, RunFolder
from anlp.records.options import RunOptions, WandbOptions
from anlp.records.results import Outcome, RunResult
from anlp.records.wandb_offline import MARK, pending_copies
from anlp.tasks import make_spec
from jobs import sync
from jobs.common.external import Answer
from tests.support.grids import submit
from tests.support.submits import wait_until
from tests.support.wandb_server import KEY, Stub

ROWS = [{"epoch": epoch, "val/acc": epoch / 10} for epoch in range(4)]


@pytest.fixture
def grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GridFolder:
    monkeypatch.setenv("ANLP_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = GridFolder(tmp_path / "runs" / "study")
    folder.path.mkdir(parents=True)
    return folder


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    server = Stub()
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    yield server
    server.close()


def add(grid: GridFolder, seed: int, *, ended: bool = True) -> RunFolder:
    """A run that had to stay offline; the copy's content is never read, its rows are in
    `metrics.jsonl`.
    """
    spec = make_spec("mnist", {"lr": 0.01}, seed)
    folder = grid.run(spec.run_id)
    copy = folder.wandb / f"offline-run-20260101_000000-{spec.run_id}"
    copy.mkdir(parents=True)
    (copy / f"run-{spec.run_id}.wandb").write_bytes(b":W&B")
    options = RunOptions(wandb=WandbOptions(mode="offline", project="anlp", group="study"))
    write_json(folder.spec, {"spec": spec.to_json(), "options": options.to_json()})
    write_jsonl(folder.metrics, ROWS)
    if ended:
        result = RunResult(
            spec.run_id, Outcome.OK, {"test/acc": 0.9}, epoch=3, epochs=3, seconds=1.5
        )
        write_json(folder.result, result.to_json())
    return folder


def steps(stub: Stub) -> dict[str, list[int]]:
    return {run_id: [row["_step"] for row in run["history"]] for run_id, run in stub.runs().items()}


def address(stub: Stub) -> str:
    """The last line, once something was sent."""
    return f"  the project: {stub.url}/stub/anlp\n"


@pytest.mark.slow
def test_offline_runs_arrive_and_a_second_call_sends_nothing(
    grid: GridFolder, stub: Stub, capsys: pytest.CaptureFixture[str]
) -> None:
    made = [add(grid, seed) for seed in range(3)]

    assert sync.main(["study", "--jobs", "2"]) == 0
    first, said = stub.counts(), capsys.readouterr().out
    assert sync.main(["study"]) == 0

    assert said == f"study: 3 uploaded\n{address(stub)}"
    assert capsys.readouterr().out == f"study: nothing to upload\n{address(stub)}"
    assert steps(stub) == {folder.run_id: [0, 1, 2, 3] for folder in made}
    assert stub.counts() == first
    run = stub.runs()[made[0].run_id]
    assert (run["state"], run["group"], run["summary"]["test/acc"]) == ("finished", "study", 0.9)
    assert json.loads((made[0].wandb / MARK).read_text())["url"] == stub.url


@pytest.mark.slow
def test_what_was_uploaded_gives_the_frames_of_the_folders(grid: GridFolder, stub: Stub) -> None:
    for seed in range(2):
        add(grid, seed)
    add(grid, 2, ended=False)
    sync.main(["study", "--jobs", "1"])

    folders, server = analysis.load("study"), analysis.load("wandb://stub/anlp/study")

    wandb.teardown()
    assert_frame_equal(folders.runs, server.runs, check_exact=True)
    assert_frame_equal(folders.history, server.history, check_exact=True)
    assert folders.runs["outcome"].tolist().count("unfinished") == 1


def test_a_copy_that_is_marked_is_not_sent_again(
    grid: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = add(grid, 0)
    write_json(folder.wandb / MARK, {"copies": [pending_copies(folder)[0].name]})

    assert sync.main(["study"]) == 0
    assert capsys.readouterr().out == "study: nothing to upload\n"


@pytest.mark.slow
def test_a_run_that_is_live_is_left_out_and_said(
    grid: GridFolder, stub: Stub, capsys: pytest.CaptureFixture[str]
) -> None:
    add(grid, 0)
    live = add(grid, 1, ended=False)

    with lease.acquire(live.attempts):
        assert sync.main(["study"]) == 0

    captured = capsys.readouterr()
    assert captured.out == f"study: 1 left out, 1 uploaded\n{address(stub)}"
    assert captured.err.endswith(f"{live.run_id}: left out, it is still running\n")
    assert live.run_id not in stub.runs()
    assert pending_copies(live) != []


def test_a_dry_run_sends_nothing(grid: GridFolder, capsys: pytest.CaptureFixture[str]) -> None:
    add(grid, 0)

    assert sync.main(["study", "-n"]) == 0
    assert capsys.readouterr().out == "study: 1 to upload\n"


def test_a_filter_chooses_what_is_sent(
    grid: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    submit(grid, [make_spec("mnist", {"lr": 0.01}, seed) for seed in range(3)])
    for seed in range(3):
        add(grid, seed)

    assert sync.main(["study", "-n", "--only", "seed>=1"]) == 0
    assert capsys.readouterr().out == "study: 2 to upload\n"


@pytest.mark.slow
def test_killed_in_the_middle_it_goes_on(grid: GridFolder, stub: Stub) -> None:
    made = [add(grid, seed) for seed in range(8)]
    command = [sys.executable, "-m", "anlp.tracking.upload", str(grid.path)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    wait_until(lambda: any(grid.path.glob(f"*/wandb/{MARK}")), lambda: "nothing was uploaded")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    left = [folder for folder in made if pending_copies(folder)]

    assert 0 < len(left) < 8
    assert sync.main(["study", "--jobs", "2"]) == 0
    assert steps(stub) == {folder.run_id: [0, 1, 2, 3] for folder in made}
    assert [run["state"] for run in stub.runs().values()] == ["finished"] * 8
    assert [folder for folder in made if pending_copies(folder)] == []


@pytest.mark.slow
def test_one_run_that_cannot_be_sent_does_not_stop_the_others(
    grid: GridFolder, stub: Stub, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = add(grid, 0)
    bad.spec.unlink()
    add(grid, 1)

    assert sync.main(["study"]) == 1

    captured = capsys.readouterr()
    said = captured.out.removesuffix(address(stub))
    assert sorted(said.strip().removeprefix("study: ").split(", ")) == [
        "1 failed",
        "1 uploaded",
    ]
    assert f"{bad.run_id}: failed, {bad.spec}: cannot be read" in captured.err
    assert pending_copies(bad) != []


@pytest.mark.slow
def test_without_a_key_it_is_one_sentence(grid: GridFolder) -> None:
    add(grid, 0)

    with pytest.raises(
        UserError, match=r"^no key for 127\.0\.0\.1:9 in .* or netrc; get one with: wandb login$"
    ):
        sync.main(["study"])


@pytest.mark.slow
def test_without_a_server_it_is_one_sentence(
    grid: GridFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(grid, 0)
    monkeypatch.setenv("WANDB_API_KEY", KEY)

    with pytest.raises(UserError, match=r"^no answer from http://127\.0\.0\.1:9; run this where"):
        sync.main(["study"])


@pytest.mark.slow
def test_a_refused_key_is_one_sentence_without_the_key(
    grid: GridFolder, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [add(grid, seed) for seed in range(2)]
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)

    with pytest.raises(UserError, match="refuses the key") as caught:
        sync.main(["study", "--jobs", "1"])
    assert "xxx" not in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert all(pending_copies(folder) for folder in made)


def test_what_an_upload_did_not_tell_of_counts_as_failed(
    grid: GridFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = add(grid, 0), add(grid, 1)
    line = json.dumps({"run": str(one.path), "state": "uploaded", "reason": ""})
    monkeypatch.setattr(
        sync, "run", lambda argv, timeout_s: Answer(-9, f"{line}\nnoise\n", "out of memory\n")
    )

    assert sync.main(["study", "--jobs", "1", "--json"]) == 1

    runs = {run["run"]: run for run in json.loads(capsys.readouterr().out)["runs"]}
    assert runs[one.run_id]["state"] == "uploaded"
    assert runs[two.run_id]["reason"] == "its upload ended with code -9: out of memory"


def test_sync_shows_the_address_of_the_project(
    grid: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    add(grid, 0)
    (grid.path / "wandb.url").write_text("https://wandb.example/me/digits\n")

    assert sync.main([grid.name, "-n"]) == 0
    assert "  the project: https://wandb.example/me/digits\n" in capsys.readouterr().out
