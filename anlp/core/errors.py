"""The errors that a caller can act on, and the exit codes and sentences that come of them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence

from anlp.core.metrics import metric_name

EXIT_OK = 0
EXIT_RUNS_FAILED = 1
EXIT_USAGE = 2
EXIT_CONTINUE = 3  # in-job: "I saved a checkpoint, submit me again"
EXIT_HELD = 4  # in-job: another process holds the lease of the run
EXIT_SKIPPED = 5  # in-job: not begun, since too many runs before it failed alike
EXIT_DISK_FULL = 6  # in-job: a file of the run cannot be written, so there is no result
EXIT_FOLDER_REMOVED = 8  # in-job: the run's folder was removed while it trained
EXIT_REQUEUE = 85  # in-job, in an image: a checkpoint is saved, the job's script requeues
EXIT_ESCAPED = 70  # in-job: an exception left the runner, there is no result
EXIT_INTERRUPTED = 130

# What a run leaves with, the weightiest first: an element of several runs leaves with the code that
# decides what happens next.
EXITS_OF_RUNS = (
    EXIT_DISK_FULL,
    EXIT_FOLDER_REMOVED,
    EXIT_CONTINUE,
    EXIT_SKIPPED,
    EXIT_RUNS_FAILED,
    EXIT_HELD,
    EXIT_OK,
)

OUT_OF_MEMORY_TYPES = frozenset({"MemoryError", "OutOfMemoryError"})  # Python's, torch's
OUT_OF_MEMORY_WORDS = (
    "out of memory",
    "not enough memory",
    "cannot allocate memory",
    "can't allocate memory",
    "failed to map segment",
    "bad_alloc",
)

# Names of settings in other projects, where the spelling alone does not lead to the name here.
OTHER_NAMES: Mapping[str, str] = {
    "learning_rate": "lr",
    "bs": "batch_size",
    "wd": "weight_decay",
    "l2": "weight_decay",
    "scheduler": "schedule",
    "dataset": "data",
    "architecture": "model",
    "channels": "filters",
}


class UserError(Exception):
    """A mistake that the user can fix.

    The text says what is wrong, where, what was expected and found, and what to do.
    """


class SpecError(UserError):
    """Faults of a grid file or of command-line settings: fix them and submit again.

    Args:
        faults: one complete sentence per fault, already carrying its `file:line: path:` prefix.
    """

    def __init__(self, faults: Sequence[str] | str) -> None:
        self.faults: tuple[str, ...] = (faults,) if isinstance(faults, str) else tuple(faults)
        super().__init__("\n".join(self.faults))


class SchedulerError(UserError):
    """A scheduler refused or could not be reached; a later try may help where it is `transient`."""

    def __init__(self, message: str, *, transient: bool = False) -> None:
        self.transient = transient
        super().__init__(message)


def describe_error(error: BaseException) -> str:
    """Say in one line what an exception says, so that it is a reason.

    >>> describe_error(KeyError("table")), describe_error(ValueError("too short"))
    ("it has no 'table'", 'too short')
    >>> describe_error(MemoryError()), describe_error(TypeError("got None"))
    ('memory ran out', 'TypeError: got None')
    """
    line = (str(error).strip().splitlines() or [""])[0]
    if isinstance(error, KeyError):
        return f"it has no {line}"
    if is_out_of_memory(error):
        return f"memory ran out: {line}" if line else "memory ran out"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
    if isinstance(error, UserError) or type(error) in (ValueError, RuntimeError, OSError):
        return line or type(error).__name__
    return f"{type(error).__name__}: {line}" if line else type(error).__name__


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether memory ran out, in the words of several libraries."""
    if isinstance(error, MemoryError) or type(error).__name__ in OUT_OF_MEMORY_TYPES:
        return True
    return any(words in str(error).lower() for words in OUT_OF_MEMORY_WORDS)


def describe_import(error: ImportError, package: str, extra: str) -> str:
    """Say why a package cannot be imported: it is missing, or it is there and cannot be loaded.

    Args:
        error: what the import raised.
        package: as it is imported.
        extra: of this project, which brings it.
    """
    if isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] == package:
        return f"{package} is not installed; pip install 'anlp[{extra}]'"
    return f"{package} is installed and cannot be loaded ({describe_error(error)})"


def closest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that `name` was probably meant to be, None where none is near."""
    by_spelling = {known_name.lower(): known_name for known_name in known}
    for other, own in OTHER_NAMES.items():
        if own in by_spelling:
            by_spelling.setdefault(other, own)
    near = difflib.get_close_matches(name[:80].lower(), by_spelling, n=1, cutoff=0.6)
    return by_spelling[near[0]] if near else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the hint after `unknown key 'optimiser'`.

    It reads ` (did you mean 'optimizer'? known: lr, optimizer)`.
    """
    names = sorted(known)
    near = closest(name, names)
    hint = f"did you mean {near!r}? " if near else ""
    return f" ({hint}known: {', '.join(names)})"


def known_name(name: str, known: Iterable[str], what: str) -> str:
    """Return `name`, if it is one of `known`; a metric may be named as its program logs it.

    Args:
        name: as typed.
        known: every name that would do.
        what: the option and the kind of thing, e.g. `--per: setting`.

    Raises:
        UserError: it is not; the message has the nearest name and the whole list.
    """
    names = set(known)
    if name not in names and metric_name(name) in names:
        return metric_name(name)
    if name not in names:
        raise UserError(f"{what} {name!r} is unknown{did_you_mean(name, names)}")
    return name
