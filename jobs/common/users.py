"""Name the people whose jobs and files these are."""

from __future__ import annotations

import os
import pwd
from pathlib import Path


def user_name(uid: int | None = None) -> str:
    """Return the name of a user, the number where it has none; None: who runs this process."""
    number = os.getuid() if uid is None else uid
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def owner_of(path: Path) -> str:
    """Return the name of who owns a file, empty where there is no such file."""
    try:
        return user_name(path.stat().st_uid)
    except OSError:
        return ""
