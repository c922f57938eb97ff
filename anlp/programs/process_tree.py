"""The processes below one process, from /proc, and the calls of Linux that keep them together."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Let processes below this one become its children when their own parent ends."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent() -> None:
    """Let the kernel kill this process when its parent ends; it lasts through `exec`."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    with contextlib.suppress(AttributeError, OSError):  # not on Linux: the group alone is ended
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def descendants_of(pid: int) -> list[int]:
    """Return the living processes below `pid`, in no particular order; empty without /proc."""
    children: dict[int, list[int]] = defaultdict(list)
    for name in _names_in_proc():
        parent = _parent_of(name)
        if parent is not None:
            children[parent].append(int(name))
    found: list[int] = []
    waiting = [pid]
    while waiting:
        below = children.pop(waiting.pop(), [])
        found += below
        waiting += below
    return found


def group_below(leader: int) -> list[int]:
    """Return the living processes of a group, without its leader."""
    found = []
    for pid in descendants_of(leader):
        with contextlib.suppress(ProcessLookupError):
            if os.getpgid(pid) == leader:
                found.append(pid)
    return found


def name_of(pid: int) -> str:
    """Return the name of a process, as `ps -o comm` shows it; empty where it is gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def send(number: int, pids: Iterable[int]) -> None:
    """Send a signal to processes; those that are gone or another user's are left out."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def send_to_group(number: int, group: int) -> None:
    """Send a signal to a process group, which may be gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _names_in_proc() -> list[str]:
    try:
        return [name for name in os.listdir("/proc") if name.isdecimal()]
    except OSError:
        return []


def _parent_of(name: str) -> int | None:
    """Return the parent of a process, None where it is gone or a zombie."""
    try:
        content = Path(f"/proc/{name}/stat").read_bytes()
    except OSError:
        return None
    # the name of the program is in parentheses and may contain anything
    state, parent = content[content.rfind(b")") + 1 :].split(None, 2)[:2]
    return None if state in (b"Z", b"X") else int(parent)
