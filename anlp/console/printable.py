"""Make foreign text safe to print: a log or a message must not steer the terminal."""

from __future__ import annotations

import re

# CSI, then OSC and other strings up to their end, then the short ones
_ESCAPE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-Z\\^-~]?"
)
_COLOUR = re.compile(r"\x1b\[[0-9;:]*m")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
RESET = "\x1b[0m"


def plain(text: str) -> str:
    r"""Return a text without escape sequences, with a blank for any other control character.

    Line breaks stay.

    >>> plain("a\x1b[31mb\x1b]0;title\x07c\td")
    'abc d'
    """
    return _CONTROL.sub(" ", _ESCAPE.sub("", text))


def only_colours(text: str) -> str:
    r"""Return a line without escape sequences but colours, which end with the line.

    >>> only_colours("\x1b[31mred\x1b[2J")
    '\x1b[31mred\x1b[0m'
    """
    if "\x1b" not in text and not _CONTROL.search(text):
        return text
    parts = []
    at = 0
    for colour in _COLOUR.finditer(text):
        parts += [plain(text[at : colour.start()]), colour[0]]
        at = colour.end()
    parts.append(plain(text[at:]))
    return "".join(parts) + (RESET if at and not text.endswith(RESET) else "")
