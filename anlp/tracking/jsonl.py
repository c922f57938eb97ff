"""`metrics.jsonl`: the record of a run that everything else mirrors."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from anlp.record import write_jsonl


class JsonlTracker:
    """Appends one line per epoch, each flushed to the system before `log` returns.

    Args:
        path: rewritten whole with `kept` first, so that lines after the checkpoint that a run continues from, and a
            torn last line, are gone.
        kept: the lines of the epochs that are not repeated.
    """

    def __init__(self, path: Path, kept: Sequence[Mapping[str, Any]] = ()) -> None:
        write_jsonl(path, kept)
        self._file = path.open("a", encoding="utf-8")

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Appends the line of epoch `step`; values that are not finite become null."""
        line = {"epoch": step, **{name: value if math.isfinite(value) else None for name, value in metrics.items()}}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def finish(self, outcome: str) -> None:
        """Closes the file; the outcome is in `result.json`."""
        del outcome
        self._file.close()
