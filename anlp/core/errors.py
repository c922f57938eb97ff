"""The errors a caller can act on, and the one way a command turns them into a sentence and an exit code."""

from __future__ import annotations

import difflib
import errno
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence

from anlp.core import stdio

EXIT_OK = 0
EXIT_RUNS_FAILED = 1
EXIT_USAGE = 2
EXIT_CONTINUE = 3  # in-job: "I saved a checkpoint, submit me again"
EXIT_HELD = 4  # in-job: a living process elsewhere is at it
EXIT_SKIPPED = 5  # in-job: not begun, since too many runs before it failed in the same way
EXIT_DISK_FULL = 6  # in-job: the run's folder cannot be written, so there is no result
EXIT_REQUEUE = 85  # in-job, in an image: a checkpoint is saved, the job's script requeues
EXIT_ESCAPED = 70  # in-job: an exception left the runner, there is no result
EXIT_INTERRUPTED = 130

# What other projects call our settings, where the spelling alone does not lead to ours.
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
    """Something the person at the keyboard can put right; the text says what, where, got, wanted and what to do."""


class SpecError(UserError):
    """Faults of a grid file or of command-line settings: fix them and submit again.

    Args:
        faults: one complete sentence per fault, already carrying its `file:line: path:` prefix.
    """

    def __init__(self, faults: Sequence[str] | str) -> None:
        self.faults: tuple[str, ...] = (faults,) if isinstance(faults, str) else tuple(faults)
        super().__init__("\n".join(self.faults))


class SchedulerError(UserError):
    """A scheduler refused or could not be reached; `transient` says whether trying again may help."""

    def __init__(self, message: str, *, transient: bool = False) -> None:
        self.transient = transient
        super().__init__(message)


def run_command(main: Callable[[], int], *, outlives_reader: bool = False) -> int:
    """Exit code of `main`, with a `UserError` printed as its sentences (exit 2) and Ctrl-C as exit 130.

    A file that cannot be read or written is told as such, the command's own output included.

    Args:
        main: the command.
        outlives_reader: whether it does something that must not end half-way because `... | head`
            has seen enough; one that only shows something ends quietly then.
    """
    stdio.open_closed()
    if outlives_reader:
        stdio.outlive_reader()
    try:
        return _flushed(main)
    except UserError as error:
        print(error, file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        if not stdio.drop_unread():
            raise
        return EXIT_OK
    except OSError as error:
        if error.filename is None and error.errno != errno.ENOSPC:
            raise
        print(
            f"{error.filename or 'output'}: {error.strerror}; free space, or fix the permissions",
            file=sys.stderr,
        )
        return EXIT_USAGE
    finally:
        stdio.drop_unread()  # before Python itself tries to write it, and complains


def _flushed(main: Callable[[], int]) -> int:
    """Return the exit code of `main`, after all that it printed was written: at the exit of Python it would be too late."""
    try:
        code = main()
    except SystemExit:  # of --help
        sys.stdout.flush()
        raise
    sys.stdout.flush()
    return code


def closest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that `name` was probably meant to be, None where none is near."""
    by_spelling = {known_name.lower(): known_name for known_name in known}
    for other, ours in OTHER_NAMES.items():
        if ours in by_spelling:
            by_spelling.setdefault(other, ours)
    near = difflib.get_close_matches(name[:80].lower(), by_spelling, n=1, cutoff=0.6)
    return by_spelling[near[0]] if near else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return what goes behind `unknown key 'optimiser'`: ` (did you mean 'optimizer'? known: lr, optimizer)`."""
    names = sorted(known)
    near = closest(name, names)
    hint = f"did you mean {near!r}? " if near else ""
    return f" ({hint}known: {', '.join(names)})"


def known_name(name: str, known: Iterable[str], what: str) -> str:
    """Return `name` itself, if it is one of `known`.

    Args:
        name: as typed.
        known: every name that would do.
        what: the option and the kind of thing, e.g. `--per: setting`.

    Raises:
        UserError: it is not; the message has the nearest name and the whole list.
    """
    names = set(known)
    if name not in names:
        raise UserError(f"{what} {name!r} is unknown{did_you_mean(name, names)}")
    return name
