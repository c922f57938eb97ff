"""Redirects all output of a process, down to its native code, into a file."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import sys
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def output_to(path: Path) -> Iterator[None]:
    """Append stdout and stderr to `path` while the context lasts, with tracebacks of crashes."""
    sys.stdout.flush()
    sys.stderr.flush()
    with path.open("a", encoding="utf-8", buffering=1) as file, _descriptors_to(file.fileno()):
        was_enabled = faulthandler.is_enabled()
        faulthandler.enable(file)
        try:
            with contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
                yield
        finally:
            faulthandler.disable()
            if was_enabled:
                faulthandler.enable(sys.__stderr__ or 2)


@contextlib.contextmanager
def _descriptors_to(target: int) -> Iterator[None]:
    """Point descriptors 1 and 2 at `target` while the context lasts."""
    saved = {number: os.dup(number) for number in (1, 2)}
    for number in saved:
        os.dup2(target, number)
    try:
        yield
    finally:
        for number, copy in saved.items():
            os.dup2(copy, number)
            os.close(copy)
