"""Redirects all output of a process, down to its native code, into a file."""

from __future__ import annotations

import contextlib
import faulthandler
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import cast

from anlp.core.files import AppendedFile, UnwritableError


@contextlib.contextmanager
def output_to(path: Path) -> Iterator[None]:
    """Append stdout and stderr to `path` while the context lasts, with tracebacks of crashes.

    Raises:
        UnwritableError: the file cannot be opened; within, a line could not be written.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    with _open_log(path) as file, _descriptors_to(file.fileno()):
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
def _open_log(path: Path) -> Iterator[io.TextIOWrapper]:
    """Open a stream that writes line by line; an unfinished last one that fails is no fault.

    Nothing is kept that a full disk refused: it would be tried again with each line.
    """
    raw = cast("io.BufferedWriter", AppendedFile(path))
    file = io.TextIOWrapper(raw, "utf-8", "backslashreplace", line_buffering=True)
    try:
        yield file
    finally:
        with contextlib.suppress(UnwritableError):
            file.close()


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
