"""What a run left comes from the first source that has it, while it runs and at its end."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from anlp.programs.sources.collect import Collector
from tests.anlp.programs.sources.test_wandb_file import run_script


def collector(folder: Path, run_id: str = "mine") -> Collector:
    return Collector(
        wandb_folders=[folder], run_id=run_id, metrics=folder / "metrics", events=folder
    )


def append(folder: Path, *rows: dict[str, object]) -> None:
    with (folder / "metrics").open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def test_a_program_that_writes_nothing_leaves_nothing(tmp_path: Path) -> None:
    found = collector(tmp_path).finish("bye\n")

    assert (found.source, found.rows, found.summary, found.config, found.notes) == (
        "",
        [],
        {},
        {},
        [],
    )


def test_json_lines_are_seen_while_they_are_written(tmp_path: Path) -> None:
    source = collector(tmp_path)
    assert source.look() is None

    append(tmp_path, {"epoch": 0, "acc": 0.1}, {"epoch": 1, "acc": 0.2})
    assert source.look() == 0
    assert source.look() is None
    append(tmp_path, {"epoch": 2, "acc": 0.3})
    assert source.look() == 2
    assert [row["acc"] for row in source.rows()] == [0.1, 0.2, 0.3]
    assert source.finish("test_acc: 0.9\n").summary == {"acc": 0.3, "test_acc": 0.9}


def test_a_column_that_appears_late_makes_all_rows_new(tmp_path: Path) -> None:
    source = collector(tmp_path)
    append(tmp_path, {"step": 10, "loss": 1}, {"step": 20, "loss": 2})
    assert source.look() == 10

    append(tmp_path, {"step": 20, "epoch": 1, "acc": 0.5})
    assert source.look() == 1
    assert source.rows() == [{"epoch": 1, "loss": 2, "acc": 0.5}]


def test_rows_that_are_numbered_higher_replace_those_before_them(tmp_path: Path) -> None:
    source = collector(tmp_path)
    append(tmp_path, {"loss": 1}, {"loss": 2})
    assert source.look() == 0

    append(tmp_path, {"step": 10, "loss": 3})
    assert source.look() == 0  # the rows 0 and 1 are gone
    assert source.rows() == [{"epoch": 10, "loss": 3}]


def test_a_file_written_anew_makes_all_rows_new(tmp_path: Path) -> None:
    source = collector(tmp_path)
    append(tmp_path, {"epoch": 0, "loss": 1}, {"epoch": 1, "loss": 2})
    source.look()

    (tmp_path / "metrics").write_text('{"epoch": 0, "loss": 7}\n')
    assert source.look() == 0
    assert source.rows() == [{"epoch": 0, "loss": 7}]


SCRIPT = """
import json, math, os
import wandb
run = wandb.init(project="p", config={"lr": 0.1})
for step in range(4):
    run.log({"seen": 64 * step, "loss": math.nan if step == 3 else 1.0, "media": wandb.Html("<p>")})
    with open("metrics", "a") as file:
        file.write(json.dumps({"epoch": step, "acc": step}) + "\\n")
run.summary.update({"test_acc": 0.9, "epoch": 3, "worst": math.nan, "note": "text"})
"""


def test_wandb_comes_first_and_the_summary_from_all(tmp_path: Path) -> None:
    run_script(tmp_path, SCRIPT, WANDB_RUN_ID="mine")
    source = collector(tmp_path)

    assert source.look() == 0
    found = source.finish('{"test_acc": 0.1, "printed": 5}\n')

    assert found.source == "wandb"
    assert [(row["epoch"], row["seen"]) for row in found.rows] == [
        (0, 0),
        (1, 64),
        (2, 128),
        (3, 192),
    ]
    assert math.isnan(found.rows[3]["loss"])
    assert found.config == {"lr": 0.1}
    assert {name: value for name, value in found.summary.items() if not math.isnan(value)} == {
        "test_acc": 0.9, "seen": 192, "acc": 3, "printed": 5,
    }  # fmt: skip
    assert math.isnan(found.summary["worst"])
    assert math.isnan(found.summary["loss"])
    assert found.notes == [
        "rows are numbered by `_step`",
        "4 values that are no numbers are left out: media",
    ]


def test_rows_change_their_source_when_a_better_one_begins(tmp_path: Path) -> None:
    source = collector(tmp_path)
    append(tmp_path, {"epoch": 5, "acc": 0.1})
    assert source.look() == 5

    run_script(tmp_path, SCRIPT, WANDB_RUN_ID="mine")
    assert source.look() == 0
    assert len(source.rows()) == 4


DECLARED = """
import wandb
run = wandb.init(project="p")
run.define_metric("seen")
run.define_metric("*", step_metric="seen")
for step in range(3):
    run.log({"seen": 64 * step, "loss": 1.0})
"""


def test_a_declared_step_counts(tmp_path: Path) -> None:
    run_script(tmp_path, DECLARED, WANDB_RUN_ID="mine")

    found = collector(tmp_path).finish()

    assert [row["epoch"] for row in found.rows] == [0, 64, 128]
    assert found.notes == ["rows are numbered by `seen`"]
    assert found.summary == {"loss": 1.0}


def test_event_files_are_read_where_there_is_nothing_else(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="needs tensorboard: pip install 'anlp[dev]'")
    script = """
from torch.utils.tensorboard import SummaryWriter
with SummaryWriter("tb") as writer:
    for step in range(0, 40, 10):
        writer.add_scalar("val/acc", step / 100, step)
        writer.add_scalar("epoch", step // 10, step)
"""
    run_script(tmp_path, script)
    source = collector(tmp_path)

    assert source.look() == 0
    found = source.finish()

    assert found.source == "TensorBoard"
    assert found.rows == [{"epoch": epoch, "val/acc": epoch / 10} for epoch in range(4)]


def test_the_readers_cost_little(tmp_path: Path) -> None:
    """Neither wandb nor TensorBoard, protobuf, numpy or pydantic is imported."""
    script = """
import sys
from anlp.programs import failure, process
from anlp.programs.sources import collect
heavy = {"wandb", "google", "tensorboard", "numpy", "pydantic", "torch", "yaml", "asyncio"}
print(sorted(heavy & {name.partition(".")[0] for name in sys.modules}))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert done.stdout == "[]\n"
