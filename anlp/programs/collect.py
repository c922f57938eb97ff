"""What a program logs becomes `metrics.jsonl`, live, under the names of the suite's metrics."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from anlp.core.metrics import metric_name
from anlp.programs.environment import ProgramRun
from anlp.programs.sources.collect import Collector
from anlp.records.files import append_jsonl, write_jsonl
from anlp.records.logged import EPOCH

WANDB = "wandb"


class ProgramLog:
    """What the program of one run has logged so far.

    Args:
        run: the run; `metrics.jsonl` in its folder follows.
    """

    def __init__(self, run: ProgramRun) -> None:
        self.rows: list[dict[str, float]] = []
        self.summary: dict[str, float] = {}
        self.notes: list[str] = []
        self.source = ""
        self._run = run
        self._collector = Collector(
            wandb_folders=[run.folder.wandb],
            run_id=run.spec.run_id,
            metrics=run.folder.logged,
            events=run.folder.files,
        )

    @property
    def is_wandb(self) -> bool:
        """Return whether the program logs to wandb itself."""
        return self.source == WANDB

    def refresh(self) -> None:
        """Read what is new, and write it to `metrics.jsonl`."""
        changed = self._collector.look()
        if changed is not None:
            self._write([_renamed(row) for row in self._collector.rows()], changed)

    def finish(self, last_stdout: str) -> None:
        """Read the rest, when the program has ended."""
        found = self._collector.finish(last_stdout)
        self._write([_renamed(row) for row in found.rows], 0)
        self.source = found.source
        self.summary = _renamed(found.summary)
        self.notes = [*found.notes, *self._contradictions(found.config)]

    def _write(self, rows: list[dict[str, float]], changed: int) -> None:
        """Append to `metrics.jsonl`, or write it anew where an earlier row has changed."""
        path = self._run.folder.metrics
        known = len(self.rows)
        is_longer = known > 0 and rows[:known] == self.rows and changed > self.rows[-1][EPOCH]
        if is_longer and path.exists():
            append_jsonl(path, rows[known:])
        elif rows != self.rows:
            write_jsonl(path, rows)
        self.rows = rows

    def _contradictions(self, config: Mapping[str, Any]) -> list[str]:
        """Return sentences on settings that the program's own config of wandb has otherwise."""
        found = []
        for name, value in self._run.spec.settings.values().items():
            if name in config and not _is_same(config[name], value):
                found.append(f"wandb's config says {name}={config[name]!r}, the grid {value!r}")
        return found


def _renamed(row: Mapping[str, Any]) -> dict[str, float]:
    """Return a row under the suite's names; of two names that become one, the first counts."""
    found: dict[str, float] = {}
    for name, value in row.items():
        found.setdefault(name if name == EPOCH else metric_name(name), value)
    return found


def _is_same(told: Any, value: Any) -> bool:
    """Tell whether a value of wandb's config is that of a setting; 1 and 1.0 are the same."""
    if isinstance(told, bool) or isinstance(value, bool):
        return told is value
    if isinstance(told, int | float) and isinstance(value, int | float):
        return math.isclose(told, value, rel_tol=1e-12)
    return json.dumps(told, default=str) == json.dumps(value)
