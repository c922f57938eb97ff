"""Programs as people write them, watched from start to end."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from anlp.programs.failure import failure_of
from anlp.programs.process import Ended, Launch, Limits, supervise
from anlp.programs.sources.collect import Collected, Collector
from anlp.records.results import RunError

# As the attempt sets it: wandb writes its log each second instead of every 15 s.
WANDB = {
    "WANDB_MODE": "offline",
    "WANDB_RUN_ID": "mine",
    "WANDB_X_TRANSACTION_LOG_FLUSH_INTERVAL": "1",
}

ARGPARSE = """
import argparse, time, os
import wandb
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.1)
args = parser.parse_args()
run = wandb.init(project="mine", config=vars(args))
for epoch in range(3):
    run.log({"epoch": epoch, "val/acc": epoch * args.lr})
while not os.path.exists("go"):
    time.sleep(0.05)
run.log({"test/acc": 0.9})
END
"""


class Watched:
    """A program with wandb, and what is read of it while it runs."""

    def __init__(self, folder: Path, script: str, *arguments: str) -> None:
        self.folder = folder
        (folder / "train.py").write_text(script)
        self.argv = [sys.executable, str(folder / "train.py"), *arguments]
        self.collector = Collector(
            wandb_folders=[folder], run_id="mine", metrics=folder / "metrics", events=folder
        )
        self.live: list[int] = []  # numbers of rows that were seen

    def run(self, stop: int | None = None) -> Ended:
        """Let it go on, or stop it, when three rows are seen."""

        def tick() -> None:
            self.collector.look()
            self.live.append(len(self.collector.rows()))
            if self.live[-1] == 3 and stop is None:
                (self.folder / "go").touch()

        environment = {**os.environ, **WANDB, "WANDB_DIR": str(self.folder)}
        return supervise(
            Launch(self.argv, self.folder, environment),
            self.folder / "log.txt",
            Limits(0.2, 20),
            on_tick=tick,
            stop_signal=lambda: stop if self.live and self.live[-1] == 3 else None,
        )

    def collected(self, ended: Ended) -> Collected:
        return self.collector.finish(ended.last_stdout)


def test_a_script_with_argparse_and_wandb(tmp_path: Path) -> None:
    watched = Watched(tmp_path, ARGPARSE.replace("END", ""), "--lr", "0.2")

    ended = watched.run()

    found = watched.collected(ended)
    assert 3 in watched.live  # while it ran
    assert (ended.code, ended.left) == (0, ())
    assert found.rows == [
        {"epoch": 0, "val/acc": 0},
        {"epoch": 1, "val/acc": 0.2},
        {"epoch": 2, "val/acc": 0.4, "test/acc": 0.9},
    ]
    assert found.summary == {"val/acc": 0.4, "test/acc": 0.9}
    assert found.config == {"lr": 0.2}
    assert "wandb: " in (tmp_path / "log.txt").read_text()


def test_a_script_that_raises_after_it_logged(tmp_path: Path) -> None:
    watched = Watched(tmp_path, ARGPARSE.replace("END", "raise ValueError('shapes 3 and 4')"))

    ended = watched.run()

    failure = failure_of(ended)
    assert isinstance(failure, RunError)
    assert (failure.type, failure.message) == ("ValueError", "shapes 3 and 4")
    assert len(watched.collected(ended).rows) == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2])
def test_a_script_without_a_handler_leaves_what_it_had_logged(tmp_path: Path, number: int) -> None:
    watched = Watched(tmp_path, ARGPARSE)

    ended = watched.run(number)

    assert (ended.signal, ended.was_stopped) == (number, True)
    assert len(watched.collected(ended).rows) == 3


TORCHRUN = """
import os, signal, time, sys
import torch.distributed
torch.distributed.init_process_group("gloo")
print("rank", torch.distributed.get_rank(), "is ready", os.getpid(), flush=True)
time.sleep(600)
"""


@pytest.mark.slow
def test_torchrun_is_stopped_with_its_workers(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(TORCHRUN)
    torchrun = str(Path(sys.executable).with_name("torchrun"))
    argv = [torchrun, "--standalone", "--nproc-per-node", "2", "train.py"]
    log = tmp_path / "log.txt"

    ended = supervise(
        Launch(argv, tmp_path, dict(os.environ)),
        log,
        Limits(0.2, 60),
        on_tick=lambda: None,
        stop_signal=lambda: (
            signal.SIGTERM if log.exists() and log.read_text().count("is ready") == 2 else None
        ),
    )

    assert (ended.was_stopped, ended.was_killed) == (True, False)
    assert ended.left == ()
    workers = [line.split()[-1] for line in log.read_text().splitlines() if "is ready" in line]
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)
