from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from anlp.core.errors import SpecError
from anlp.core.files import write_whole
from anlp.records.elements import Element
from anlp.records.files import read_jsonl, read_metrics, write_json, write_jsonl
from anlp.records.folders import RunFolder
from anlp.records.options import RunOptions, WandbOptions, options_from_json
from anlp.records.results import Outcome, RunError, RunResult, read_result, result_from_summary
from anlp.tasks import element_from_json, make_spec, read_element


def test_options_survive_json() -> None:
    options = RunOptions(
        device="cpu", keep="last", wandb=WandbOptions(mode="online", tags=("a", "b"))
    )

    assert options_from_json(json.loads(json.dumps(options.to_json()))) == options


def test_options_of_a_later_version_are_read_as_far_as_they_are_known() -> None:
    form = {**RunOptions().to_json(), "colour": "red"}
    form["wandb"]["colour"] = "red"

    assert options_from_json(form) == RunOptions()


def test_results_survive_their_file(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    result = RunResult(
        "abc", Outcome.FAILED, {"val/acc": 0.5}, 3, 4, 100, {"random": 0.1}, {"train": 9}, 1.5,
        RunError("ValueError", "no", "Traceback", 2), {"host": "n1"},
    )  # fmt: skip
    write_json(folder.result, result.to_json())

    assert read_result(folder) == result


def test_metrics_that_are_not_finite_come_back_as_nan(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    write_json(
        folder.result, RunResult("abc", Outcome.DIVERGED, {"train/loss": math.inf}).to_json()
    )
    result = read_result(folder)

    assert "Infinity" not in folder.result.read_text()
    assert result is not None
    assert math.isnan(result.metrics["train/loss"])


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"outcome": "ok"}', '{"run_id": "a", "outcome": "great", "metrics": {}}'],
)
def test_a_result_that_is_none_is_not_believed(tmp_path: Path, text: str) -> None:
    folder = RunFolder(tmp_path)
    folder.result.write_text(text)

    assert read_result(folder) is None


def test_torn_lines_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"epoch": 0}\n{"epo\n{"epoch": 2}\n{"epoch": 3')

    assert [line["epoch"] for line in read_jsonl(path)] == [0, 2]
    assert list(read_jsonl(tmp_path / "missing")) == []


def test_a_failed_write_leaves_the_old_file_and_no_draft(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    write_whole(path, b"old")
    with pytest.raises(TypeError):
        write_whole(path, "text is not bytes")  # type: ignore[arg-type]

    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_elements_are_read_back_from_their_batch_by_number(tmp_path: Path) -> None:
    elements = [Element((make_spec("mnist", {}, seed),), RunOptions()) for seed in range(3)]
    batch = tmp_path / "1.jsonl"
    write_jsonl(batch, (element.to_json() for element in elements))

    assert read_element(batch, 2) == elements[2]
    assert element_from_json(elements[0].to_json()) == elements[0]
    with pytest.raises(SpecError, match="no element 3"):
        read_element(batch, 3)


@pytest.mark.parametrize(
    ("text", "epochs"),
    [
        ("", []),
        ('{"epoch": 0}\n{"epoch": 1}\n', [0, 1]),
        ('{"epoch": 0}\n{"epoch": 1}', [0]),
        ('{"epoch": 0}\n{"epo\n{"epoch": 2}\n', [0, 2]),
        ('{"epoch": 0}\n\n[1]\n{"epoch": 3}\n', [0, 3]),
        ('{"epoch": 0}, {"epoch": 1}\n{"epoch": 2}\n', [2]),
    ],
)
def test_metrics_are_the_lines_that_were_written_whole(
    tmp_path: Path, text: str, epochs: list[int]
) -> None:
    (tmp_path / "metrics.jsonl").write_text(text)

    assert [line["epoch"] for line in read_metrics(tmp_path / "metrics.jsonl")] == epochs


def test_a_result_survives_a_summary() -> None:
    error = RunError("ValueError", "no", "Traceback", 3)
    result = RunResult(
        "0" * 12,
        Outcome.FAILED,
        {"val/acc": 1 / 3},
        2,
        3,
        99,
        {"random": 0.1},
        {"val": 7},
        1.5,
        error,
    )

    summary = result.to_summary()

    assert summary["val/acc"] == 1 / 3
    assert result_from_summary(json.loads(json.dumps(summary))) == result


@pytest.mark.parametrize(
    "summary", [{}, {"result": None}, {"result": "{"}, {"result": "[]"}, {"result": '{"a": 1}'}]
)
def test_a_summary_without_a_result_has_none(summary: dict[str, object]) -> None:
    assert result_from_summary(summary) is None


def test_a_file_that_cannot_be_read_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").mkdir()

    with pytest.raises(IsADirectoryError):
        list(read_jsonl(tmp_path / "journal.jsonl"))
