"""Standard streams: closed from the start, without a reader, of any encoding and any terminal."""

from __future__ import annotations

import codecs
import io
import os
import select
import shutil
import sys
from pathlib import Path
from typing import TextIO

STREAMS = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))
PLAIN = "anlp-plain"  # the name of `_spell_plainly` as an error handler
LEAST_WIDTH = 20  # columns; on a narrower terminal lines are broken

# How characters are written where the encoding of the output has not got them.
_SPELLINGS = str.maketrans(
    {
        **dict.fromkeys("…", "..."),
        **dict.fromkeys("±", "+-"),
        **dict.fromkeys("†╭╮╰╯┌┐└┘├┤┼", "+"),
        **dict.fromkeys("–—−─━╸╺╌", "-"),
        **dict.fromkeys("│┃", "|"),
        **dict.fromkeys("“”„", '"'),
        **dict.fromkeys("‘’", "'"),
        "²": "2",
        "·": ".",
        "•": "*",
        "×": "x",
        "ρ": "rho",
        "→": "->",
        "↗": "/",
        "↘": "\\",
        "✓": "v",
        "✗": "x",
        "≈": "~",
        "∪": "u",
        "≤": "<=",
        "≥": ">=",
        "▬": "=",
        "\u00a0": " ",
    }
)


def write_anything() -> None:
    """Let stdout and stderr take every text, in any encoding: a letter is not worth a fault."""
    codecs.register_error(PLAIN, _spell_plainly)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=PLAIN)


def _spell_plainly(error: UnicodeError) -> tuple[str | bytes, int]:
    """Spell characters that the encoding has not got in ASCII, unknown ones as `?`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(_SPELLINGS)
    return text.encode("ascii", "replace"), error.end


def can_redraw(stream: TextIO) -> bool:
    """Tell whether a stream is a terminal that knows escape sequences."""
    return stream.isatty() and os.environ.get("TERM", "dumb") not in ("", "dumb", "unknown")


def terminal_width() -> int:
    """Return the columns of the terminal, or `COLUMNS`; 20 at least, 80 where neither is known."""
    return max(LEAST_WIDTH, shutil.get_terminal_size().columns)


def open_closed() -> None:
    """Open streams that were closed (`>&-`) on /dev/null.

    Otherwise the next file that is opened takes their descriptor.
    """
    for name, mode in STREAMS:
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115 - as long as the process


def outlive_reader() -> None:
    """Drop output that has lost its reader from now on, instead of failing; write line by line.

    A plan is then in the output before the progress that follows it on stderr.
    """
    stream = sys.__stdout__
    if stream is not None and sys.stdout is stream and not stream.isatty():
        stream.flush()
        raw = _Dropping(stream.fileno(), "w", closefd=False)
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(raw),
            encoding=stream.encoding,
            errors=stream.errors,
            line_buffering=True,
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
