"""Look at other processes of this host."""

from __future__ import annotations

from pathlib import Path


def is_stopped(pid: int) -> bool:
    """Return whether a process of this host is stopped, as by Ctrl-Z: it goes on when told to."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes().decode(errors="replace")
    except OSError:
        return False
    # the command name before may hold blanks and parentheses
    return text.rpartition(")")[2].split()[:1] in (["T"], ["t"])
