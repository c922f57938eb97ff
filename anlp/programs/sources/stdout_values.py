"""Values at the end of what a program printed: a line of JSON, or names with values."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from anlp.programs.sources.rows import flatten, number_of

MOST_LINES = 50  # at the end that may be `name: value`
LONGEST_LINE = 1 << 15

_NUMBER = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?|[-+]?(?:nan|inf(?:inity)?)"
# `test accuracy: 0.91`; a name has a letter, and at most five words
_NAME = r"[A-Za-z_][\w./@-]*(?: [\w./@-]+){0,4}"
_PAIR = re.compile(
    rf"\s*(?P<name>{_NAME})\s*[:=]\s*(?P<value>{_NUMBER})\s*%?\s*(?:[,;|]|$|\s)", re.I
)
_ASSIGNED = re.compile(
    rf"(?<![\w./@=-])(?P<name>[A-Za-z_][\w./@-]*)=(?P<value>{_NUMBER})%?(?=[\s,;|)]|$)", re.I
)
_NOISE = re.compile(r"(?:\s*wandb: .*|\s*)$")


def values_in(text: str) -> dict[str, float]:
    r"""Return the values at the end of stdout; empty where there are none.

    Either the last line is a JSON object, or the last lines are `name: value` or `name=value`, one
    or several on each; `name=value` may stand among other words. NaN is a value.

    >>> values_in("epoch 3 done\n" + '{"test": {"acc": 0.9}}' + "\n")
    {'test.acc': 0.9}
    >>> values_in("training ...\ntest accuracy: 91.5%\ntest loss: 0.3\n")
    {'test accuracy': 91.5, 'test loss': 0.3}
    >>> values_in("INFO done: acc=0.9, loss=1e-3")
    {'acc': 0.9, 'loss': 0.001}
    """
    lines = [line for line in text.splitlines()[-MOST_LINES:] if not _NOISE.match(line)]
    if not lines:
        return {}
    found = _json_in(lines[-1])
    if found is not None:
        return found
    found = {}
    for line in reversed(lines):
        pairs = dict(_pairs_in(line))
        if not pairs:
            break
        found = {**pairs, **found}
    return found


def _json_in(line: str) -> dict[str, float] | None:
    if not line.lstrip().startswith("{"):
        return None
    try:
        form = json.loads(line)
    except (ValueError, RecursionError):
        return None
    named = {name: number_of(value) for name, value in flatten(form)}
    return {name: value for name, value in named.items() if value is not None}


def _pairs_in(line: str) -> Iterator[tuple[str, float]]:
    """Yield the pairs of a line that has nothing but pairs, else those with `=`."""
    if len(line) > LONGEST_LINE:
        return
    found = []
    position = 0
    while position < len(line):
        match = _PAIR.match(line, position)
        if match is None:
            found = [(each["name"], float(each["value"])) for each in _ASSIGNED.finditer(line)]
            break
        found.append((match["name"], float(match["value"])))
        position = match.end()
    yield from found
