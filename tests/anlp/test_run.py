from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from anlp.core import lease
from anlp.core.errors import SpecError
from anlp.records.files import read_json, read_metrics, write_json
from anlp.records.folders import RunFolder
from anlp.records.results import Outcome, RunResult, read_result
from anlp.run import main, run_element
from anlp.runtime import container
from anlp.tasks import spec_from_json
from tests.support.tiny_runs import OFF, folder_of, numbers_of, run_apart, write_batch


def run(batch: Path, index: int = 0) -> int:
    return run_element(batch, index, job="17_0")


def result_of(folder: RunFolder) -> RunResult:
    result = read_result(folder)
    assert result is not None
    return result


def test_run_writes_its_files(tmp_path: Path) -> None:
    batch = write_batch(tmp_path, commit="abc+dirty", purpose="confirm")
    folder = folder_of(batch)

    assert run(batch) == 0

    form = read_json(folder.spec)
    assert form is not None
    assert spec_from_json(form["spec"]).run_id == folder.run_id
    assert form["options"]["batch"] == "1"
    assert sorted(path.name for path in folder.path.iterdir()) == [
        "attempts",
        "log.txt",
        "metrics.jsonl",
        "result.json",
        "spec.json",
        "weights.pt",
    ]
    assert lease.read(folder.attempts / "000001.json")["ending"] == "done"


def test_metrics_have_a_line_per_epoch_from_before_the_first_update(tmp_path: Path) -> None:
    batch = write_batch(tmp_path, {"test_each_epoch": True})

    run(batch)

    lines = read_metrics(folder_of(batch).metrics)
    assert [line["epoch"] for line in lines] == [0, 1, 2, 3]
    names = {
        f"{split}/{measure}" for split in ("train", "val", "test") for measure in ("loss", "acc")
    }
    assert all(set(line) == names | {"epoch", "lr", "grad_norm", "seconds"} for line in lines)
    assert lines[0]["train/loss"] == pytest.approx(math.log(10), abs=0.3)
    assert lines[3]["train/acc"] > 0.8


def test_result_tells_metrics_baselines_sizes_and_provenance(tmp_path: Path) -> None:
    batch = write_batch(tmp_path, commit="abc", purpose="confirm")

    run(batch)

    result = result_of(folder_of(batch))
    lines = read_metrics(folder_of(batch).metrics)
    best = max(lines[1:], key=lambda line: float(line["val/acc"]))
    assert result.outcome is Outcome.OK
    assert result.epoch == best["epoch"]
    assert {name: result.metrics[name] for name in ("train/acc", "val/loss")} == {
        name: best[name] for name in ("train/acc", "val/loss")
    }
    assert result.metrics["test/acc"] > 0.85
    assert result.baselines == {"random": 0.1, "majority": pytest.approx(0.1014, abs=1e-4)}
    assert result.sizes == {"train": 1298, "val": 144, "test": 355}
    assert (result.epochs, result.steps) == (3, 63)
    assert result.provenance["job"] == "17_0"
    assert result.provenance["commit"] == "abc"
    assert result.provenance["purpose"] == "confirm"
    assert result.provenance["attempts"] == 1
    expected = {
        "host",
        "device",
        "torch",
        "python",
        "anlp",
        "batch",
        "started",
        "ended",
        "peak_rss_mib",
    }
    assert expected <= set(result.provenance)


def test_run_without_epochs_tests_the_untrained_model(tmp_path: Path) -> None:
    batch = write_batch(tmp_path, {"epochs": 0})

    assert run(batch) == 0

    result = result_of(folder_of(batch))
    assert (result.epoch, result.epochs, result.steps) == (0, 0, 0)
    assert result.metrics["test/acc"] < 0.4


UNSTEADY: Mapping[str, Any] = {"optimizer": "sgd", "lr": 0.7, "momentum": 0.9, "epochs": 6}


@pytest.mark.parametrize("test_at", ["best", "last"])
def test_test_set_is_measured_with_the_weights_of_the_epoch_that_the_grid_names(
    tmp_path: Path, test_at: str
) -> None:
    once = write_batch(tmp_path / "once", {**UNSTEADY, "test_at": test_at})
    always = write_batch(
        tmp_path / "always", {**UNSTEADY, "test_at": test_at, "test_each_epoch": True}
    )

    run(once)
    run(always)

    result = result_of(folder_of(once))
    assert result.metrics == result_of(folder_of(always)).metrics
    assert result.epoch == 6 if test_at == "last" else result.epoch in (1, 2, 3, 4, 5)


def test_output_of_a_run_goes_to_its_log_only(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    batch = write_batch(tmp_path)

    run(batch)

    assert capfd.readouterr() == ("", "")
    log = folder_of(batch).log.read_text().splitlines()
    assert f"run {folder_of(batch).run_id}, attempt 1" in log[0]
    assert [line.split()[:2] for line in log[1:5]] == [["epoch", str(epoch)] for epoch in range(4)]


def test_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    batch = write_batch(tmp_path)
    run(batch)
    before = folder_of(batch).result.read_bytes()

    assert run(batch) == 0

    assert folder_of(batch).result.read_bytes() == before
    assert len(list(folder_of(batch).attempts.iterdir())) == 1


def test_missing_data_is_a_failed_run_that_names_the_files(tmp_path: Path) -> None:
    batch = write_batch(tmp_path / "grid", {"data": "mnist"}, data_dir=str(tmp_path / "nowhere"))

    assert run(batch) == 1

    error = result_of(folder_of(batch)).error
    assert error is not None
    assert error.type == "UserError"
    assert "train-images-idx3-ubyte[.gz]" in error.message
    assert str(tmp_path / "nowhere" / "mnist") in error.message
    assert "Traceback" in error.traceback
    assert lease.read(folder_of(batch).attempts / "000001.json")["ending"] == "failed"
    assert "Traceback" in folder_of(batch).log.read_text()


def test_diverged_run_is_a_result_without_test_metrics(tmp_path: Path) -> None:
    batch = write_batch(tmp_path, {"optimizer": "sgd", "lr": 1e12, "momentum": 0.9})

    assert run(batch) == 0

    result = result_of(folder_of(batch))
    assert result.outcome is Outcome.DIVERGED
    assert not result.metrics
    assert result.epochs == 0
    assert [line["epoch"] for line in read_metrics(folder_of(batch).metrics)] == [0]
    assert lease.read(folder_of(batch).attempts / "000001.json")["ending"] == "diverged"


def test_run_held_by_another_process_is_left_to_it(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    batch = write_batch(tmp_path)
    with lease.acquire(folder_of(batch).attempts):
        assert run_apart(batch) == 4

    assert not folder_of(batch).log.exists()
    assert run(batch) == 0


@pytest.mark.slow
def test_element_of_several_runs_carries_out_all_and_reports_the_worst(tmp_path: Path) -> None:
    batch = write_batch(
        tmp_path / "grid", {"epochs": 1}, {"data": "mnist"}, {"epochs": 2}, data_dir=str(tmp_path)
    )
    forms = [json.loads(line) for line in batch.read_text().splitlines()]
    specs = [form["specs"][0] for form in forms]
    batch.write_text(json.dumps({**forms[0], "specs": specs}) + "\n")

    assert run(batch) == 1

    outcomes = [result_of(RunFolder(tmp_path / "grid" / spec["run_id"])).outcome for spec in specs]
    assert outcomes == [Outcome.OK, Outcome.FAILED, Outcome.OK]


def write_failed_result(folder: RunFolder, batch: str) -> None:
    folder.path.mkdir(parents=True, exist_ok=True)
    failed = RunResult(folder.run_id, Outcome.FAILED, provenance={"batch": batch})
    write_json(folder.result, failed.to_json())


@pytest.mark.parametrize(
    ("redo", "earlier_batch", "code"),
    [("none", "0", 1), ("failed", "1", 1), ("failed", "0", 0), ("all", "0", 0)],
)
def test_failed_result_is_repeated_where_the_submission_asks(
    tmp_path: Path, redo: str, earlier_batch: str, code: int
) -> None:
    batch = write_batch(tmp_path, {"epochs": 1}, redo=redo)
    write_failed_result(folder_of(batch), earlier_batch)

    assert run(batch) == code


@pytest.mark.parametrize(("redo", "attempts"), [("none", 1), ("failed", 1), ("all", 2)])
def test_finished_result_is_repeated_where_the_submission_asks(
    tmp_path: Path, redo: str, attempts: int
) -> None:
    run(write_batch(tmp_path, {"epochs": 1}, number=1))
    again = write_batch(tmp_path, {"epochs": 1}, number=2, redo=redo)
    before = numbers_of(folder_of(again))

    assert run(again) == 0
    assert run(again) == 0  # redone once for a submission, not at every start

    assert len(list(folder_of(again).attempts.iterdir())) == attempts
    assert numbers_of(folder_of(again)) == before
    assert result_of(folder_of(again)).provenance["batch"] == ("2" if redo == "all" else "1")


@pytest.mark.parametrize(("keep", "exists"), [("none", False), ("best", True), ("last", True)])
def test_weights_are_kept_as_asked(tmp_path: Path, keep: str, exists: bool) -> None:
    batch = write_batch(tmp_path, {"epochs": 1}, keep=keep)

    run(batch)

    assert folder_of(batch).weights.exists() == exists
    assert not folder_of(batch).checkpoint.exists()


def test_same_run_gives_the_same_numbers_with_any_other_in_its_element(tmp_path: Path) -> None:
    settings: Mapping[str, Any] = {"dropout": 0.5, "augment": "shift", "epochs": 2}
    alone = write_batch(tmp_path / "alone", settings)
    shared = write_batch(tmp_path / "shared", {"epochs": 1}, settings)

    run(alone)
    run(shared, 0)
    run(shared, 1)

    assert numbers_of(folder_of(alone)) == numbers_of(folder_of(shared, 1))


def test_unknown_element_is_a_sentence(tmp_path: Path) -> None:
    batch = write_batch(tmp_path)

    with pytest.raises(SpecError, match=r"no element 3 in this batch file"):
        run(batch, 3)


def test_command_reports_each_run_and_where_its_log_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    batch = write_batch(tmp_path, {"epochs": 1})

    assert main(["--batch", str(batch), "--index", "0"]) == 0

    assert capsys.readouterr().out == f"run {folder_of(batch).run_id}: ok  {folder_of(batch).log}\n"


def test_a_fault_of_ours_has_a_code_of_its_own_and_its_traceback_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """1 would say that a run has its result."""

    def fail(*_: object, **__: object) -> int:
        raise RuntimeError("a fault in the runner")

    monkeypatch.setattr("anlp.run.run_element", fail)

    assert main(["--batch", str(tmp_path), "--index", "0"]) == 70

    assert "RuntimeError: a fault in the runner" in capsys.readouterr().err


@pytest.mark.slow
def test_help_shows_an_example_without_loading_torch() -> None:
    code = (
        "import sys, anlp.run\ntry: anlp.run.main(['--help'])\nexcept "
        "SystemExit: print('torch' in sys.modules)"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout

    assert "python -m anlp.run --batch runs/mnist/batches/1.jsonl --index 0" in shown
    assert shown.endswith("False\n")


@pytest.mark.slow
def test_run_mirrors_itself_to_wandb_offline(tmp_path: Path) -> None:
    batch = write_batch(tmp_path, {"epochs": 1}, wandb=replace(OFF, mode="offline"))

    assert run_apart(batch) == 0

    assert list(folder_of(batch).wandb.rglob("*.wandb"))


@pytest.mark.parametrize("words", [[], ["--help"]])
@pytest.mark.parametrize("image", ["", "/project/anlp.sif"])
def test_without_arguments_and_with_help_it_says_what_to_type(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    image: str,
) -> None:
    for name in container.VARIABLES:
        monkeypatch.setenv(name, image)

    try:
        code = main(words)
    except SystemExit as left:
        code = int(str(left.code))
    printed = capsys.readouterr()
    said = printed.out if words else printed.err

    assert code == (0 if words else 2)  # a job without arguments must not count as done
    assert "usage:" in said
    assert "--batch runs/mnist/batches/1.jsonl --index 0" in said
    if image:
        assert "jobs.submit grids/demo.yaml --container /project/anlp.sif" in said
        assert "apptainer run --nv --bind $PWD/runs /project/anlp.sif --batch" in said
        assert "apptainer test /project/anlp.sif" in said
