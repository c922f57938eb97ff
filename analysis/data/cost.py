"""What the runs of a report used, from the provenance of their results and from their leases."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anlp.core import lease
from anlp.records.accounting import usage_up_to
from anlp.records.cost import RunUsage, usage_of_result
from anlp.records.folders import RunFolder

if TYPE_CHECKING:
    import pandas as pd

PROGRAMS = (
    "anlp",
    "python",
    "torch",
    "wandb",
    "scikit-learn",
    "xgboost",
)  # whose versions results name


def parse_provenance(texts: Iterable[str | None]) -> list[Mapping[str, Any]]:
    """Return the provenance of each run; empty where there is none."""
    found = [json.loads(text) if text else {} for text in texts]
    return [form if isinstance(form, dict) else {} for form in found]


def read_usages(
    runs: pd.DataFrame, origins: Sequence[Mapping[str, Any]], folder: Path
) -> list[RunUsage]:
    """Return what each run used; a run that never began, or goes on, has no attempts.

    Args:
        runs: the frame of runs.
        origins: the provenance of each, as `parse_provenance` gives it.
        folder: of the grid; where the runs come from wandb, it has none of them.
    """
    known = origins or [{}] * len(runs)  # frames that did not come from `load` have none
    return list(_usages(runs, known, folder))


def _usages(
    runs: pd.DataFrame, origins: Sequence[Mapping[str, Any]], folder: Path
) -> Iterator[RunUsage]:
    took = runs["seconds"] if "seconds" in runs else [math.nan] * len(runs)
    rows = zip(runs["run_id"], runs["outcome"], took, origins, strict=True)
    for run_id, outcome, seconds, origin in rows:
        has_seconds = not math.isnan(seconds)
        if origin or has_seconds:  # there is a result
            known = float(seconds) if has_seconds else 0.0
            yield usage_of_result(origin, known, failed=outcome == "failed")
        else:
            latest = lease.read_latest(RunFolder(folder / run_id).attempts)
            if latest is None or latest.is_alive():
                yield RunUsage([])
            else:
                yield RunUsage(usage_up_to(latest))
