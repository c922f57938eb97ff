"""Compares the output that a page shows with the output of the command."""

from __future__ import annotations

import re

# What differs from run to run and machine to machine, and what stands for it on both sides.
VARYING = (
    (re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(,\d+)?( \+0000)?"), "DATE"),
    (re.compile(r"\d{4}-\d\d-\d\d"), "DATE"),
    (re.compile(r"process \d+ on \S+?(?=[,:; ]|$)"), "process N on HOST"),
    (re.compile(r"job local:\S+"), "job local:ID"),
    (re.compile(r"(about |under )?(\d+ min )?\d+(\.\d+)? (ms|s|min|h)\b"), "TIME"),
    (re.compile(r"(under )?[\d.]+ CPU-hours"), "CPU-HOURS"),
    (re.compile(r"\d+% of what was asked"), "PERCENT of what was asked"),
    (re.compile(r"[\d.]+ [MGk]i?B"), "SIZE"),
    (re.compile(r"\d+ at a time \((CPU|\d+ GPUs?)\)"), "N at a time (DEVICE)"),
    (re.compile(r"(?<![\w.])/(?:[\w.+-]+/)*(?=(runs|grids|report|batches)/)"), "/"),
    (re.compile(r"\b[0-9a-f]{40}(\+dirty)?"), "COMMIT"),
    (re.compile(r"[─━═]+"), "─"),
    (re.compile(r"(?<=\S)[ \t]{2,}"), "  "),
)
NUMBER = re.compile(r"[-+]?\d+\.\d+(?:e[-+]?\d+)?")
ELLIPSIS = "..."


def render_difference(shown: str, actual: str, *, measured: bool = False) -> str:
    """What differs between the two texts, in words; empty where they agree.

    A line `...` of the shown text stands for any number of lines, and `…` at the end of a line for
    its rest.
    """
    wanted, found = _normalise(shown), _normalise(actual)
    position = 0
    skips = False
    for line in wanted:
        if line == ELLIPSIS:
            skips = True
            continue
        while position < len(found) and skips and not _agree(line, found[position], measured):
            position += 1
        if position == len(found):
            return f"the page shows a line that is not in the output: {line!r}"
        if not _agree(line, found[position], measured):
            return f"the page shows {line!r}, the command prints {found[position]!r}"
        position += 1
        skips = False
    if position < len(found) and not skips:
        return f"the page leaves out {found[position]!r}"
    return ""


def _normalise(text: str) -> list[str]:
    lines = []
    for line in text.strip("\n").splitlines():
        for pattern, stands in VARYING:
            line = pattern.sub(stands, line)
        lines.append(line.strip())
    return [line for line in lines if line]


def _agree(shown: str, found: str, measured: bool) -> bool:
    if shown.endswith("…"):
        shown = shown.removesuffix("…").rstrip()
        found = found[: len(shown)]
    if shown == found:
        return True
    if not measured or NUMBER.sub("#", shown) != NUMBER.sub("#", found):
        return False
    pairs = zip(NUMBER.findall(shown), NUMBER.findall(found), strict=True)
    return all(_are_close(float(left), float(right)) for left, right in pairs)


def _are_close(left: float, right: float) -> bool:
    return abs(left - right) <= 0.1 * max(abs(left), abs(right)) + 0.01


def shorten_as(shown: str, actual: str) -> str:
    """The actual output, shortened at the lines `...` as the shown one is.

    The part before the first `...` and the part after the last keep their number of lines at the
    beginning and the
    end. A part between two of them begins where its first word occurs.
    """
    parts = [part.splitlines() for part in f"\n{shown}".split(f"\n{ELLIPSIS}\n")]
    if len(parts) == 1:
        return actual
    lines = actual.splitlines()
    kept = lines[: len(parts[0]) - 1]  # the first part begins with an empty line
    for part in parts[1:-1]:
        first = _find(lines, part[0])
        kept += [ELLIPSIS, *lines[first : first + len(part)]]
    tail = len(parts[-1])
    kept += [ELLIPSIS, *(lines[-tail:] if tail else [])]
    return "\n".join(kept)


def _find(lines: list[str], like: str) -> int:
    word = like.split()[0]
    return next((i for i, line in enumerate(lines) if line.startswith(word)), len(lines))
