"""Runs of programs that log with wandb themselves: sent as they are, and read back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import wandb
from pandas.testing import assert_frame_equal

import analysis
from anlp.records.files import read_json
from anlp.records.results import RunState
from jobs import sync
from tests.support.submits import Place, make_place
from tests.support.wandb_server import KEY, Stub

pytestmark = pytest.mark.slow
HERE = ("--on", "local", "-q", "--slots", "2")
TRAIN = """
import argparse, os
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.1)
parser.add_argument("--how", default="wandb")
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()
if args.how == "lines":
    with open(os.environ["ANLP_METRICS"], "w") as file:
        for epoch in range(3):
            print('{"epoch": %d, "val_acc": %f}' % (epoch, epoch * args.lr), file=file)
else:
    import wandb
    run = wandb.init(config={**vars(args), "nested": {"a": 1}})
    for epoch in range(3):
        run.log({"epoch": epoch, "val_acc": epoch * args.lr, "histogram": wandb.Histogram([1, 2])})
    run.summary["test_acc"] = args.lr
    if args.how == "raise":
        raise ValueError("shapes 3 and 4")
"""
GRID = """\
program: train.py
metrics: {select: val_acc, report: test_acc}
wandb: {mode: MODE, project: anlp}
"""


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    server = Stub()
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ANLP_RUNS", str(tmp_path / "runs"))
    monkeypatch.chdir(tmp_path)
    yield server
    wandb.teardown()
    server.close()


def study(tmp_path: Path, mode: str, rest: str) -> Place:
    (tmp_path / "train.py").write_text(TRAIN)
    return make_place(tmp_path, GRID.replace("MODE", mode) + rest)


def assert_same(place: Place) -> None:
    folders = analysis.load(place.folder.name)
    server = analysis.load(f"wandb://stub/anlp/{place.folder.name}")

    assert_frame_equal(folders.history, server.history)
    columns = [name for name in folders.runs.columns if name not in ("seconds", "error")]
    assert_frame_equal(folders.runs[columns], server.runs[columns])


def test_what_a_program_logged_offline_is_sent_whole_with_the_runs_result(
    tmp_path: Path, stub: Stub, capsys: pytest.CaptureFixture[str]
) -> None:
    place = study(tmp_path, "offline", "grid: {how: [wandb, lines, raise]}\nfixed: {lr: 0.5}\n")
    place.submit(*HERE)
    assert place.counts() == {RunState.DONE: 2, RunState.FAILED: 1}

    assert sync.main([place.folder.name, "--jobs", "1"]) == 0
    first = stub.counts()
    assert sync.main([place.folder.name]) == 0

    assert f"{place.folder.name}: nothing to upload\n" in capsys.readouterr().out
    assert stub.counts() == first
    stored = stub.runs()
    assert len(stored) == 3
    for run in place.runs():
        result = read_json(run.result) or {}
        sent = stored[run.run_id]
        assert (sent["project"], sent["group"]) == ("anlp", place.folder.name)
        assert sent["summary"]["outcome"] == result["outcome"]
        assert sent["config"]["task"] == "program:train.py"
        assert sent["config"]["config_id"]
        assert [row.get("_step") for row in sent["history"]] == [0, 1, 2]
        if result["provenance"]["logged_by"] == "wandb":
            assert sent["config"]["nested"] == {"a": 1}
            assert "histogram" in sent["history"][0]
    assert_same(place)


def test_what_a_program_logged_online_is_read_back_without_a_sync(
    tmp_path: Path, stub: Stub
) -> None:
    place = study(tmp_path, "online", "grid: {how: [wandb, raise]}\nfixed: {lr: 0.5}\n")
    ended = place.submit(*HERE)
    assert place.counts() == {RunState.DONE: 1, RunState.FAILED: 1}, ended

    loaded = analysis.load(f"wandb://stub/anlp/{place.folder.name}").runs

    outcomes = loaded.set_index("how")["outcome"]
    assert outcomes.to_dict() == {"wandb": "ok", "raise": "failed"}
    done = loaded[loaded["outcome"] == "ok"].iloc[0]
    assert (done["val/acc"], done["test/acc"], done["lr"]) == (1.0, 0.5, 0.5)
    assert set(loaded["run_id"]) == {run.run_id for run in place.runs()}


def test_a_project_that_the_program_names_counts(tmp_path: Path, stub: Stub) -> None:
    place = study(tmp_path, "offline", "fixed: {lr: 0.5}\n")
    (tmp_path / "train.py").write_text(
        TRAIN.replace("wandb.init(", 'wandb.init(project="of-the-script", ')
    )
    assert place.submit(*HERE).code == 0

    assert sync.main([place.folder.name]) == 0

    (stored,) = stub.runs().values()
    assert (stored["project"], stored["summary"]["outcome"]) == ("of-the-script", "ok")


def test_what_an_interrupted_program_logged_stays_here_for_its_next_attempt(
    tmp_path: Path, stub: Stub
) -> None:
    place = study(tmp_path, "offline", "resume: {exit_code: 7}\nfixed: {lr: 0.5}\n")
    waits = "    run.finish()\n    os.makedirs(os.environ['ANLP_RUN_DIR'] + '/checkpoints/1')\n"
    text = f"{TRAIN}{waits}    raise SystemExit(7)\n"
    (tmp_path / "train.py").write_text(text)
    place.submit(*HERE)
    (run,) = place.runs()

    assert sync.main([place.folder.name]) == 0
    assert sync.main([place.folder.name]) == 0

    assert [row["_step"] for row in stub.runs()[run.run_id]["history"]] == [0, 1, 2]
    assert list(run.wandb.glob("offline-run-*/*.wandb"))
