"""Finds in what a program printed the exception that ended it, where the program is Python."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from anlp.records.results import RunError

MOST_LINES_OF_MESSAGE = 20
MOST_LINES_OF_PATH = 4  # rich breaks long paths
_TITLE = "Traceback (most recent call last):"

# `[rank1]: ` and `[default0]:` are torch's
_HEADER = re.compile(
    r"(?P<prefix>\s*|\s*\[[\w:. -]+\]:\s?)Traceback \(most recent call last\):\s*$"
)
_GROUP_HEADER = re.compile(r"\s*\+ Exception Group Traceback \(most recent call last\):\s*$")
_GROUP_EDGE = re.compile(r"^[ |]*(?:\+(?:-\+)?(?:-+ (?:\d+|\.\.\.) -+|-+$)?|\|) ?")
_RICH_HEADER = re.compile(r"╭─+ (?:Exception Group )?Traceback \(most recent call last\) ─+╮\s*$")
_RICH_FRAME = re.compile(r"(?P<path>.+):(?P<line>\d+) ?in ?(?P<function>[\w<>.]+)$")
_ERROR = re.compile(
    r"(?P<type>[^\W\d]\w*(?:\.[^\W\d]\w*|\.<locals>)*(?:\([\w.]+\))?)(?::(?: (?P<message>.*))?)?$"
)
_SYNTAX = re.compile(r"(?:SyntaxError|IndentationError|TabError): ")
_FILE = re.compile(r'  File "[^"]+", line \d+')
_CHAIN = (
    "During handling of the above exception, another exception occurred:",
    "The above exception was the direct cause of the following exception:",
)
# They only say that a process below failed, which has printed its own traceback.
_WRAPPERS = frozenset({"ChildFailedError", "CalledProcessError"})
_ROOT_RANK = re.compile(r"^Root Cause.*?^\s*rank\s*: (\d+)", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class _Found:
    error: RunError
    prefix: str  # of its lines, such as `[rank1]: `
    is_chained: bool  # a later one arose from it


def last_python_error(text: str) -> RunError | None:
    """Return the exception that ended a Python program, None where there is no traceback.

    Of chained exceptions it is the last. Where a launcher (torchrun, accelerate) only tells that a
    process failed, it is the exception of that process.

    Args:
        text: the end of what was printed on stderr.
    """
    found = list(_all_errors(text.splitlines()))
    if not found:
        return None
    last = found[-1].error
    if last.type in _WRAPPERS:
        return _error_of_child(found, text)
    before = found[-2].error if len(found) > 1 else None
    if before is not None and (before.type, before.message) == (last.type, last.message):
        return before  # a worker's, told again by its parent: the first is nearer to the origin
    return last


def _error_of_child(found: Sequence[_Found], text: str) -> RunError:
    children = [each for each in found if not each.is_chained and each.error.type not in _WRAPPERS]
    rank = _ROOT_RANK.search(text)
    if rank is not None:
        first = [each for each in children if each.prefix.strip().startswith(f"[rank{rank[1]}]")]
        children = first or children
    # the others may have failed because the first did
    return children[0].error if children else found[-1].error


def _all_errors(lines: Sequence[str]) -> Iterator[_Found]:
    number = 0
    while number < len(lines):
        found, number = _error_at(lines, number)
        if found is not None:
            yield found


def _error_at(lines: Sequence[str], number: int) -> tuple[_Found | None, int]:
    """Return the error whose traceback begins at a line, and the number of the line behind it."""
    line = lines[number]
    header = _HEADER.match(line)
    if header is not None:
        return _plain_error(lines, number, header["prefix"])
    if _GROUP_HEADER.match(line):
        return _group_error(lines, number)
    if _RICH_HEADER.search(line):
        return _rich_error(lines, number)
    if _SYNTAX.match(line):
        return _syntax_error(lines, number)
    return None, number + 1


def _plain_error(lines: Sequence[str], number: int, prefix: str) -> tuple[_Found | None, int]:
    body = number + 1
    while body < len(lines) and (
        lines[body].startswith(prefix + " ") or _is_blank_source(lines, body)
    ):
        body += 1
    frames = [line.removeprefix(prefix) for line in lines[number:body]]
    if body == len(lines) or not lines[body].startswith(prefix):
        return None, body
    return _finish(lines, body, prefix, frames)


def _is_blank_source(lines: Sequence[str], number: int) -> bool:
    """Tell whether a blank line stands for a line of source: a frame is behind it."""
    behind = lines[number + 1] if number + 1 < len(lines) else ""
    return not lines[number].strip() and _FILE.match(behind) is not None


def _group_error(lines: Sequence[str], number: int) -> tuple[_Found | None, int]:
    """Return an exception group, with the first of its exceptions in the message."""
    end = number + 1
    while end < len(lines) and re.match(r"\s*[|+]", lines[end]):
        end += 1
    inner = [_GROUP_EDGE.sub("", line) for line in lines[number:end]]
    errors = [
        match for line in inner[1:] if (match := _ERROR.match(line)) and not line.startswith(" ")
    ]
    if not errors:
        return None, end
    message = errors[0]["message"] or ""
    if len(errors) > 1:
        message = f"{message}: {errors[1][0]}"
    text = "\n".join([_TITLE, *inner[1:]])
    error = RunError(_short(errors[0]["type"]), message, text + "\n")
    return _Found(error, "", is_chained=_is_chained(lines, end, "")), end


def _rich_error(lines: Sequence[str], number: int) -> tuple[_Found | None, int]:
    end = number + 1
    while end < len(lines) and not lines[end].startswith("╰"):
        end += 1
    if end + 1 >= len(lines):
        return None, len(lines)
    inner = [line.strip("│ ") for line in lines[number + 1 : end]]
    return _finish(lines, end + 1, "", [_TITLE, *_rich_frames(inner)])


def _rich_frames(inner: Sequence[str]) -> Iterator[str]:
    """Yield the frames as Python itself prints them; a path may be broken over lines."""
    for number, line in enumerate(inner):
        if number > 0 and inner[number - 1]:
            continue  # a frame stands behind a blank line
        for size in range(1, MOST_LINES_OF_PATH + 1):
            frame = _RICH_FRAME.match("".join(inner[number : number + size]))
            if frame is not None:
                yield f'  File "{frame["path"]}", line {frame["line"]}, in {frame["function"]}'
                break
            if not line.startswith(("/", "~", "<")):
                break


def _syntax_error(lines: Sequence[str], number: int) -> tuple[_Found | None, int]:
    """Return the error of a program that Python could not read: it has no header."""
    first = number - 1
    while first >= 0 and lines[first].startswith("    "):
        first -= 1
    if first < 0 or not _FILE.match(lines[first]):
        return None, number + 1
    return _finish(lines, number, "", list(lines[first:number]))


def _finish(
    lines: Sequence[str], number: int, prefix: str, frames: Sequence[str]
) -> tuple[_Found | None, int]:
    """Read the exception's own lines behind its frames."""
    match = _ERROR.match(lines[number].removeprefix(prefix).rstrip())
    if match is None:
        return None, number
    end = number + 1
    while end < len(lines) and _continues(lines[end], prefix, end - number):
        end += 1
    more = [line.removeprefix(prefix) for line in lines[number + 1 : end]]
    message = "\n".join([match["message"] or "", *more]).strip()
    text = "\n".join([*frames, match[0], *more]) + "\n"
    error = RunError(_short(match["type"]), message, text)
    return _Found(error, prefix, is_chained=_is_chained(lines, end, prefix)), end


def _continues(line: str, prefix: str, number: int) -> bool:
    """Tell whether a line may belong to a message of several lines: nothing marks its end."""
    rest = line.removeprefix(prefix)
    is_other = (
        _HEADER.match(line) or _RICH_HEADER.search(line) or re.match(r"[WEI]\d{4} \d\d:", rest)
    )
    is_noise = rest.startswith(
        ("wandb:", "srun:", "slurmstepd:", "Failed to export ", "====", "[rank", '"""')
    )
    return (
        number < MOST_LINES_OF_MESSAGE
        and line.startswith(prefix)
        and bool(rest.strip())
        and not is_other
        and not is_noise
    )


def _is_chained(lines: Sequence[str], number: int, prefix: str) -> bool:
    behind = next(
        (line for line in lines[number : number + 3] if line.removeprefix(prefix).strip()), ""
    )
    return behind.removeprefix(prefix).strip() in _CHAIN


def _short(name: str) -> str:
    """Return the name of a class without its module: `OutOfMemoryError`."""
    return re.sub(r"(?:[\w<>]+\.)+(?=\w)", "", name)
