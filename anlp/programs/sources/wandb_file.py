"""One transaction log of wandb (`run-<id>.wandb`), read while it grows, without wandb.

Format: after a header of 7 bytes the blocks of a LevelDB log, 32 KiB each, with records of type
`Record` of wandb_internal.proto. Field numbers are compared with the installed wandb by
tests/anlp/programs/sources/test_wandb_file.py.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from anlp.programs.sources.wire import Value, double, fields, message_of, signed, text_of, zigzag

HEADER = b":W&B\xe1\xbe\x00"
BLOCK = 32768
RECORD_HEADER = struct.Struct("<IHB")  # checksum, length, kind
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4
CHUNK_BLOCKS = 32  # that are read at once

# Fields of Record and of the messages below it.
HISTORY, SUMMARY, CONFIG, METRIC, RUN, EXIT = 2, 3, 5, 12, 17, 18
ITEM = 1  # of HistoryRecord
UPDATE, REMOVE = 1, 2  # of SummaryRecord and ConfigRecord
KEY, NESTED_KEY, VALUE_JSON = 1, 2, 16  # of an item of any of them
TYPED = {3: "none", 4: "boolean", 5: "integer", 6: "number", 7: "text", 8: "json"}
RUN_ID, RUN_PROJECT, RUN_CONFIG, RUN_SUMMARY = 1, 3, 4, 5
EXIT_CODE = 1
METRIC_GLOB, STEP_METRIC = 2, 4

_SPECIAL = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
Names = tuple[str, ...]


class NotWandbError(ValueError):
    """The file is no transaction log of this format."""


class RecordReader:
    """The records of a log, as far as they are written.

    A torn record at the end is read when it is whole. A damaged one within is left out with the
    rest of its block.
    """

    def __init__(self, path: Path) -> None:
        self.damaged = 0  # blocks
        self._path = path
        self._position = 0  # in the file, of what comes next
        self._parts: list[bytes] = []  # of a record that goes on

    def new_records(self) -> Iterator[bytes]:
        """Yield the records that are whole and were not read before.

        Raises:
            OSError: the file cannot be read.
            NotWandbError: it has another format.
        """
        with self._path.open("rb") as file:
            if self._position == 0 and not self._read_header(file.read(len(HEADER))):
                return
            while True:
                start = self._position - self._position % BLOCK
                file.seek(start)
                content = file.read(CHUNK_BLOCKS * BLOCK)
                before = self._position
                yield from self._records_in(content, start)
                if self._position == before or len(content) < CHUNK_BLOCKS * BLOCK:
                    return

    def _read_header(self, header: bytes) -> bool:
        if header != HEADER[: len(header)]:
            raise NotWandbError(f"{self._path}: not a log of wandb in a known format")
        if len(header) < len(HEADER):
            return False
        self._position = len(HEADER)
        return True

    def _records_in(self, content: bytes, start: int) -> Iterator[bytes]:
        end = start + len(content)
        while True:
            position = self._position - start
            block_end = self._position - self._position % BLOCK + BLOCK
            if block_end - self._position < RECORD_HEADER.size:
                self._position = block_end
                if block_end >= end:
                    return
                continue
            if position + RECORD_HEADER.size > len(content):
                return
            checksum, length, kind = RECORD_HEADER.unpack_from(content, position)
            data_at = position + RECORD_HEADER.size
            is_whole = data_at + length <= len(content) and data_at + length + start <= block_end
            if kind == 0 or not is_whole or _checksum(content, data_at, length) != checksum:
                if block_end > end or (block_end == end and not kind):
                    return  # not written yet
                self.damaged += kind != 0  # zeros fill a block up
                self._parts.clear()
                self._position = block_end
                continue
            self._position = start + data_at + length
            yield from self._take(kind, content[data_at : data_at + length])

    def _take(self, kind: int, data: bytes) -> Iterator[bytes]:
        if kind in (FULL, FIRST):
            self._parts = [data]
        elif self._parts:
            self._parts.append(data)
        if kind in (FULL, LAST) and self._parts:
            whole, self._parts = b"".join(self._parts), []
            yield whole


def _checksum(content: bytes, data_at: int, length: int) -> int:
    return zlib.crc32(content[data_at - 1 : data_at + length])  # the kind is part of it


class WandbFile:
    """What one log holds, up to its last whole record."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run_id = path.stem.removeprefix("run-")
        self.project = ""
        self.config: dict[str, Any] = {}
        self._summary: dict[str, Any] = {}
        self.step_metric = ""  # that the program declared for all of its metrics
        self.exit_code: int | None = None  # None: no end was written
        self.error = ""  # why it cannot be read
        self._reader = RecordReader(path)

    @property
    def damaged(self) -> int:
        """Return the number of damaged blocks."""
        return self._reader.damaged

    @property
    def summary(self) -> dict[str, Any]:
        """Return the summary, by names joined with dots."""
        return dict(_flat("", self._summary))

    def new_rows(self) -> Iterator[dict[str, Any]]:
        """Yield the new rows of the history; the rest of the log is in the attributes."""
        self.error = ""
        try:
            for record in self._reader.new_records():
                yield from self._rows_of(record)
        except (OSError, NotWandbError) as error:
            self.error = str(error)

    def _rows_of(self, record: bytes) -> list[dict[str, Any]]:
        try:
            return list(self._apply(record))
        except ValueError:
            self._reader.damaged += 1
            return []

    def _apply(self, record: bytes) -> Iterator[dict[str, Any]]:
        for number, value in fields(record):
            if number == HISTORY:
                yield _row(message_of(value))
            elif number in (SUMMARY, CONFIG):
                self._update(number, message_of(value))
            elif number == RUN:
                self._learn_run(message_of(value))
            elif number == METRIC:
                self._learn_metric(message_of(value))
            elif number == EXIT:
                found = dict(fields(message_of(value)))
                self.exit_code = signed(found.get(EXIT_CODE, 0))

    def _learn_run(self, run: bytes) -> None:
        for number, value in fields(run):
            if number == RUN_ID:
                self.run_id = text_of(value)
            elif number == RUN_PROJECT:
                self.project = text_of(value)
            elif number == RUN_CONFIG:
                self._update(CONFIG, message_of(value))
            elif number == RUN_SUMMARY:
                self._update(SUMMARY, message_of(value))

    def _learn_metric(self, metric: bytes) -> None:
        found = dict(fields(metric))
        if found.get(METRIC_GLOB) == b"*" and STEP_METRIC in found:
            self.step_metric = text_of(found[STEP_METRIC])

    def _update(self, which: int, message: bytes) -> None:
        for number, value in fields(message):
            if number not in (UPDATE, REMOVE):
                continue
            if which == CONFIG:  # in which 64 is no 64.0
                names, found = _item(message_of(value), json.loads)
                _put_nested(self.config, names, found, remove=number == REMOVE)
            else:
                names, found = _item(message_of(value), parse_value)
                _put_nested(self._summary, names, found, remove=number == REMOVE)


def _row(history: bytes) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for number, value in fields(history):
        if number == ITEM:
            names, content = _item(message_of(value), parse_value)
            if isinstance(content, dict):
                found.update(_flat(".".join((*names, "")), content))
            else:
                found[".".join(names)] = content
    return found


def _flat(prefix: str, tree: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(f"{prefix}{name}.", value)
        else:
            yield f"{prefix}{name}", value


def _item(item: bytes, parse: Callable[[bytes], Any]) -> tuple[Names, Any]:
    key, value, has_json = "", None, False
    nested: list[str] = []
    for number, content in fields(item):
        if number == KEY:
            key = text_of(content)
        elif number == NESTED_KEY:
            nested.append(text_of(content))
        elif number == VALUE_JSON and content:
            value, has_json = parse(message_of(content)), True
        elif number in TYPED and not has_json:
            value = _typed(TYPED[number], content)
    return tuple(nested) or (key,), value


def parse_value(text: bytes) -> Any:
    """Return a value of wandb's JSON, in which NaN may be text.

    >>> parse_value(b'"NaN"'), parse_value(b"0.5"), parse_value(b'"text"')
    (nan, 0.5, 'text')
    """
    try:
        return float(text)  # most values are numbers
    except ValueError:
        value = json.loads(text)
        return _SPECIAL.get(value, value) if isinstance(value, str) else value


def _typed(kind: str, content: Value) -> Any:
    if kind == "boolean":
        return bool(content)
    if kind == "integer":
        return zigzag(content)
    if kind == "number":
        return double(content)
    if kind == "text":
        return text_of(content)
    return parse_value(message_of(content)) if kind == "json" else None


def _put_nested(tree: dict[str, Any], names: Names, value: Any, *, remove: bool) -> None:
    for name in names[:-1]:
        below = tree.get(name)
        if not isinstance(below, dict):
            below = tree[name] = {}
        tree = below
    if remove:
        tree.pop(names[-1], None)
    else:
        tree[names[-1]] = value
