"""Turn run records into tidy pandas frames, and tell their columns apart.

`runs` has one row per run, in the order of the ids:

| column | content |
|---|---|
| `run_id`, `config_id`, `task`, `purpose`, `seed` | a `config_id` is that of a configuration |
| `outcome` | `ok`, `diverged`, `failed`, `unfinished` |
| `tested_epoch`, `trained_epochs`, `seconds` | from the result; missing while there is none |
| a setting, e.g. `lr` | missing where it has no effect (`filters` of a dense network) |
| a metric, e.g. `test/acc` | at the tested epoch; accuracies in [0, 1]; only metrics have a slash |
| `baseline/random`, `baseline/majority` | in `test/acc`, of the run's data |
| `baseline/mean` | in `test/mae`, of tasks with quantities |
| `size/train`, `size/val`, `size/test` | samples |

`history` has one row per run and epoch: `run_id`, `epoch`, and what `metrics.jsonl` says; NaN for
what was not finite.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from analysis.data.arrow import frame_from_table, number_array, table_from_rows
from analysis.text.levels import is_missing
from anlp.core.spec import varying_names
from anlp.records.results import RunRecord, RunResult
from anlp.tasks import TASKS

if TYPE_CHECKING:
    import pandas as pd

RUN_COLUMNS = (
    *("run_id", "config_id", "task", "purpose", "seed", "outcome"),
    *("tested_epoch", "trained_epochs", "seconds"),
)
HISTORY_COLUMNS = ("run_id", "epoch")
UNFINISHED = "unfinished"
BASELINE = "baseline/"
SIZE = "size/"
PRIVATE = "_"  # begins columns of a table that a frame does not have

_TYPES: Mapping[str, pa.DataType] = {
    **dict.fromkeys(("run_id", "config_id", "task", "purpose", "outcome"), pa.string()),
    **dict.fromkeys(("seed", "tested_epoch", "trained_epochs"), pa.int64()),
    "seconds": pa.float64(),
}
_HISTORY_TYPES: Mapping[str, pa.DataType] = {"run_id": pa.string(), "epoch": pa.int64()}


def frame(records: Iterable[RunRecord]) -> pd.DataFrame:
    """Return one row per run; the columns of `RUN_COLUMNS` exist even without runs."""
    return runs_frame(runs_table([run_row(record) for record in records]))


def history_frame(records: Iterable[RunRecord]) -> pd.DataFrame:
    """Return one row per run and epoch; `run_id` and `epoch` exist even without rows."""
    return epochs_frame(history_table(list(records)))


def setting_columns(runs: pd.DataFrame) -> list[str]:
    """Return the settings among the columns, in the order of the settings class."""
    return [str(name) for name in runs.columns if name not in RUN_COLUMNS and "/" not in str(name)]


def metric_columns(runs: pd.DataFrame) -> list[str]:
    """Return the metrics among the columns."""
    return [
        str(name)
        for name in runs.columns
        if "/" in str(name) and not str(name).startswith((BASELINE, SIZE))
    ]


def varying_settings(runs: pd.DataFrame) -> list[str]:
    """Return the settings with more than one value; also `task` if a folder holds several."""
    names = [name for name in ("task", *setting_columns(runs)) if name in runs]
    return varying_names({name: runs[name].dropna().unique() for name in names})


def fields(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a filter can name of a run: settings, seed, metrics, id, state, purpose."""
    present = {name: value for name, value in row.items() if not is_missing(value)}
    state = "done" if row["outcome"] == "ok" else row["outcome"]
    return {**present, "id": row["run_id"], "state": state}


def run_row(record: RunRecord) -> dict[str, Any]:
    """Return the row of one run; missing values may be left out."""
    settings = record.settings
    return {
        "run_id": record.run_id,
        "config_id": record.config_id,
        "task": record.task,
        "purpose": record.purpose,
        "seed": record.seed,
        "outcome": record.outcome.value if record.outcome else UNFINISHED,
        **{
            name: value if settings.applies(name) else None
            for name, value in settings.values().items()
        },
        **_chosen_metric(record),
        **(_result_columns(record.result) if record.result else {}),
    }


def _chosen_metric(record: RunRecord) -> dict[str, Any]:
    """Return what a run of the user's own program monitors: the metric that chose its epoch."""
    chosen = record.result.provenance.get("select") if record.result else None
    return {"monitor": chosen} if isinstance(chosen, str) and chosen else {}


def runs_table(
    rows: Sequence[Mapping[str, Any]], more: Mapping[str, pa.DataType] = MappingProxyType({})
) -> pa.Table:
    """Put rows of runs into columns; metrics are floats and sizes integers.

    Args:
        rows: as `run_row` makes them, perhaps with private columns.
        more: types of these.
    """
    names = set().union(*rows)
    types = dict(_TYPES)
    for name in sorted(names):
        if "/" in name:
            types[name] = pa.int64() if name.startswith(SIZE) else pa.float64()
    return table_from_rows(rows, {**types, **more})


def history_table(records: Sequence[RunRecord]) -> pa.Table:
    """Return the epochs of these runs, run after run; lines without an epoch are left out."""
    ids: list[str] = []
    lines: list[Mapping[str, Any]] = []
    for record in records:
        whole = [line for line in record.history if type(line.get("epoch")) is int]
        ids += [record.run_id] * len(whole)
        lines += whole
    columns = {
        "run_id": pa.array(ids, pa.string()),
        "epoch": pa.array([line["epoch"] for line in lines], pa.int64()),
    }
    for name in sorted(set().union(*lines) - set(HISTORY_COLUMNS)):
        columns[name] = number_array([line.get(name) for line in lines])
    return pa.table(columns)


def runs_frame(table: pa.Table) -> pd.DataFrame:
    """Return the frame `runs` of a table; the order of columns does not depend on single runs."""
    return frame_from_table(
        table, sorted((name for name in table.column_names if name[:1] != PRIVATE), key=_place)
    )


def epochs_frame(table: pa.Table) -> pd.DataFrame:
    """Return the frame `history` of a table of epochs."""
    metrics = sorted(set(table.column_names) - set(HISTORY_COLUMNS))
    return frame_from_table(table, [*HISTORY_COLUMNS, *metrics])


def empty_history() -> pa.Table:
    """Return a table of epochs without rows."""
    return pa.table({name: pa.array([], kind) for name, kind in _HISTORY_TYPES.items()})


def _place(name: str) -> tuple[int, int, str]:
    """Return the sort key of a column: run columns, settings, metrics, baselines, sizes."""
    if name in RUN_COLUMNS:
        return 0, RUN_COLUMNS.index(name), ""
    if "/" not in name:
        return 1, _setting_places().get(name, len(_setting_places())), name
    if name.startswith(SIZE):
        return 4, 0, name
    return 3 if name.startswith(BASELINE) else 2, 0, name


def _setting_places() -> dict[str, int]:
    places: dict[str, int] = {}
    for task in TASKS.values():
        for name in task.settings.model_fields:
            places.setdefault(name, len(places))
    return places


def _result_columns(result: RunResult) -> dict[str, Any]:
    return {
        "tested_epoch": result.epoch,
        "trained_epochs": result.epochs,
        "seconds": result.seconds,
        **{name: value for name, value in result.metrics.items() if "/" in name},
        **{f"{BASELINE}{name}": value for name, value in result.baselines.items()},
        **{f"{SIZE}{name}": value for name, value in result.sizes.items()},
    }
