"""What to do about errors of programs that this suite's users meet."""

from __future__ import annotations

import dataclasses
import re

from anlp.records.results import RunError

# By the type and a part of the message.
_HINTS: tuple[tuple[str, re.Pattern[str], str], ...] = (
    (
        "ModuleNotFoundError",
        re.compile(r"No module named '(?P<name>[\w.]+)'"),
        "install it in the environment that the program runs in",
    ),
    (
        "UsageError",
        re.compile("requires an existing run to resume"),
        'leave `resume` out of wandb.init: WANDB_RESUME is "allow" and continues a run',
    ),
    (
        "UsageError",
        re.compile("No API key configured"),
        "set WANDB_API_KEY, or `wandb: {mode: offline}` in the grid file, and leave `mode` out of "
        "wandb.init",
    ),
)


def with_hint(error: RunError) -> RunError:
    """Return the error with what to do about it behind its message, where that is known."""
    for kind, pattern, hint in _HINTS:
        if error.type == kind and pattern.search(error.message):
            return dataclasses.replace(error, message=f"{error.message.rstrip('.')}; {hint}")
    return error
