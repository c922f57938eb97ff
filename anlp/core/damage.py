"""Collect the files that a command left out because they are damaged, to say so once at its end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

MOST_FILES = 10_000  # that are kept: a process may look at grids for weeks


@dataclass(frozen=True, slots=True)
class _Damage:
    why: str
    lines: int  # that were left out; 0: the whole file


_found: dict[Path, _Damage] = {}


def note_damage(path: Path, why: str, *, lines: int = 0) -> None:
    """Note that a file, or some of its lines, are left out; a later note on it replaces this one.

    Args:
        path: the file.
        why: what is wrong, of several lines with the first.
        lines: how many lines are left out; 0: the whole file.
    """
    if len(_found) < MOST_FILES or path in _found:
        _found[path] = _Damage(why, lines)


def take_damage(path: Path) -> str:
    """Return why a file was left out, for a caller that says so itself; empty where it was not."""
    found = _found.pop(path, None)
    return "" if found is None else found.why


def forget_damage() -> None:
    """Begin anew, as each command does."""
    _found.clear()


def render_damage() -> str:
    """Return one line on all that was left out, naming the first file; empty where nothing was."""
    if not _found:
        return ""
    path, first = next(iter(_found.items()))
    what = "1 damaged file" if len(_found) == 1 else f"{len(_found):,} damaged files"
    lines = sum(damage.lines for damage in _found.values())
    if lines and all(damage.lines for damage in _found.values()):
        what = f"{lines:,} damaged line{'' if lines == 1 else 's'}"
        if len(_found) > 1:
            what += f" of {len(_found):,} files"
    others = "the first: " if len(_found) > 1 or lines > 1 else ""
    return f"left out {what}: {others}{path}: {first.why}"


def describe_fault(error: Exception) -> str:
    """Say in one line what is wrong with content, from the exception that refused it."""
    if type(error) is KeyError:
        return f"the key {error} is missing"
    return str(error).partition("\n")[0][:200] or type(error).__name__
