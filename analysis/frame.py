"""Run records as tidy pandas frames, and which of their columns are what.

`runs` has one row per run:

| column | content |
|---|---|
| `run_id`, `config_id`, `task`, `purpose`, `seed` | runs with one `config_id` are seeds of one configuration |
| `outcome` | `ok`, `diverged`, `failed`, `unfinished` |
| `tested_epoch`, `trained_epochs`, `seconds` | from the result; missing while there is none |
| a setting, e.g. `lr` | missing where it has no effect (`filters` of a dense network) |
| a metric, e.g. `test/acc` | at the tested epoch; accuracies in [0, 1]; its name has a slash, a setting's has none |
| `baseline/random`, `baseline/majority` | in `test/acc`, of the run's data |
| `size/train`, `size/val`, `size/test` | samples |

`history` has one row per run and epoch: `run_id` and what `metrics.jsonl` says, `epoch` among it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from anlp.record import RunRecord, RunResult

RUN_COLUMNS = (
    *("run_id", "config_id", "task", "purpose", "seed", "outcome"),
    *("tested_epoch", "trained_epochs", "seconds"),
)
UNFINISHED = "unfinished"
BASELINE = "baseline/"
SIZE = "size/"


def frame(records: Iterable[RunRecord]) -> pd.DataFrame:
    """One row per run, see above; the columns of `RUN_COLUMNS` exist even when there are no runs."""
    rows = [_row(record) for record in records]
    return pd.DataFrame(rows, columns=None if rows else list(RUN_COLUMNS))


def history_frame(records: Iterable[RunRecord]) -> pd.DataFrame:
    """One row per run and epoch; the columns `run_id` and `epoch` exist even when there are none."""
    rows = [{"run_id": record.run_id, **line} for record in records for line in record.history]
    return pd.DataFrame(rows, columns=None if rows else ["run_id", "epoch"])


def setting_columns(runs: pd.DataFrame) -> list[str]:
    """The settings among the columns, in the order of the settings class."""
    return [str(name) for name in runs.columns if name not in RUN_COLUMNS and "/" not in str(name)]


def metric_columns(runs: pd.DataFrame) -> list[str]:
    """The metrics among the columns."""
    return [str(name) for name in runs.columns if "/" in str(name) and not str(name).startswith((BASELINE, SIZE))]


def varying_settings(runs: pd.DataFrame) -> list[str]:
    """The settings with more than one value, `task` among them where a folder holds several."""
    return [name for name in ("task", *setting_columns(runs)) if name in runs and runs[name].nunique() > 1]


def fields(row: Mapping[str, Any]) -> dict[str, Any]:
    """What a filter can name of a run: settings, seed, metrics, id, state and purpose; only what it has."""
    present = {name: value for name, value in row.items() if not _is_missing(value)}
    state = "done" if row["outcome"] == "ok" else row["outcome"]
    return {**present, "id": row["run_id"], "state": state}


def _row(record: RunRecord) -> dict[str, Any]:
    settings = record.settings
    return {
        "run_id": record.run_id,
        "config_id": record.config_id,
        "task": record.task,
        "purpose": record.purpose,
        "seed": record.seed,
        "outcome": record.outcome.value if record.outcome else UNFINISHED,
        **{name: value if settings.applies(name) else None for name, value in settings.values().items()},
        **(_result_columns(record.result) if record.result else {}),
    }


def _result_columns(result: RunResult) -> dict[str, Any]:
    return {
        "tested_epoch": result.epoch,
        "trained_epochs": result.epochs,
        "seconds": result.seconds,
        **{name: value for name, value in result.metrics.items() if "/" in name},
        **{f"{BASELINE}{name}": value for name, value in result.baselines.items()},
        **{f"{SIZE}{name}": value for name, value in result.sizes.items()},
    }


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
