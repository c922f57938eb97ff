"""Reads what wandb 0.31 writes in mode offline: LevelDB log framing around
`wandb_internal_pb2.Record`.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2

BLOCK = 32768
HEADER = 7
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


@dataclass
class OfflineRun:
    """One `.wandb` file, up to the last record that was written whole."""

    run_id: str = ""
    name: str = ""
    group: str = ""
    job_type: str = ""
    tags: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    exit_code: int | None = None  # None: no end was written

    @property
    def steps(self) -> list[int]:
        """The step of each row."""
        return [row["_step"] for row in self.history]


def read_offline(path: Path) -> OfflineRun:
    """The run in one `run-<id>.wandb` file."""
    found = OfflineRun()
    for content in records(path.read_bytes()):
        record = wandb_internal_pb2.Record.FromString(content)  # type: ignore[attr-defined]  # made at import
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run = record.run
            found.run_id, found.name, found.group = run.run_id, run.display_name, run.run_group
            found.job_type, found.tags = run.job_type, list(run.tags)
            found.config |= values(run.config.update)
        elif kind == "history":
            found.history.append(values(record.history.item))
        elif kind == "summary":
            found.summary |= values(record.summary.update)
        elif kind == "exit":
            found.exit_code = record.exit.exit_code
    return found


def values(items: Any) -> dict[str, Any]:
    """Names and values of the items of a record."""
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}


def records(content: bytes) -> Iterator[bytes]:
    """The whole records of a log; a torn tail is left out."""
    position, parts = HEADER, b""
    while position + HEADER <= len(content):
        left = BLOCK - position % BLOCK
        checksum, length, kind = struct.unpack_from("<IHB", content, position)
        if left < HEADER or kind == 0:  # padding up to the next block
            position += left
            continue
        end = position + HEADER + length
        if end > len(content):
            return
        assert zlib.crc32(content[position + HEADER - 1 : end]) == checksum, (
            f"bad checksum at {position}"
        )
        parts += content[position + HEADER : end]
        position = end
        if kind in (FULL, LAST):
            yield parts
            parts = b""
