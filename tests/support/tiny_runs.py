"""Batches of tiny real runs, and processes that carry them out and die where a test says so."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import resource
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from anlp.core import lease
from anlp.core.spec import RunSpec
from anlp.records.elements import Element
from anlp.records.files import read_metrics
from anlp.records.folders import GridFolder, RunFolder
from anlp.records.options import RunOptions, WandbOptions
from anlp.records.results import read_result
from anlp.run import run_element
from anlp.tasks import make_spec

TINY: Mapping[str, Any] = {
    "data": "digits",
    "hidden": 16,
    "epochs": 3,
    "batch_size": 64,
    "lr": 0.01,
}
UPDATES_PER_EPOCH = 21  # 1,298 training samples
OFF = WandbOptions(mode="disabled")
_processes = multiprocessing.get_context(
    "forkserver"
)  # like the pool: children of a process that has computed nothing
_processes.set_forkserver_preload(["anlp.training.attempt", "anlp.builders.mnist", "torch._dynamo"])


def write_batch(
    grid: Path, *runs: Mapping[str, Any], seed: int = 0, number: int = 1, **options: Any
) -> Path:
    """A batch file with one element per run of the task `mnist`, over the settings of `TINY`."""
    return write_specs(
        grid,
        *(make_spec("mnist", {**TINY, **run}, seed) for run in runs or ({},)),
        number=number,
        **options,
    )


def write_specs(grid: Path, *specs: RunSpec, number: int = 1, **options: Any) -> Path:
    """A batch file with one element per run."""
    path = GridFolder(grid).batches / f"{number}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    given = RunOptions(**{"wandb": OFF, "batch": str(number), "device": "cpu", **options})
    path.write_text("".join(json.dumps(Element((spec,), given).to_json()) + "\n" for spec in specs))
    return path


def folder_of(batch: Path, index: int = 0) -> RunFolder:
    """The folder of the run of an element."""
    form = json.loads(batch.read_text().splitlines()[index])
    return GridFolder(batch.parent.parent).run(form["specs"][0]["run_id"])


def numbers_of(folder: RunFolder) -> tuple[Any, ...]:
    """All that must not depend on how often a run was interrupted."""
    lines = [
        {key: value for key, value in line.items() if key != "seconds"}
        for line in read_metrics(folder.metrics)
    ]
    result = read_result(folder)
    assert result is not None
    return lines, result.outcome, dict(result.metrics), result.epoch, result.epochs, result.steps


def run_apart(
    batch: Path, *, prepare: Callable[..., None] | None = None, args: tuple[Any, ...] = ()
) -> int:
    """Carries out element 0 in a process of its own.

    Args:
        batch: the batch file.
        prepare: called there first, with `args`; a function of a module.
        args: for `prepare`.

    Returns:
        Its exit code, negative for a signal.
    """
    process = _processes.Process(target=_run, args=(batch, prepare, args))
    process.start()
    process.join(300)
    assert process.exitcode is not None
    return process.exitcode


def _run(batch: Path, prepare: Callable[..., None] | None, args: tuple[Any, ...]) -> None:
    if prepare is not None:
        prepare(*args)
    raise SystemExit(run_element(batch, 0, job="test"))


def signal_at_update(number: int, update: int) -> None:
    """Sends this process a signal within its `update`-th step."""
    from anlp.training import attempt, trainer

    attempt.SAVE_INTERVAL_S = 0.0
    original = trainer.Trainer._train_step
    done = 0

    def counted(self: trainer.Trainer, *given: Any) -> None:
        nonlocal done
        original(self, *given)
        done += 1
        if done == update:
            os.kill(os.getpid(), number)

    # replacing parts of the subject is how a test gets it killed at a given point
    trainer.Trainer._train_step = counted  # type: ignore[method-assign,assignment] # see above


def kill_after_line(epoch: int) -> None:
    """Kills this process when the metrics of `epoch` are written and its checkpoint is not."""
    from anlp.tracking.jsonl import JsonlTracker
    from anlp.training import attempt

    attempt.SAVE_INTERVAL_S = 0.0
    original = JsonlTracker.log

    def log(self: JsonlTracker, metrics: Mapping[str, float], step: int) -> None:
        original(self, metrics, step)
        if step == epoch:
            os.kill(os.getpid(), signal.SIGKILL)

    JsonlTracker.log = log  # type: ignore[method-assign] # as above


def kill_within_write(name: str, count: int) -> None:
    """Kills this process when the `count`-th write of the file `name` is half done."""
    from anlp.core import files
    from anlp.records import files as records
    from anlp.training import attempt, checkpoint

    attempt.SAVE_INTERVAL_S = 0.0
    original = files.write_whole
    seen = 0

    def write(path: Path, content: bytes, **how: Any) -> None:
        nonlocal seen
        seen += path.name == name
        if path.name == name and seen == count:
            path.with_name(f".{name}.half.tmp").write_bytes(content[: len(content) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        original(path, content, **how)

    records.write_whole = write  # type: ignore[attr-defined] # both imported the name
    checkpoint.write_whole = write  # type: ignore[attr-defined] # as above


def signal_while_building(number: int) -> None:
    """Sends this process a signal while the run is built, before its first step."""
    from anlp.training import attempt

    original = attempt.make_trainer

    def make(*given: Any, **named: Any) -> Any:
        os.kill(os.getpid(), number)
        return original(*given, **named)

    attempt.make_trainer = make


def hold_back_and_signal(number: int) -> None:
    """Leaves a blocked signal pending, as a pool does between fork and the run's own handlers."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [number])
    os.kill(os.getpid(), number)


def stop_after_sleep(seconds: float) -> None:
    """Makes the first step slow and stops the run after it."""
    from anlp.training import trainer

    signal_at_update(signal.SIGTERM, 1)
    stopping = trainer.Trainer._train_step

    def slow(self: trainer.Trainer, *given: Any) -> None:
        time.sleep(seconds)
        stopping(self, *given)

    trainer.Trainer._train_step = slow  # type: ignore[method-assign,assignment] # as above


def limit_file_size(size: int) -> None:
    """Lets no file grow beyond `size` bytes: a full disk for large files only."""
    from anlp.training import attempt

    attempt.SAVE_INTERVAL_S = 0.0
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def refuse_file(name: str) -> None:
    """Lets no file of this name be written: the disk is full."""
    from anlp.core import files
    from anlp.training import attempt

    attempt.SAVE_INTERVAL_S = 0.0
    writing = files._writing

    @contextmanager
    def refuse(path: Path) -> Iterator[None]:
        with writing(path):
            if path.name == name:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            yield

    files._writing = refuse


def remove_folder_at_update(folder: str, update: int, *, is_made_again: bool = False) -> None:
    """Removes the folder of the run within its `update`-th step; another process may take it."""
    from anlp.training import attempt, trainer

    attempt.SAVE_INTERVAL_S = 0.0
    original = trainer.Trainer._train_step
    done = 0

    def counted(self: trainer.Trainer, *given: Any) -> None:
        nonlocal done
        original(self, *given)
        done += 1
        if done == update:
            shutil.rmtree(folder)
            if is_made_again:
                other = {**asdict(lease.Process.this()), "pid": 1, "since": time.time()}
                attempts = Path(folder) / "attempts"
                attempts.mkdir(parents=True)
                (attempts / "000001.json").write_text(json.dumps(other))

    trainer.Trainer._train_step = counted  # type: ignore[method-assign,assignment] # as above


def break_provenance() -> None:
    """Lets what is written last about a run raise."""
    import anlp.run

    def fail(*given: Any) -> Any:
        raise AttributeError("module 'anlp' has no attribute '__version__'")

    anlp.run._Run._provenance = fail  # type: ignore[method-assign,assignment] # as above
