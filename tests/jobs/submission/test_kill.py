"""Kills everything there is, again and again; nothing may be lost, done twice, or come out with
another number.
"""

from __future__ import annotations

import itertools
import random
import signal
import subprocess
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from anlp.records.files import read_json
from anlp.records.folders import RunFolder
from anlp.records.results import RunState
from tests.support.submits import (
    Place,
    attempts_of,
    children_of,
    kill,
    make_place,
    numbers_of,
    wait_until,
)
from tests.support.wandb_offline import read_offline

GRID = """\
task: mnist
fixed: {data: digits, hidden: 64, batch_size: 32, dropout: 0.2}
grid: {lr: [0.03, 0.001], optimizer: [sgd, adam], epochs: [40, 200]}
seeds: 2
wandb: {mode: disabled}
"""
MIRRORED = """\
task: mnist
fixed: {data: digits, hidden: 16, epochs: 60}
grid: {lr: [0.03, 0.001], optimizer: [sgd, adam]}
wandb: {mode: offline}
"""
FELLED = """\
task: mnist
fixed: {data: digits, hidden: 64, batch_size: 32, dropout: 0.2, epochs: 60}
grid: {lr: [0.03, 0.001], optimizer: [sgd, adam]}
wandb: {mode: disabled}
"""
VICTIMS = ("worker",) * 32 + ("pool",) * 8 + ("submit",) * 10


@dataclass
class Killer:
    """Submits a grid over and over, killing -9 what a seeded list says, until all runs are done."""

    place: Place
    victims: list[str]
    rng: random.Random
    process: subprocess.Popen[str] | None = None
    is_finishing: bool = False
    killed: list[tuple[float, str, int]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def run(self) -> None:
        """Returns when the list is at its end and the grid is done.

        Raises:
            AssertionError: the grid was done too soon, or never; the text says what was killed
            when.
        """
        while self.victims:
            self._submit_if_none_does()
            self._kill(self.victims.pop())
            assert self.victims == [] or not self._is_done(), f"done after {len(self.killed)} kills"
        self._finish()

    def time_of_death(self, pid: int) -> float | None:
        """When a process was killed; None for one that we left alone."""
        return next((when for when, _, victim in self.killed if victim == pid), None)

    def story(self) -> str:
        """What was killed where, and what the submits said."""
        kills = [f"{when:.3f} {what} {pid}" for when, what, pid in self.killed]
        return "\n".join(["killed:", *kills, "said:", *self.said])

    def _submit_if_none_does(self) -> None:
        if self.process is not None and self.process.poll() is not None:
            self._listen()
            left = len(self.victims) + 1  # the one that is being looked for
            assert not self._is_done() or self.is_finishing, f"done with {left} kills to come"
        if self.process is None:
            self.process = self.place.start("--retry", "--slots", "2")

    def _listen(self) -> None:
        if self.process is not None:
            out, err = self.process.communicate(timeout=600)
            self.said.append(f"exit {self.process.returncode}: {out}{err}")
            assert "Traceback" not in out + err, self.story()
            self.process = None

    def _kill(self, what: str) -> None:
        """One kill; submits that end before their victim appears are followed by others."""
        delay_s = self.rng.uniform(0.0, 2.5 if what == "submit" else 0.3)
        while (pids := self._find(what)) == []:
            time.sleep(0.01)
            self._submit_if_none_does()
        time.sleep(delay_s)
        # others may be there by now than those that we saw
        pid = self.rng.choice(self._find(what) or pids)
        if kill(pid):
            self.killed.append((time.time(), what, pid))
        else:
            self.victims.insert(0, what)

    def _find(self, what: str) -> list[int]:
        if self.process is None or self.process.poll() is not None:
            return []
        if what == "submit":
            return [self.process.pid]
        pools = children_of(self.process.pid)
        return pools if what == "pool" else [child for pool in pools for child in children_of(pool)]

    def _is_done(self) -> bool:
        return self.process is None and set(self.place.counts()) == {RunState.DONE}

    def _finish(self) -> None:
        self.is_finishing = True
        for _ in range(10):
            self._submit_if_none_does()
            self._listen()
            self.place.wait_until_alone()
            if self._is_done():
                return
        raise AssertionError(f"not done: {self.place.counts()}\n{self.story()}")


def check_attempts(run: RunFolder, killer: Killer) -> None:
    """Exactly one attempt brought the result, and no two were at work at the same time."""
    attempts = attempts_of(run)
    story = f"run {run.run_id}: {attempts}\n{killer.story()}"
    done = [number for number, attempt in enumerate(attempts, 1) if attempt.get("ending") == "done"]
    result: Any = read_json(run.result)
    author = result["provenance"]["attempts"]
    # an attempt that is killed between its result and the end of its record has no ending
    assert done in ([author], []), story
    assert done or killer.time_of_death(attempts[author - 1]["pid"]), story
    assert len(attempts) == author, story
    for earlier, later in itertools.pairwise(attempts):
        ended = earlier.get("ended") or killer.time_of_death(earlier["pid"]) or earlier["since"]
        assert ended <= later["since"], story


def same_weights(one: RunFolder, other: RunFolder) -> bool:
    first, second = (torch.load(run.weights, weights_only=True)["model"] for run in (one, other))
    return first.keys() == second.keys() and all(
        torch.equal(first[name], second[name]) for name in first
    )


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("seed", [1])
def test_fifty_kills_change_nothing_in_a_grid(tmp_path: Path, seed: int) -> None:
    calm = make_place(tmp_path / "calm", GRID, name="killed.yaml")
    stormy = make_place(tmp_path / "stormy", GRID, name="killed.yaml")
    rng = random.Random(seed)
    killer = Killer(stormy, rng.sample(VICTIMS, len(VICTIMS)), rng)

    killer.run()
    assert calm.submit("--slots", "2").code == 0

    print(Counter(what for _, what, _ in killer.killed), f"{len(killer.said)} submits")
    assert len(killer.killed) == len(VICTIMS)
    assert stormy.counts() == {RunState.DONE: 16}
    for run in stormy.runs():
        check_attempts(run, killer)
        assert same_weights(run, calm.folder.run(run.run_id)), killer.story()
    assert numbers_of(stormy) == numbers_of(calm), killer.story()
    assert stormy.table() == calm.table()
    assert stormy.processes() == []


@pytest.mark.slow
def test_killed_runs_end_with_one_complete_copy_for_wandb(tmp_path: Path) -> None:
    place = make_place(tmp_path, MIRRORED, name="mirrored.yaml")
    rng = random.Random(3)
    killer = Killer(place, ["worker", "worker", "pool", "worker", "submit", "worker"], rng)

    killer.run()

    for run in place.runs():
        check_attempts(run, killer)
        copies = [read_offline(path) for path in run.wandb.rglob("*.wandb")]
        assert len(copies) == 1, killer.story()
        assert (copies[0].run_id, copies[0].exit_code) == (run.run_id, 0)
        assert copies[0].steps == list(range(61))


@pytest.mark.slow
def test_killing_the_whole_tree_at_once_loses_nothing(tmp_path: Path) -> None:
    place = make_place(tmp_path, FELLED, name="felled.yaml")
    process = place.start("--slots", "2")
    wait_until(lambda: len(place.runs()) > 2, lambda: "no run began")

    for pid in place.processes():
        kill(pid)
    process.communicate()

    assert process.returncode == -signal.SIGKILL
    # no --retry: no launcher saw the runs die, so they were interrupted
    assert place.submit("--slots", "2").code == 0
    assert place.counts() == {RunState.DONE: 4}
