"""The debug log on stderr: each external command and request, its time and its answer.

`-v` or `ANLP_DEBUG=1` turns it on. There is one handler; modules log to loggers below `anlp`.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping

VARIABLE = "ANLP_DEBUG"
ROOT = "anlp"
OFF = ("", "0")
LEAST_SECRET = 6  # characters: hiding shorter values would garble ordinary words
MOST_TEXT = 2_000  # characters of an answer that are shown
_SECRET_NAMES = re.compile(r"key|token|password|passwd|secret", re.IGNORECASE)
_SECRET_TEXT = re.compile(
    r"((?:api[_-]?key|token|password|passwd|secret)[\"']?\s*[=:]\s*)[\"']?[^\s\"',]+", re.IGNORECASE
)


class _HideSecrets(logging.Filter):
    """Replaces secrets in a message, wherever they come from."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = hide_secrets(record.getMessage(), os.environ), ()
        return True


def hide_secrets(text: str, environ: Mapping[str, str]) -> str:
    """Replace the values of secret variables and of settings such as `api_key=…` by `***`.

    >>> hide_secrets("curl -u me:hunter22 --token=abc", {"WANDB_API_KEY": "hunter22"})
    'curl -u me:*** --token=***'
    """
    for name, value in environ.items():
        if _SECRET_NAMES.search(name) and len(value) >= LEAST_SECRET:
            text = text.replace(value, "***")
    return _SECRET_TEXT.sub(r"\1***", text)


def shorten(text: str) -> str:
    """Return an answer as the log shows it: without its end where it is long.

    >>> shorten("  4711  ")
    '4711'
    """
    text = text.strip()
    if len(text) <= MOST_TEXT:
        return text
    return f"{text[:MOST_TEXT]}… ({len(text):,} characters)"


def start() -> None:
    """Write the log to stderr from now on; a second call changes nothing."""
    logger = logging.getLogger(ROOT)
    logger.setLevel(logging.DEBUG)
    if logger.handlers:
        return
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s: %(message)s", "%H:%M:%S"))
    handler.addFilter(_HideSecrets())
    logger.addHandler(handler)
    logger.propagate = False


def start_if_asked(environ: Mapping[str, str]) -> None:
    """Start the log where `ANLP_DEBUG` is set, to anything but 0."""
    if environ.get(VARIABLE, "") not in OFF:
        start()
