"""Turn rows into Arrow tables and those into pandas frames; types do not depend on the route."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from analysis.text.levels import is_missing

if TYPE_CHECKING:
    import pandas as pd

# marks a column whose values are of several types
AS_JSON: Mapping[bytes | str, bytes | str] = {b"as": b"json"}


def table_from_rows(
    rows: Sequence[Mapping[str, Any]], types: Mapping[str, pa.DataType]
) -> pa.Table:
    """Make a column per name; what a row does not have is null, and so is NaN.

    Args:
        rows: of scalars.
        types: of columns whose type does not follow from their values; these exist even without
            rows.
    """
    names = dict.fromkeys(types)
    for row in rows:
        names |= dict.fromkeys(row)
    fields, arrays = [], []
    for name in names:
        field, array = _column(name, [row.get(name) for row in rows], types.get(name))
        fields.append(field)
        arrays.append(array)
    return pa.table(arrays, schema=pa.schema(fields))


def join_tables(tables: Sequence[pa.Table]) -> pa.Table:
    """Join tables one below the other; a column that one of them lacks is null there."""
    if not any(_mixed_names(table) for table in tables):
        try:
            return pa.concat_tables(tables, promote_options="permissive").combine_chunks()
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            pass  # one name, several types
    rows: list[dict[str, Any]] = []
    for table in tables:
        rows += rows_from_table(table)
    return table_from_rows(rows, {})


def rows_from_table(table: pa.Table) -> list[dict[str, Any]]:
    """Return the rows of a table, with None for what is missing."""
    mixed = _mixed_names(table)
    rows: list[dict[str, Any]] = table.to_pylist()
    for row in rows:
        row |= {name: json.loads(row[name]) for name in mixed if row[name] is not None}
    return rows


def frame_from_table(table: pa.Table, names: Iterable[str]) -> pd.DataFrame:
    """Return these columns as a pandas frame; a missing number is NaN."""
    import pandas as pd

    chosen = table.select(list(names))
    frame: pd.DataFrame = chosen.to_pandas()
    for name in _mixed_names(chosen):
        values = [None if text is None else json.loads(text) for text in chosen[name].to_pylist()]
        frame[name] = pd.Series(values, dtype=object)
    return frame


def number_array(values: list[Any]) -> pa.Array:
    """Make a column of floats; what is no finite number is null."""
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
        texts = [None if is_missing(value) else json.dumps(value) for value in values]
        array = pa.array(texts, pa.string())
        return pa.field(name, array.type, metadata=AS_JSON), array


def _mixed_names(table: pa.Table) -> list[str]:
    return [field.name for field in table.schema if (field.metadata or {}).get(b"as") == b"json"]


def _finite(value: Any) -> float | None:
    is_number = isinstance(value, float | int) and math.isfinite(value)
    return float(value) if is_number else None
