"""Collects what a program logs while it runs: from the first of its sources that has anything."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

from anlp.core.metrics import metric_name
from anlp.records.files import read_jsonl
from anlp.records.folders import RunFolder


class Collector:
    """What the program of one run has logged so far.

    Args:
        folder: the run's; `metrics.jsonl` in it follows what is logged.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.rows: Sequence[dict[str, float]] = ()
        self.summary: dict[str, float] = {}
        self.notes: list[str] = []
        self.source = "nothing"
        self.is_wandb = False
        self._folder = folder

    def refresh(self) -> None:
        rows = []
        for index, line in enumerate(read_jsonl(self._folder.logged)):
            row = {
                metric_name(k): float(v)
                for k, v in line.items()
                if isinstance(v, int | float) and k not in ("epoch", "step")
            }
            rows.append({"epoch": int(line.get("epoch", index)), **row})
        if rows != list(self.rows):
            self.rows = rows
            self._folder.metrics.write_text(
                "".join(
                    json.dumps({k: v if math.isfinite(v) else None for k, v in row.items()}) + "\n"
                    for row in rows
                )
            )

    def finish(self, last_stdout: str) -> None:
        self.refresh()
