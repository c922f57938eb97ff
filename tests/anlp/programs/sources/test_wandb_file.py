"""Logs of real wandb, read without it, compared with its own protocol module."""

from __future__ import annotations

import json
import math
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from wandb.proto import wandb_internal_pb2

from anlp.programs.sources import wandb_file
from anlp.programs.sources.wandb_file import BLOCK, HEADER, RecordReader, WandbFile
from tests.support import wandb_offline

SCRIPT = """
import math, sys
import wandb

def start(name, **options):
    return wandb.init(project="shapes", id=name, reinit="create_new", **options)

nest = {"sizes": [1, 2], "deep": {"a": None}}
run = start("plain", config={"lr": 0.1, "batch": 64, "nest": nest})
run.config.update({"late": 1, "nest": {"deep": {"b": 2}}}, allow_val_change=True)
for epoch in range(50):
    run.log({"epoch": epoch, "train/loss": 1 / (epoch + 1), "val": {"acc": epoch / 50}})
run.summary["best"] = 0.9
run.summary["gone"] = 1
del run.summary["gone"]
run.finish()

run = start("values")
run.define_metric("best", summary="max")
for step in range(3):
    run.log({"nan": math.nan, "inf": -math.inf, "text": "x", "flag": True, "none": None,
             "list": [1, 2], "big": 2**70, "histogram": wandb.Histogram([1, 2, 3]),
             "table": wandb.Table(columns=["a"], data=[[1]]), "html": wandb.Html("<p>"),
             "best": 1 - step, "number": 0.5, "é/ü": step})
run.finish(exit_code=3)

run = start("steps")
run.define_metric("seen"); run.define_metric("*", step_metric="seen")
run.log({"seen": 640, "loss": 1.0}); run.log({"seen": 1280, "loss": 0.5}); run.finish()

run = start("typed", settings=wandb.Settings(x_history_value_encoding="json,typed"))
run.log({"a": 0.5, "n": -3, "flag": False, "text": "x", "nan": math.nan}); run.finish()

run = start("long")
for step in range(300):
    text = {"text": "t" * 50_000 * (step == 9)}
    run.log({f"m{number}": step * number for number in range(40)} | text)
run.finish()
"""
NAMES = ("plain", "values", "steps", "typed", "long")


def run_script(folder: Path, script: str, **environment: str) -> None:
    (folder / "program.py").write_text(script)
    subprocess.run(
        [sys.executable, str(folder / "program.py")],
        cwd=folder,
        env={**os.environ, "WANDB_MODE": "offline", "WANDB_SILENT": "true", **environment},
        check=True,
    )


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("logs")
    run_script(folder, SCRIPT)
    return {name: next(folder.glob(f"wandb/*-{name}/run-{name}.wandb")) for name in NAMES}


def read(path: Path) -> tuple[WandbFile, list[dict[str, Any]]]:
    found = WandbFile(path)
    return found, list(found.new_rows())


def same(value: Any, other: Any) -> bool:
    if isinstance(value, float) and isinstance(other, float) and math.isnan(value):
        return math.isnan(other)
    return bool(value == other)


def flat(form: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in form.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def expected_rows(path: Path) -> list[dict[str, Any]]:
    """The rows by wandb's own messages."""
    rows = []
    for content in wandb_offline.records(path.read_bytes()):
        record = wandb_internal_pb2.Record.FromString(content)  # type: ignore[attr-defined]  # made at import
        if record.WhichOneof("record_type") == "history":
            row = {
                item.key or ".".join(item.nested_key): json.loads(item.value_json)
                for item in record.history.item
            }
            rows.append(
                {
                    name: SPECIAL.get(value, value) if isinstance(value, str) else value
                    for name, value in flat(row)
                }
            )
    return rows


@pytest.mark.parametrize("name", NAMES)
def test_rows_are_those_of_wandbs_own_messages(logs: dict[str, Path], name: str) -> None:
    found, rows = read(logs[name])

    expected = expected_rows(logs[name])
    assert [set(row) for row in rows] == [set(row) for row in expected]
    assert all(
        same(row[key], want[key]) for row, want in zip(rows, expected, strict=True) for key in row
    )
    assert (found.run_id, found.project, found.damaged, found.error) == (name, "shapes", 0, "")
    assert [row["_step"] for row in rows] == list(range(len(rows)))


def test_configuration_summary_and_end(logs: dict[str, Path]) -> None:
    found, rows = read(logs["plain"])

    assert len(rows) == 50
    config = {key: value for key, value in found.config.items() if key != "_wandb"}
    assert config == {
        "lr": 0.1, "batch": 64, "nest": {"deep": {"b": 2}}, "late": 1,
    }  # fmt: skip
    assert type(config["batch"]) is int
    summary = {key: value for key, value in found.summary.items() if key[0] != "_"}
    assert summary == {"best": 0.9, "epoch": 49, "train/loss": 0.02, "val.acc": 0.98}
    assert found.exit_code == 0
    assert read(logs["values"])[0].exit_code == 3


def test_special_values(logs: dict[str, Path]) -> None:
    found, rows = read(logs["values"])

    assert math.isnan(rows[0]["nan"])
    assert (rows[0]["inf"], rows[0]["é/ü"], rows[0]["big"]) == (-math.inf, 0, pytest.approx(2**70))
    assert rows[0]["histogram._type"] == "histogram"
    assert found.summary["best.max"] == 1


def test_the_declared_step(logs: dict[str, Path]) -> None:
    assert read(logs["steps"])[0].step_metric == "seen"
    assert read(logs["plain"])[0].step_metric == ""


def test_typed_values_are_read_where_there_is_no_json(logs: dict[str, Path]) -> None:
    item = wandb_internal_pb2.HistoryItem  # type: ignore[attr-defined]  # made at import
    items = [
        item(key="f", number=0.5), item(key="i", integer=-3), item(key="b", boolean=True),
        item(nested_key=["t", "x"], text="text"), item(key="j", json='{"a": [1]}'),
        item(key="n", none=1),
    ]  # fmt: skip
    history = wandb_internal_pb2.HistoryRecord(item=items)  # type: ignore[attr-defined]  # made at import

    row = wandb_file._row(history.SerializeToString())
    assert row == {"f": 0.5, "i": -3, "b": True, "t.x": "text", "j.a": [1], "n": None}


def test_field_numbers_are_those_of_the_installed_wandb() -> None:
    def numbers(message: str) -> dict[str, int]:
        descriptor = getattr(wandb_internal_pb2, message).DESCRIPTOR
        return {field.name: field.number for field in descriptor.fields}

    record = numbers("Record")
    assert [record[name] for name in ("history", "summary", "config", "metric", "run", "exit")] == [
        wandb_file.HISTORY, wandb_file.SUMMARY, wandb_file.CONFIG, wandb_file.METRIC,
        wandb_file.RUN, wandb_file.EXIT,
    ]  # fmt: skip
    for message in ("HistoryItem", "SummaryItem", "ConfigItem"):
        item = numbers(message)
        assert (item["key"], item["nested_key"], item["value_json"]) == (
            wandb_file.KEY, wandb_file.NESTED_KEY, wandb_file.VALUE_JSON,
        )  # fmt: skip
    typed = {number: name for name, number in numbers("HistoryItem").items()}
    assert {number: typed[number] for number in wandb_file.TYPED} == wandb_file.TYPED
    for message in ("SummaryRecord", "ConfigRecord"):
        assert (numbers(message)["update"], numbers(message)["remove"]) == (
            wandb_file.UPDATE, wandb_file.REMOVE,
        )  # fmt: skip
    run, metric = numbers("RunRecord"), numbers("MetricRecord")
    assert [run[name] for name in ("run_id", "project", "config", "summary")] == [
        wandb_file.RUN_ID, wandb_file.RUN_PROJECT, wandb_file.RUN_CONFIG, wandb_file.RUN_SUMMARY,
    ]  # fmt: skip
    assert (metric["glob_name"], metric["step_metric"]) == (
        wandb_file.METRIC_GLOB, wandb_file.STEP_METRIC,
    )  # fmt: skip
    assert numbers("HistoryRecord")["item"] == wandb_file.ITEM
    assert numbers("RunExitRecord")["exit_code"] == wandb_file.EXIT_CODE


# How far a log was written when it was looked at: within headers, records, at block ends.
@pytest.mark.parametrize("step", [1, 7, 997, 32768, 40_000])
def test_a_growing_log_gives_each_row_once(
    logs: dict[str, Path], tmp_path: Path, step: int
) -> None:
    content = logs["long" if step > 500 else "steps"].read_bytes()
    path = tmp_path / "run-x.wandb"
    found, rows = WandbFile(path), []

    list(found.new_rows())
    assert "No such file" in found.error
    for size in range(0, len(content) + step, step):
        path.write_bytes(content[:size])
        rows += list(found.new_rows())

    assert rows == read(logs["long" if step > 500 else "steps"])[1]
    assert (found.damaged, found.error) == (0, "")


def test_a_torn_log_is_read_up_to_its_last_whole_record(
    logs: dict[str, Path], tmp_path: Path
) -> None:
    content = logs["long"].read_bytes()
    path = tmp_path / "run-x.wandb"
    path.write_bytes(content[: len(content) // 2])

    found, rows = read(path)

    assert rows == read(logs["long"])[1][: len(rows)]
    assert 50 < len(rows) < 300
    assert found.damaged == 0
    assert found.exit_code is None


def test_a_damaged_block_is_left_out_and_counted(logs: dict[str, Path], tmp_path: Path) -> None:
    content = bytearray(logs["long"].read_bytes())
    content[5 * BLOCK + 400] ^= 1
    path = tmp_path / "run-x.wandb"
    path.write_bytes(content)

    found, rows = read(path)

    whole = read(logs["long"])[1]
    assert found.damaged == 1
    assert len(whole) - 60 < len(rows) < len(whole)
    assert all(row in whole for row in rows)
    assert found.exit_code == 0


def test_zeros_at_the_end_are_not_written_yet(logs: dict[str, Path], tmp_path: Path) -> None:
    """A file system may show the new size before the content."""
    content = logs["steps"].read_bytes()
    path = tmp_path / "run-x.wandb"
    found, rows = WandbFile(path), []

    path.write_bytes(content[:900] + bytes(len(content) - 900))
    rows += list(found.new_rows())
    path.write_bytes(content)
    rows += list(found.new_rows())

    assert rows == read(logs["steps"])[1]


def test_a_file_of_another_format_is_said(tmp_path: Path) -> None:
    path = tmp_path / "run-x.wandb"
    path.write_bytes(b"SQLite format 3\0")

    found, rows = read(path)

    assert rows == []
    assert found.error == f"{path}: not a log of wandb in a known format"


def log_of(*payloads: bytes) -> bytes:
    """A log with records of these contents in one block each at most."""
    content = HEADER
    for payload in payloads:
        body = b"\x01" + payload
        content += struct.pack("<IH", zlib.crc32(body), len(payload)) + body
    return content


def test_a_record_that_is_no_message_is_left_out_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "run-x.wandb"
    record = wandb_internal_pb2.Record()  # type: ignore[attr-defined]  # made at import
    record.exit.exit_code = 4
    path.write_bytes(log_of(b"\xff\xff\xff", b"\x12\x03\x0a\x05\x61", record.SerializeToString()))

    found, rows = read(path)

    assert (rows, found.damaged, found.exit_code) == ([], 2, 4)
    assert len(list(RecordReader(path).new_records())) == 3
