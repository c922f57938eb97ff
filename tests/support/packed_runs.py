"""Elements with several runs that behave as a test says, without torch: claims, files, forks and
signals are real.

As a program it carries out element 0 of a batch file: `python -m tests.support.packed_runs BATCH`.
DO names
behaviours by learning rate.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from anlp import run
from anlp.core import lease
from anlp.core.spec import RunSpec
from anlp.records.elements import Element
from anlp.records.files import write_json, write_jsonl
from anlp.records.folders import GridFolder, RunFolder
from anlp.records.results import Outcome, RunResult
from anlp.runtime import packed_runs
from anlp.tasks import element_from_json
from tests.support.tiny_runs import write_batch


def write_pack(
    grid: Path, *rates: float, at_once: int = 1, mem_limit_mib: int | None = None, **given: Any
) -> Path:
    """A batch file whose one element has a run of `tiny_runs` for each learning rate."""
    batch = write_batch(grid, *({"lr": rate} for rate in rates), **given)
    elements = [element_from_json(json.loads(line)) for line in batch.read_text().splitlines()]
    specs = tuple(element.specs[0] for element in elements)
    write_jsonl(batch, [Element(specs, elements[0].options, at_once, mem_limit_mib).to_json()])
    return batch


def folders_of(batch: Path) -> dict[float, RunFolder]:
    """The folder of each run, by learning rate."""
    specs = json.loads(batch.read_text())["specs"]
    return {
        spec["settings"]["lr"]: GridFolder(batch.parent.parent).run(spec["run_id"])
        for spec in specs
    }


def attempts_of(folder: RunFolder) -> list[dict[str, Any]]:
    """What is on record of each attempt at a run, in order."""
    return [lease.read(path) for path in sorted(folder.attempts.glob("*.json"))]


def resubmit(batch: Path) -> Path:
    """The same element as another submission writes it."""
    form = json.loads(batch.read_text())
    again = batch.with_name("2.jsonl")
    write_jsonl(again, [{**form, "options": {**form["options"], "batch": "2"}}])
    return again


def run_quickly(batch: Path, index: int, **given: Any) -> int:
    """Stands for `anlp.run:run_element`."""
    run._Run._train = _train  # type: ignore[method-assign] # the one thing that takes time
    packed_runs.prepare_element = lambda index: _prepare
    packed_runs.GRACE_S = 0.5
    return run.run_element(batch, index, **given)


def _prepare(batch: Path, cleanup: ExitStack) -> str:
    prepared = batch.with_name("prepared")
    prepared.write_text(f"{prepared.read_text() if prepared.exists() else ''}{os.getpid()} ")
    cleanup.callback(batch.with_name("cleaned").touch)
    return "shared"


def _train(self: run._Run, held: lease.Lease, spec: RunSpec) -> RunResult:
    began = time.monotonic()
    rate = spec.settings.values()["lr"]
    behaviours: Mapping[str, str] = json.loads(os.environ.get("DO", "{}"))
    name, *words = behaviours.get(str(rate), "end").split()
    BEHAVIOURS[name](self, *words)
    print(f"sees {self.datasets} and {os.environ.get('CUDA_VISIBLE_DEVICES')}")
    write_jsonl(
        self.folder.metrics, [{"began": began, "ended": time.monotonic(), "pid": os.getpid()}]
    )
    return RunResult(spec.run_id, Outcome.OK, provenance={"batch": self.options.batch})


def _wait(self: run._Run) -> None:
    """Until it is asked to leave."""
    (self.folder.path / "ready").touch()
    while True:
        time.sleep(0.01)
        self.flag.raise_if_set()


def _meet(self: run._Run, number: str, seconds: str = "0") -> None:
    """Until so many runs of the element have begun, and a moment more, in which no other may."""
    (self.folder.path / "here").touch()
    deadline = time.monotonic() + 300
    while len(list(self.folder.path.parent.glob("*/here"))) < int(number):
        assert time.monotonic() < deadline, f"fewer than {number} runs at a time"
        time.sleep(0.01)
    time.sleep(float(seconds))


def _wait_once(self: run._Run) -> None:
    if not (self.folder.path / "ready").exists():
        _wait(self)


def _ignore(self: run._Run) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    (self.folder.path / "ready").touch()
    time.sleep(300)


def _die_done(self: run._Run) -> None:
    """Killed by the signal to leave when the result is already there."""
    result = RunResult(self.spec.run_id, Outcome.OK, provenance={"batch": self.options.batch})
    write_json(self.folder.result, result.to_json())
    os.kill(os.getpid(), signal.SIGKILL)


def _die_unheard(self: run._Run) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)


def _die_without_a_place(self: run._Run) -> None:
    """Root may write anywhere, but not a file into a file."""
    shutil.rmtree(self.folder.attempts)
    self.folder.attempts.write_text("in the way")
    os.kill(os.getpid(), signal.SIGKILL)


def _eat(self: run._Run, mib: str, seconds: str = "300") -> None:
    block = bytearray(int(mib) << 20)
    block[::4096] = b"x" * len(block[::4096])
    time.sleep(float(seconds))


def _fault(self: run._Run) -> None:
    raise RuntimeError("a fault of ours")


BEHAVIOURS: Mapping[str, Any] = {
    "end": lambda self: None,
    "sleep": lambda self, seconds: time.sleep(float(seconds)),
    "die": lambda self, number: os.kill(os.getpid(), int(number)),
    "crash": lambda self: ctypes.string_at(0),
    "die_done": _die_done,
    "die_unheard": _die_unheard,
    "die_without_a_place": _die_without_a_place,
    "meet": _meet,
    "wait": _wait,
    "wait_once": _wait_once,
    "ignore": _ignore,
    "eat": _eat,
    "fault": _fault,
}

if __name__ == "__main__":
    raise SystemExit(run_quickly(Path(sys.argv[1]), 0, job="test"))
