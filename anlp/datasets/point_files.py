"""CSV files of points with the columns long, lat, label; light, for the login node."""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from anlp.core.errors import UserError
from anlp.core.files import refuse_unreadable

COLUMNS = ("long", "lat", "label")
LEAST_POINTS = 5  # of each class: one of them is tested
LARGEST = 1e15  # squares of what is larger are no 32-bit numbers


@dataclass(frozen=True, slots=True)
class LabelledPoints:
    """Places and the class of each, row by row of a file."""

    places: list[tuple[float, float]]
    labels: list[str]


def check_points(data_dir: Path, name: str, **_: object) -> None:
    """Raise what reading the file of the data folder would raise."""
    read_rows(data_dir / name)


def read_rows(path: Path) -> LabelledPoints:
    """Read the points of a file, its columns in any order; other columns are ignored.

    Raises:
        UserError: not a CSV file, a column is missing, a value is no number, or there are too few
            points or classes.
    """
    found = LabelledPoints([], [])
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file, strict=True, skipinitialspace=True)
            rows.fieldnames = _header(
                path, [column.strip().lower() for column in rows.fieldnames or ()]
            )
            for row in rows:
                _add_row(found, path, rows.line_num, row)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        refuse_unreadable(path, error)
        raise UserError(
            f"{path}: not a readable CSV file in UTF-8 ({error}); save it as one"
        ) from error
    _check_classes(path, Counter(found.labels))
    return found


def _header(path: Path, columns: list[str]) -> list[str]:
    wanted = f"expected a header with {','.join(COLUMNS)}, got {','.join(columns)[:60]!r}"
    for column in COLUMNS:
        if columns.count(column) != 1:
            fault = f"{columns.count(column)} columns" if column in columns else "no column"
            raise UserError(f"{path}:1: {fault} {column!r}; {wanted}")
    return columns


def _add_row(
    found: LabelledPoints, path: Path, line: int, row: Mapping[str | None, str | None]
) -> None:
    if None in row:  # where `csv` puts what is behind the last column
        raise UserError(
            f"{path}:{line}: more values than columns; put quotes around a value that has a comma"
        )
    found.places.append((_number(path, line, row, "long"), _number(path, line, row, "lat")))
    label = (row["label"] or "").strip()
    if not label:
        raise UserError(f"{path}:{line}: label: expected the name of a class, got nothing")
    found.labels.append(label)


def _number(path: Path, line: int, row: Mapping[str | None, str | None], column: str) -> float:
    text = row[column] or ""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not abs(value) < LARGEST:  # NaN is not, either
        raise UserError(f"{path}:{line}: {column}: expected a number, got {text!r}")
    return value


def _check_classes(path: Path, counts: Counter[str]) -> None:
    if not counts:
        raise UserError(f"{path}: no points; expected rows of {','.join(COLUMNS)}")
    rare = min(counts, key=lambda label: counts[label])
    if counts[rare] < LEAST_POINTS:
        raise UserError(
            f"{path}: class {rare!r} has fewer than {LEAST_POINTS} points; "
            "add some, or drop the class"
        )
    if len(counts) < 2:
        raise UserError(f"{path}: expected at least two classes, found {rare!r} only")
