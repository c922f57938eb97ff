"""`metrics.jsonl`: the record of a run that everything else mirrors."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from anlp.core.files import AppendedFile
from anlp.records.files import write_jsonl


class JsonlTracker:
    """Appends one line per epoch; the operating system has it before `log` returns.

    Args:
        path: rewritten whole with `kept` first, so that lines after the checkpoint that a run
            continues from, and a torn last line, are gone.
        kept: the lines of the epochs that are not repeated.
    """

    def __init__(self, path: Path, kept: Sequence[Mapping[str, Any]] = ()) -> None:
        if kept or path.exists():
            write_jsonl(path, kept)
        # no buffer: a line that a full disk refused must not be tried again on closing
        self._file = AppendedFile(path)

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Append the line of epoch `step`; values that are not finite become null."""
        line = {
            "epoch": step,
            **{name: value if math.isfinite(value) else None for name, value in metrics.items()},
        }
        self._file.write(json.dumps(line).encode() + b"\n")

    def finish(self, outcome: str, summary: Mapping[str, Any]) -> None:
        """Close the file; outcome and final metrics are in `result.json`."""
        del outcome, summary
        self._file.close()
