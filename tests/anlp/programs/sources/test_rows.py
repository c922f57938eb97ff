"""Rows of a program become rows of epochs."""

from __future__ import annotations

import math
from typing import Any

import pytest

from anlp.programs.sources.rows import EpochTable


def table_of(*rows: dict[str, Any], declared: str = "") -> EpochTable:
    """All rows, added again where the table asks for it, as the collector does."""
    table = EpochTable()
    while True:
        table.declare(declared)
        for row in rows:
            table.add(row)
        if not table.is_outdated:
            table.close()
            return table
        table = table.renewed()


@pytest.mark.parametrize("column", ["epoch", "step", "_step"])
def test_the_column_that_counts_is_said(column: str) -> None:
    table = table_of({column: 3, "acc": 0.5}, {column: 4.0, "acc": 0.6})

    assert table.rows() == [{"epoch": 3, "acc": 0.5}, {"epoch": 4, "acc": 0.6}]
    assert table.notes() == [f"rows are numbered by `{column}`"]


def test_without_a_column_rows_are_counted() -> None:
    table = table_of({"acc": 0.5}, {"acc": 0.6})

    assert table.rows() == [{"epoch": 0, "acc": 0.5}, {"epoch": 1, "acc": 0.6}]
    assert table.notes() == [
        "rows have no column `epoch` or `step`; they are numbered as they came"
    ]


def test_the_best_column_of_any_row_decides() -> None:
    rows = [{"_step": n, "loss": n / 10} for n in range(4)]

    table = table_of(*rows[:2], {"_step": 2, "epoch": 1, "acc": 0.5}, *rows[3:])

    assert table.rows() == [{"epoch": 1, "loss": 0.3, "acc": 0.5}]
    assert "3 rows without `epoch` belong to the next one that has it" in table.notes()


def test_a_declared_step_comes_before_wandbs_own() -> None:
    table = table_of(
        {"_step": 0, "seen": 640, "loss": 1}, {"_step": 1, "seen": 1280, "loss": 2}, declared="seen"
    )

    assert table.rows() == [{"epoch": 640, "loss": 1}, {"epoch": 1280, "loss": 2}]


def test_parts_of_an_epoch_do_not_count() -> None:
    table = table_of(*({"epoch": n / 2, "step": 10 * n, "loss": n} for n in range(3)))

    assert [row["epoch"] for row in table.rows()] == [0, 10, 20]
    assert table.notes() == [
        "rows are numbered by `step`",
        "`epoch` has values that are no whole numbers and does not number rows",
    ]


def test_rows_of_one_epoch_are_merged() -> None:
    table = table_of(
        {"epoch": 1, "a": 1, "b": 1}, {"epoch": 1, "b": 2, "c": 3}, {"epoch": 2, "a": 5}
    )

    assert table.rows() == [{"epoch": 1, "a": 1, "b": 2, "c": 3}, {"epoch": 2, "a": 5}]
    assert "rows of one epoch are merged; the last value of each name stays" in table.notes()


def test_what_comes_after_the_last_epoch_belongs_to_it() -> None:
    table = table_of({"epoch": 1, "a": 1}, {"epoch": 2, "a": 2}, {"test": 0.9})

    assert table.rows()[-1] == {"epoch": 2, "a": 2, "test": 0.9}
    assert table.last_values() == {"a": 2, "test": 0.9}


def test_a_program_that_continues_replaces_what_came_after() -> None:
    first = [{"epoch": n, "loss": n, "only_early": 1} for n in range(5)]
    second = [{"epoch": n, "loss": 10 * n} for n in (3, 4)]

    table = table_of(*first, *second[:1])
    assert [(row["epoch"], row.get("loss")) for row in table.rows()] == [
        (0, 0), (1, 1), (2, 2), (3, 30), (4, None),
    ]  # fmt: skip
    assert table.last_values()["loss"] == 30
    assert table_of(*first, *second).rows()[3:] == [
        {"epoch": 3, "loss": 30, "only_early": 1},
        {"epoch": 4, "loss": 40, "only_early": 1},
    ]
    assert "`epoch` went back 1 time: the values that came later replace those from there on" in (
        table.notes()
    )


def test_an_evaluation_that_counts_anew_leaves_the_training_alone() -> None:
    table = table_of(*({"_step": n, "loss": n} for n in range(5)), {"_step": 0, "test": 0.9})

    assert len(table.rows()) == 5
    assert table.rows()[0] == {"epoch": 0, "loss": 0, "test": 0.9}


def test_values_that_are_no_numbers_are_left_out_counted_and_named() -> None:
    image = {"img._type": "image-file", "img.width": 3, "img.height": 4}

    table = table_of({"epoch": 0, "a": "x", "ok": True, "l": [1], "none": None, **image, "b": 1})

    assert table.rows() == [{"epoch": 0, "b": 1}]
    assert table.notes()[-1] == "4 values that are no numbers are left out: a, img, l, ok"
    many = {str(n): "text" for n in range(9)}
    assert table_of({"b": 1, **many}).notes()[-1].endswith("left out: 0, 1, 2, 3, 4, …")


def test_nan_and_infinity_stay() -> None:
    rows = table_of({"epoch": 0, "a": math.nan, "b": math.inf, "c": 10**400}).rows()

    assert math.isnan(rows[0]["a"])
    assert (rows[0]["b"], rows[0]["c"]) == (math.inf, math.inf)


def test_an_epoch_that_is_nan_is_none() -> None:
    table = table_of({"epoch": 0, "a": 1}, {"epoch": math.nan, "a": 2}, {"epoch": 1, "b": 3})

    assert table.rows() == [{"epoch": 0, "a": 1}, {"epoch": 1, "a": 2, "b": 3}]


def test_the_first_change_is_told_once() -> None:
    table = EpochTable()
    for epoch in range(5):
        table.add({"epoch": epoch, "a": 1})

    assert table.take_changed_from() == 0
    assert table.take_changed_from() is None
    table.add({"epoch": 5, "a": 1})
    table.add({"epoch": 3, "a": 1})
    assert table.take_changed_from() == 3
