"""Read and write JSON files and JSON lines."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from anlp.core.damage import describe_fault, note_damage
from anlp.core.files import append_whole, write_whole
from anlp.core.json_text import parse_flat_json, parse_json

Parsed = TypeVar("Parsed")
MOST_EPOCHS = 10_000_000  # more is no epoch but a damaged number


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Read the lines of a `metrics.jsonl`; a torn last line is dropped, a missing file has none."""
    try:
        content = path.read_bytes()
    except OSError:
        return []
    rows = _read_flat(content)
    if rows is not None and all(_is_epoch(row.get("epoch", 0)) for row in rows):
        return rows
    return [row for _, row in parse_jsonl(path, _parse_epoch)]  # a line is damaged: one by one


def _read_flat(content: bytes) -> list[dict[str, Any]] | None:
    """Return lines of numbers, all parsed at once in half the time; None where there are others.

    Without brackets and backslashes, and with two quotes for each key, all values are numbers.
    """
    whole = content[: content.rfind(b"\n")] if b"\n" in content else b""
    is_flat = b"[" not in whole and whole.count(b"{") == content.count(b"\n")
    if not is_flat or b"\\" in whole or whole.count(b'"') != 2 * whole.count(b'":'):
        return None
    try:
        rows = parse_flat_json(b"[" + whole.replace(b"\n", b",") + b"]")
    except ValueError:
        return None
    is_whole = len(rows) == content.count(b"\n") and all(type(row) is dict for row in rows)
    return list(rows) if is_whole else None


def _parse_epoch(row: dict[str, Any]) -> dict[str, Any]:
    """Return a line of metrics; what is no number in it counts as missing.

    Raises:
        ValueError: its epoch can be none.
    """
    if not _is_epoch(row.get("epoch", 0)):
        raise ValueError(f"epoch: expected a number, got {row['epoch']!r:.60}")
    return {name: value if isinstance(value, int | float) else None for name, value in row.items()}


def _is_epoch(value: Any) -> bool:
    """Return whether a chart can have this epoch; a torn number may be anything."""
    return type(value) is int and 0 <= value <= MOST_EPOCHS


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSON-lines file.

    Torn lines are skipped; damaged lines are, too, and are noted; a missing file has none.

    Raises:
        OSError: the file is there and cannot be read.
    """
    return (form for _, form in read_numbered_jsonl(path))


def read_numbered_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the objects of a JSON-lines file with the number of their line, from 0."""
    return parse_jsonl(path, lambda form: form)


def parse_jsonl(
    path: Path, parse: Callable[[dict[str, Any]], Parsed]
) -> Iterator[tuple[int, Parsed]]:
    """Yield what `parse` makes of each object of a JSON-lines file, with the number of its line.

    Lines that `parse` refuses are skipped and noted, as all damaged ones are.

    Args:
        path: the file; a missing one has no lines.
        parse: raises AttributeError, KeyError, TypeError or ValueError for what it cannot use.

    Raises:
        OSError: the file is there and cannot be read.
    """
    damaged, first = 0, ""
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines):
                if not line.endswith(b"\n"):
                    break
                try:
                    found = parse(_parse_table(line))
                except (AttributeError, KeyError, TypeError, ValueError) as error:
                    if not _is_torn(line):
                        damaged += 1
                        first = first or f"line {number + 1}: {describe_fault(error)}"
                    continue
                yield number, found
    except (FileNotFoundError, NotADirectoryError):
        return
    if damaged:
        note_damage(path, first, lines=damaged)


def _is_torn(line: bytes) -> bool:
    """Return whether a writer was killed within this line, which then counts as never written."""
    text = line.strip()
    return not text or (text.startswith(b"{") and not text.endswith(b"}"))


def read_json(path: Path) -> dict[str, Any] | None:
    """Read the object in a JSON file; None where there is none.

    A damaged one counts as none and is noted.
    """
    try:
        content = path.read_bytes()
    except OSError:
        return None
    try:
        return _parse_table(content)
    except ValueError as error:
        note_damage(path, describe_fault(error))
        return None


def _parse_table(content: bytes) -> dict[str, Any]:
    """Return the object of a JSON text; raises ValueError where it is none."""
    found = parse_json(content)
    if isinstance(found, dict):
        return found
    raise ValueError(f"expected a table, got {found!r:.60}")


def write_json(path: Path, form: Mapping[str, Any]) -> None:
    """Write an object as JSON, by rename; return after it is on disk."""
    write_whole(path, (json.dumps(without_nan(form), indent=1) + "\n").encode())


def write_jsonl(path: Path, forms: Iterable[Mapping[str, Any]]) -> None:
    """Write one object per line, by rename; return after it is on disk."""
    write_whole(path, b"".join(json.dumps(without_nan(form)).encode() + b"\n" for form in forms))


def append_jsonl(path: Path, forms: Iterable[Mapping[str, Any]]) -> None:
    """Append one object per line, in one write.

    Raises:
        UnwritableError: the file cannot be written.
    """
    content = b"".join(json.dumps(without_nan(form)).encode() + b"\n" for form in forms)
    append_whole(path, content)


def without_nan(value: Any) -> Any:
    """Return a value with null in place of NaN and infinity, which JSON has not."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    return value
