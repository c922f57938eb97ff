"""Read and write JSON files and JSON lines; files are replaced whole, so that readers never see half of one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from anlp.core.files import write_whole


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a `metrics.jsonl`; a torn last line is dropped, a missing file has none."""
    try:
        content = path.read_bytes()
        whole = content[: content.rfind(b"\n")] if b"\n" in content else b""
        rows = json.loads(
            b"[" + whole.replace(b"\n", b",") + b"]"
        )  # all lines at once: half the time
        if len(rows) == content.count(b"\n") and all(type(row) is dict for row in rows):
            return list(rows)
    except (OSError, ValueError):
        pass  # missing, or a line in the middle is damaged: one by one
    return list(read_jsonl(path))


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSON-lines file; lines that were not written whole are left out, a missing file has none.

    Raises:
        OSError: the file is there and cannot be read; what it says is not known, which is not
            nothing.
    """
    return (form for _, form in read_numbered_jsonl(path))


def read_numbered_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The same with the number of each line, from 0; lines that are left out count."""
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
    """Return the object in a JSON file, None where there is none."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def write_json(path: Path, form: Mapping[str, Any]) -> None:
    """Writes by rename and returns after it is on disk: a reader sees the old file or the new one, never half."""
    write_whole(path, (json.dumps(without_nan(form), indent=1) + "\n").encode())


def write_jsonl(path: Path, forms: Iterable[Mapping[str, Any]]) -> None:
    """Like `write_json`, one object per line."""
    write_whole(path, b"".join(json.dumps(without_nan(form)).encode() + b"\n" for form in forms))


def without_nan(value: Any) -> Any:
    """Return JSON has no NaN: null stands for it."""
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    if isinstance(value, Mapping):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    return value
