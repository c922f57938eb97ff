"""What a run cannot write interrupts it; what goes wrong after its training costs no result."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from anlp.core import lease
from anlp.records.results import Outcome, read_result
from tests.support import tiny_runs
from tests.support.tiny_runs import folder_of, run_apart, write_batch

pytestmark = pytest.mark.slow

FILES = (
    "000001.json",  # the lease
    "log.txt",
    "spec.json",
    "metrics.jsonl",
    "checkpoint.pt",
    "weights.pt",
    "predictions.npz",
    "result.json",
)


@pytest.mark.parametrize("name", FILES)
def test_any_file_that_cannot_be_written_interrupts_the_run_and_a_submit_continues_it(
    name: str, tmp_path: Path
) -> None:
    batch = write_batch(tmp_path, keep="last", predictions=True)
    folder = folder_of(batch)

    assert run_apart(batch, prepare=tiny_runs.refuse_file, args=(name,)) == 6

    assert read_result(folder) is None
    if (attempt := lease.read_latest(folder.attempts)) is not None:
        assert attempt.record["ending"] == "interrupted"
        assert f"{name}: No space left on device" in attempt.record["unwritable"]
    assert run_apart(batch) == 0


def test_a_run_whose_folder_is_removed_is_interrupted_and_not_held(tmp_path: Path) -> None:
    batch = write_batch(tmp_path)
    folder = folder_of(batch)

    code = run_apart(batch, prepare=tiny_runs.remove_folder_at_update, args=(str(folder.path), 25))

    assert code == 8
    assert run_apart(batch) == 0


def test_a_run_whose_folder_another_process_made_again_leaves_it_alone(tmp_path: Path) -> None:
    batch = write_batch(tmp_path)
    folder = folder_of(batch)

    code = run_apart(batch, prepare=remove_and_make_again, args=(str(folder.path), 25))

    assert code == 4
    assert os.listdir(folder.path) == ["attempts"]


def remove_and_make_again(folder: str, update: int) -> None:
    tiny_runs.remove_folder_at_update(folder, update, is_made_again=True)


def test_a_fault_at_the_very_end_costs_no_result(tmp_path: Path) -> None:
    batch = write_batch(tmp_path)
    folder = folder_of(batch)

    assert run_apart(batch, prepare=tiny_runs.break_provenance) == 0

    result = read_result(folder)
    assert result is not None
    assert result.outcome is Outcome.OK
    assert result.provenance["batch"] == "1"
    assert result.provenance["incomplete"].startswith("AttributeError: module 'anlp'")
