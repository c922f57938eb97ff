from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from anlp.core import lease
from anlp.records.files import read_metrics, write_json
from anlp.records.results import Outcome, RunResult, read_result
from tests.support import tiny_runs
from tests.support.tiny_runs import (
    UPDATES_PER_EPOCH,
    folder_of,
    kill_after_line,
    kill_within_write,
    numbers_of,
    run_apart,
    signal_at_update,
    write_batch,
)

pytestmark = pytest.mark.slow

# everything that carries state from step to step: masks, momentum, smoothing, the plateau's
# history, the best weights
EVENTFUL = {
    "model": "cnn",
    "filters": 2,
    "units": 8,
    "dropout": 0.3,
    "augment": "shift",
    "optimizer": "adam",
    "schedule": "plateau",
    "decay_patience": 1,
    "clip_norm": 1.0,
    "monitor": "val/loss",
    "test_each_epoch": True,
}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, ...]:
    batch = write_batch(tmp_path_factory.mktemp("undisturbed"), EVENTFUL)
    assert run_apart(batch) == 0
    return numbers_of(folder_of(batch))


@pytest.mark.parametrize(
    ("prepare", "args", "epochs_saved"),
    [
        (signal_at_update, (signal.SIGKILL, 1), 0),
        (signal_at_update, (signal.SIGKILL, UPDATES_PER_EPOCH + 5), 1),
        (kill_after_line, (0,), 0),
        (kill_after_line, (2,), 1),
        (kill_within_write, ("checkpoint.pt", 2), 1),
        (kill_within_write, ("weights.pt", 1), 2),
        (kill_within_write, ("result.json", 1), 2),
    ],
    ids=[
        "first-update",
        "mid-epoch",
        "after-line-0",
        "after-line-2",
        "in-checkpoint",
        "in-weights",
        "in-result",
    ],
)
def test_killed_run_continues_to_the_same_numbers(
    tmp_path: Path,
    undisturbed: tuple[Any, ...],
    prepare: Any,
    args: tuple[Any, ...],
    epochs_saved: int,
) -> None:
    batch = write_batch(tmp_path, EVENTFUL)

    assert run_apart(batch, prepare=prepare, args=args) == -signal.SIGKILL
    assert not folder_of(batch).result.exists()
    assert run_apart(batch) == 0

    assert numbers_of(folder_of(batch)) == undisturbed
    assert not list(folder_of(batch).path.glob(".*"))
    continued = f"continuing after epoch {epochs_saved}, step 0" in folder_of(batch).log.read_text()
    assert continued == (epochs_saved > 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2])
def test_run_asked_to_stop_checkpoints_within_the_epoch_and_continues_to_the_same_numbers(
    tmp_path: Path, undisturbed: tuple[Any, ...], number: int
) -> None:
    batch = write_batch(tmp_path, EVENTFUL)
    folder = folder_of(batch)

    assert run_apart(batch, prepare=signal_at_update, args=(number, UPDATES_PER_EPOCH + 7)) == 3
    first = lease.read(folder.attempts / "000001.json")
    assert run_apart(batch) == 0

    assert first["ending"] == "interrupted"
    assert "continuing after epoch 1, step 7" in folder.log.read_text()
    assert numbers_of(folder) == undisturbed
    assert not folder.checkpoint.exists()


def test_signal_before_training_is_honoured(tmp_path: Path) -> None:
    batch = write_batch(tmp_path)

    assert run_apart(batch, prepare=tiny_runs.signal_while_building, args=(signal.SIGTERM,)) == 3

    assert lease.read(folder_of(batch).attempts / "000001.json")["ending"] == "interrupted"
    assert run_apart(batch) == 0


def test_signal_held_back_by_the_parent_is_received(tmp_path: Path) -> None:
    batch = write_batch(tmp_path)

    assert run_apart(batch, prepare=tiny_runs.hold_back_and_signal, args=(signal.SIGTERM,)) == 3


def test_an_attempt_that_got_no_further_leaves_the_time_of_the_checkpoint(tmp_path: Path) -> None:
    batch = write_batch(tmp_path)
    run_apart(batch, prepare=signal_at_update, args=(signal.SIGTERM, 5))
    saved = folder_of(batch).checkpoint.stat().st_mtime_ns

    assert run_apart(batch, prepare=tiny_runs.signal_while_building, args=(signal.SIGTERM,)) == 3
    assert folder_of(batch).checkpoint.stat().st_mtime_ns == saved
    assert run_apart(batch, prepare=signal_at_update, args=(signal.SIGTERM, 1)) == 3

    assert folder_of(batch).checkpoint.stat().st_mtime_ns > saved


@pytest.mark.parametrize("damage", ["truncated", "not-a-checkpoint", "empty"])
def test_unreadable_checkpoint_is_set_aside_and_training_starts_from_scratch(
    tmp_path: Path, undisturbed: tuple[Any, ...], damage: str
) -> None:
    batch = write_batch(tmp_path, EVENTFUL)
    folder = folder_of(batch)
    assert (
        run_apart(batch, prepare=signal_at_update, args=(signal.SIGTERM, UPDATES_PER_EPOCH + 7))
        == 3
    )
    whole = folder.checkpoint.read_bytes()
    contents = {"truncated": whole[: len(whole) // 2], "not-a-checkpoint": b"[]", "empty": b""}

    folder.checkpoint.write_bytes(contents[damage])
    assert run_apart(batch) == 0

    assert "starting from scratch" in folder.log.read_text()
    assert folder.path.joinpath("checkpoint.unreadable").exists()
    assert numbers_of(folder) == undisturbed


@pytest.mark.parametrize(("redo", "continues"), [("failed", True), ("all", False)])
def test_failed_run_goes_on_from_its_checkpoint_or_begins_again_as_asked(
    tmp_path: Path, undisturbed: tuple[Any, ...], redo: str, continues: bool
) -> None:
    batch = write_batch(tmp_path, EVENTFUL)
    folder = folder_of(batch)
    assert (
        run_apart(batch, prepare=signal_at_update, args=(signal.SIGTERM, UPDATES_PER_EPOCH + 7))
        == 3
    )
    write_json(
        folder.result, RunResult(folder.run_id, Outcome.FAILED, provenance={"batch": "1"}).to_json()
    )

    assert run_apart(write_batch(tmp_path, EVENTFUL, number=2, redo=redo)) == 0

    assert ("continuing after epoch 1, step 7" in folder.log.read_text()) == continues
    assert numbers_of(folder) == undisturbed


def test_lost_metrics_make_the_run_start_from_scratch(
    tmp_path: Path, undisturbed: tuple[Any, ...]
) -> None:
    batch = write_batch(tmp_path, EVENTFUL)
    folder = folder_of(batch)
    assert (
        run_apart(batch, prepare=signal_at_update, args=(signal.SIGTERM, UPDATES_PER_EPOCH + 7))
        == 3
    )

    folder.metrics.unlink()
    assert run_apart(batch) == 0

    assert numbers_of(folder) == undisturbed


def test_seconds_add_up_over_attempts(tmp_path: Path) -> None:
    batch = write_batch(tmp_path, {"epochs": 1})
    folder = folder_of(batch)

    assert run_apart(batch, prepare=tiny_runs.stop_after_sleep, args=(0.5,)) == 3
    assert run_apart(batch) == 0

    result = read_result(folder)
    assert result is not None
    assert result.seconds > 0.5
    assert result.provenance["attempts"] == 2
    assert result.provenance["started"] == lease.read(folder.attempts / "000001.json")["since"]


def test_run_that_cannot_write_its_checkpoint_is_interrupted_and_names_the_file(
    tmp_path: Path,
) -> None:
    batch = write_batch(tmp_path, {"hidden": 256})
    folder = folder_of(batch)

    assert run_apart(batch, prepare=tiny_runs.limit_file_size, args=(100_000,)) == 6

    assert read_result(folder) is None
    (attempt,) = (lease.read(path) for path in folder.attempts.iterdir())
    assert attempt["ending"] == "interrupted"
    assert attempt["unwritable"] == (
        f"{folder.checkpoint}: File too large; raise the limit of file sizes (ulimit -f)"
    )
    assert len(read_metrics(folder.metrics)) == 2  # epochs 0 and 1, whole
    assert not list(folder.path.glob(".*.tmp"))
