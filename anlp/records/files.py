"""Read and write JSON files and JSON lines."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from anlp.core.files import append_whole, write_whole


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Read the lines of a `metrics.jsonl`; a torn last line is dropped, a missing file has none."""
    try:
        content = path.read_bytes()
        whole = content[: content.rfind(b"\n")] if b"\n" in content else b""
        # all lines at once take half the time
        rows = json.loads(
            b"["
            + whole.replace(
                b"\
",
                b",",
            )
            + b"]"
        )
        if len(rows) == content.count(b"\n") and all(type(row) is dict for row in rows):
            return list(rows)
    except (OSError, ValueError):
        pass  # missing, or a line in the middle is damaged: one by one
    return list(read_jsonl(path))


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSON-lines file.

    Torn or damaged lines are skipped; a missing file has none.

    Raises:
        OSError: the file is there and cannot be read.
    """
    return (form for _, form in read_numbered_jsonl(path))


def read_numbered_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the objects of a JSON-lines file with the number of their line, from 0."""
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines):
                if not line.endswith(b"\n"):
                    return
                try:
                    found = json.loads(line)
                except ValueError:
                    continue
                if isinstance(found, dict):
                    yield number, found
    except (FileNotFoundError, NotADirectoryError):
        return


def read_json(path: Path) -> dict[str, Any] | None:
    """Read the object in a JSON file, None where there is none."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


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
