"""Standard streams that are not as a program expects them: closed from the start, or with nobody left who reads."""

from __future__ import annotations

import io
import os
import select
import sys
from pathlib import Path

STREAMS = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))


def open_closed() -> None:
    """Gives streams that were closed (`>&-`) to /dev/null: otherwise the next file that is opened takes their place."""
    for name, mode in STREAMS:
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115 - as long as the process


def outlive_reader() -> None:
    """From now on what is printed while nobody reads it is dropped, and what is being done goes on."""
    stream = sys.__stdout__
    if stream is not None and sys.stdout is stream and not stream.isatty():
        stream.flush()
        raw = _Dropping(stream.fileno(), "w", closefd=False)
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(raw), encoding=stream.encoding, errors=stream.errors
        )


def drop_unread() -> bool:
    """Tell whether stdout or stderr is a pipe that nobody reads any more; what is left of their output is then dropped."""
    lost = [
        stream
        for stream in (sys.stdout, sys.stderr)
        if stream is not None and _has_no_reader(stream)
    ]
    for stream in lost:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return bool(lost)


class _Dropping(io.FileIO):
    def write(self, data: bytes, /) -> int | None:  # type: ignore[override]  # any buffer, as the class says itself
        try:
            return super().write(data)
        except BrokenPipeError:
            return len(data)


def _has_no_reader(stream: object) -> bool:
    descriptor = _descriptor(stream)
    if descriptor is None:
        return False
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _descriptor(stream: object) -> int | None:
    """Return its number, None for a stream that a test or a notebook has put there."""
    try:
        return int(stream.fileno())  # type: ignore[attr-defined]  # what has none says so
    except (AttributeError, OSError, ValueError):
        return None
