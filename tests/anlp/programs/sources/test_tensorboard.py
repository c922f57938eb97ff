"""Event files of real writers, compared with TensorBoard's own reader."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from anlp.programs.sources.tensorboard import EventFiles, masked_checksum, shortest

event_accumulator = pytest.importorskip(
    "tensorboard.backend.event_processing.event_accumulator",
    reason="needs tensorboard: pip install 'anlp[dev]'",
)
from torch.utils.tensorboard import SummaryWriter  # noqa: E402 - it needs tensorboard

pytestmark = pytest.mark.filterwarnings("ignore")  # of tensorboard's own imports


def write(folder: Path, *, tags: tuple[str, ...] = ("val/acc",), steps: range = range(5)) -> None:
    with SummaryWriter(folder) as writer:
        for step in steps:
            for tag in tags:
                writer.add_scalar(tag, step / 10, step)


def read(folder: Path) -> list[dict[str, Any]]:
    files = EventFiles(folder)
    return [*files.new_rows(), *files.last_rows()]


def test_scalars_of_one_step_are_one_row(tmp_path: Path) -> None:
    write(tmp_path / "tb", tags=("val/acc", "epoch"))

    assert read(tmp_path) == [
        {"step": step, "val/acc": step / 10, "epoch": step / 10} for step in range(5)
    ]


def test_values_are_those_of_tensorboards_own_reader(tmp_path: Path) -> None:
    numbers = [0.1, 1 / 3, 1e-30, -1e30, 123456.789, 16777217.0, math.inf, 0.0]
    with SummaryWriter(tmp_path) as writer:
        for step, number in enumerate(numbers):
            writer.add_scalar("a", number, step)
            writer.add_scalar("new", number, step, new_style=True)
            writer.add_scalar("d", number, step, new_style=True, double_precision=True)
        writer.add_scalar("nan", math.nan, step)
    from tensorboard.util.tensor_util import make_ndarray

    accumulator = event_accumulator.EventAccumulator(str(tmp_path)).Reload()
    tensors = {
        tag: [float(make_ndarray(each.tensor_proto)) for each in accumulator.Tensors(tag)]
        for tag in ("new", "d")
    }

    rows = read(tmp_path)

    assert [event.value for event in accumulator.Scalars("a")] == pytest.approx(
        [row["a"] for row in rows], rel=1e-7
    )
    assert [row["d"] for row in rows] == tensors["d"] == numbers
    assert tensors["new"] == pytest.approx([row["new"] for row in rows], rel=1e-7)
    assert math.isnan(rows[-1]["nan"])


def test_what_is_no_scalar_is_counted_and_named(tmp_path: Path) -> None:
    with SummaryWriter(tmp_path) as writer:
        writer.add_text("note", "hello", 0)
        import torch

        writer.add_histogram("weights", torch.ones(3), 0)
        writer.add_scalar("a", 1, 0)
    files = EventFiles(tmp_path)

    rows = [*files.new_rows(), *files.last_rows()]

    assert rows == [{"step": 0, "a": 1}]
    assert files.notes() == [
        "2 values of TensorBoard that are no scalars are left out: note/text_summary, weights"
    ]


def test_a_growing_file_gives_each_row_once(tmp_path: Path) -> None:
    write(tmp_path / "source", tags=("a", "b"), steps=range(20))
    (path,) = (tmp_path / "source").iterdir()
    content = path.read_bytes()
    grown = tmp_path / "run" / path.name
    grown.parent.mkdir()
    files, rows = EventFiles(tmp_path / "run"), []

    for size in range(0, len(content) + 13, 13):
        grown.write_bytes(content[:size])
        rows += list(files.new_rows())
    assert len(rows) == 19  # the last may still grow
    rows += list(files.last_rows())

    assert rows == read(tmp_path / "source")
    assert files.notes() == []
    assert list(files.last_rows()) == []


def test_folders_tell_curves_apart_but_attempts_do_not(tmp_path: Path) -> None:
    write(tmp_path / "tb/version_0/train", tags=("loss",))
    write(tmp_path / "tb/version_0/validation", tags=("loss",))
    write(tmp_path / "tb/version_1/train", tags=("loss",), steps=range(5, 7))

    names = {name for row in read(tmp_path) for name in row}

    assert names == {"step", "train/loss", "validation/loss"}


def test_the_default_folders_of_torch_are_attempts(tmp_path: Path) -> None:
    write(tmp_path / "runs/Nov27_22-20-09_node1", tags=("loss",))
    write(tmp_path / "runs/Nov28_01-20-09_node2", tags=("loss",), steps=range(3, 7))

    rows = read(tmp_path)

    assert {name for row in rows for name in row} == {"step", "loss"}
    assert [row["step"] for row in rows] == [0, 1, 2, 3, 4, 3, 4, 5, 6]


def test_names_that_change_with_a_second_folder_need_a_restart(tmp_path: Path) -> None:
    write(tmp_path / "train", tags=("loss",))
    files = EventFiles(tmp_path)
    first = {name for row in files.new_rows() for name in row}
    restarts = [files.must_restart]

    write(tmp_path / "validation", tags=("loss",))
    list(files.new_rows())
    restarts.append(files.must_restart)
    files.rewind()
    second = {name for row in files.new_rows() for name in row}
    restarts.append(files.must_restart)

    assert first == {"step", "loss"}
    assert second == {"step", "train/loss", "validation/loss"}
    assert restarts == [False, True, False]


@pytest.mark.parametrize("at", [30, 100])
def test_a_damaged_file_is_read_up_to_there(tmp_path: Path, at: int) -> None:
    write(tmp_path, steps=range(50))
    (path,) = tmp_path.iterdir()
    content = bytearray(path.read_bytes())
    content[at : at + 40] = b"\xff" * 40
    path.write_bytes(content)
    files = EventFiles(tmp_path)

    rows = list(files.new_rows())

    assert len(rows) < 3
    assert files.notes()[0].startswith(f"{path.name}: damaged after ")


def test_the_checksum_is_that_of_tfrecord() -> None:
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

    for data in (b"", b"12345678", b"\x18" + bytes(7)):
        assert masked_checksum(data) == masked_crc32c(data)


@pytest.mark.parametrize("number", [0.0, -0.1, 1e-45, 3.4028234663852886e38])
def test_the_shortest_number_is_the_same_single(number: float) -> None:
    import struct

    single = struct.unpack("f", struct.pack("f", number))[0]
    assert struct.pack("f", shortest(single)) == struct.pack("f", single)
