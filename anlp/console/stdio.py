"""Standard streams that are closed from the start, or that lose their reader."""

from __future__ import annotations

import io
import os
import select
import sys
from pathlib import Path

STREAMS = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))


def open_closed() -> None:
    """Open streams that were closed (`>&-`) on /dev/null.

    Otherwise the next file that is opened takes their descriptor.
    """
    for name, mode in STREAMS:
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115 - as long as the process


def outlive_reader() -> None:
    """Drop output that has lost its reader from now on, instead of failing."""
    stream = sys.__stdout__
    if stream is not None and sys.stdout is stream and not stream.isatty():
        stream.flush()
        raw = _Dropping(stream.fileno(), "w", closefd=False)
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(raw), encoding=stream.encoding, errors=stream.errors
        )


def drop_unread() -> bool:
    """Drop the output of stdout or stderr that has lost its reader; tell whether there was any."""
    lost = [
        stream
        for stream in (sys.stdout, sys.stderr)
        if stream is not None and _has_no_reader(stream)
    ]
    for stream in lost:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return bool(lost)


class _Dropping(io.FileIO):
    def write(self, data: bytes, /) -> int | None:  # type: ignore[override]  # any buffer, as for FileIO
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
    """Return a stream's descriptor, None for the stream of a test or a notebook."""
    try:
        return int(stream.fileno())  # type: ignore[attr-defined]  # caught below
    except (AttributeError, OSError, ValueError):
        return None
