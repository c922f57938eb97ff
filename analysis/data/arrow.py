"""Rows as Arrow tables and Arrow tables as pandas frames: the same types however the rows came together."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    import pandas as pd

AS_JSON: Mapping[bytes | str, bytes | str] = {
    b"as": b"json"
}  # marks a column whose values are of several types


def table_from_rows(
    rows: Sequence[Mapping[str, Any]], types: Mapping[str, pa.DataType]
) -> pa.Table:
    """One column per name that occurs; what a row does not have is null, and so is NaN.

    Args:
        rows: of scalars.
        types: of columns that are not to be what their values suggest; these exist even without rows.
    """
    names = dict.fromkeys([*types, *(name for row in rows for name in row)])
    made = [_column(name, [row.get(name) for row in rows], types.get(name)) for name in names]
    return pa.table([array for _, array in made], schema=pa.schema([field for field, _ in made]))


def join_tables(tables: Sequence[pa.Table]) -> pa.Table:
    """One table below the other, in one piece; a column that one of them lacks is null there."""
    if not any(_mixed_names(table) for table in tables):
        try:
            return pa.concat_tables(tables, promote_options="permissive").combine_chunks()
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            pass  # one name, several types
    return table_from_rows([row for table in tables for row in rows_from_table(table)], {})


def rows_from_table(table: pa.Table) -> list[dict[str, Any]]:
    """Inverse of `table_from_rows`, with None for what is missing."""
    mixed = _mixed_names(table)
    rows: list[dict[str, Any]] = table.to_pylist()
    for row in rows:
        row |= {name: json.loads(row[name]) for name in mixed if row[name] is not None}
    return rows


def frame_from_table(table: pa.Table, names: Iterable[str]) -> pd.DataFrame:
    """These columns for pandas: a missing number is NaN."""
    import pandas as pd

    chosen = table.select(list(names))
    frame: pd.DataFrame = chosen.to_pandas()
    for name in _mixed_names(chosen):
        values = [None if text is None else json.loads(text) for text in chosen[name].to_pylist()]
        frame[name] = pd.Series(values, dtype=object)
    return frame


def number_array(values: list[Any]) -> pa.Array:
    """A column of floats; whatever is no finite number is null."""
    try:
        array = pa.array(values, pa.float64(), from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):  # something else is among them
        return pa.array([_finite(value) for value in values], pa.float64())
    return pc.if_else(pc.is_finite(array), array, None)


def _column(name: str, values: list[Any], wanted: pa.DataType | None) -> tuple[pa.Field, pa.Array]:
    try:
        array = pa.array(values, wanted, from_pandas=True)
        return pa.field(name, array.type), array
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        array = pa.array(
            [None if _is_missing(value) else json.dumps(value) for value in values], pa.string()
        )
        return pa.field(name, array.type, metadata=AS_JSON), array


def _mixed_names(table: pa.Table) -> list[str]:
    return [field.name for field in table.schema if (field.metadata or {}).get(b"as") == b"json"]


def _finite(value: Any) -> float | None:
    is_number = isinstance(value, float | int) and math.isfinite(value)
    return float(value) if is_number else None


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
