"""The verbs of the command line: what each does, its module, and how it is called."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from importlib import import_module

from anlp.core.errors import UserError, did_you_mean

_program: ContextVar[str] = ContextVar("program", default="")


@dataclass(frozen=True, slots=True)
class Verb:
    """A command.

    Args:
        name: as it is typed.
        module: where it is; imported only when it is called.
        summary: what it does, in a line of the overview.
        changes: whether it changes something, so that it must not end because a pipe is closed.
    """

    name: str
    module: str
    summary: str
    changes: bool = False


STAGES: Mapping[str, Sequence[Verb]] = {
    "train": (
        Verb("submit", "jobs.submit", "expand a grid file and submit its missing runs", True),
        Verb("retry", "jobs.retry", "submit failed and lost runs again", True),
        Verb("cancel", "jobs.cancel", "stop queued and running runs", True),
    ),
    "watch": (
        Verb("status", "jobs.status", "count runs by state, failures by cause, the best so far"),
        Verb("logs", "jobs.logs", "show a run's log, or one log of each kind of failure"),
        Verb("explain", "jobs.explain", "show one run: settings, place, why it waits or ended"),
        Verb("sync", "jobs.sync", "send runs mirrored offline to the wandb server", True),
    ),
    "evaluate": (
        Verb("tables", "analysis.tables", "results with intervals, the best and its ties marked"),
        Verb("report", "analysis.report", "one page: results, evidence, failures, next runs"),
        Verb("claims", "analysis.claims", "check the numbers that a text quotes against the runs"),
        Verb("importance", "analysis.importance", "how much of the variance each setting explains"),
        Verb("convergence", "analysis.convergence", "which runs converged, overfit or diverged"),
    ),
    "draw": (
        Verb("plot", "analysis.plot", "one of the charts of results, with the table behind it"),
        Verb("curves", "analysis.curves", "learning curves, with their spread over seeds"),
        Verb("parallel", "analysis.parallel", "parallel coordinates of settings and a metric"),
    ),
    "export": (Verb("export", "analysis.export", "runs and their histories as CSV or Parquet"),),
}


def verbs_of(package: str = "") -> list[Verb]:
    """Return all verbs, or those whose module is in `package`, in the order of the overview."""
    every = [verb for verbs in STAGES.values() for verb in verbs]
    return [verb for verb in every if not package or verb.module.startswith(f"{package}.")]


@contextmanager
def called_as(program: str) -> Iterator[None]:
    """Within, help, faults and hints name verbs as those of `program`, such as `anlp status`."""
    token = _program.set(program)
    try:
        yield
    finally:
        _program.reset(token)


def command_name(module: str) -> str:
    """Return what to type for a command: `anlp status` under the one command, else its module.

    >>> command_name("jobs.status")
    'python -m jobs.status'
    >>> with called_as("anlp"):
    ...     command_name("jobs.status"), command_name("anlp.spectrograms")
    ('anlp status', 'python -m anlp.spectrograms')
    """
    verb = next((verb for verb in verbs_of() if verb.module == module), None)
    program = _program.get()
    if verb is None or not program:
        return f"python -m {module}"
    return f"{program} {verb.name}"


def find_verb(name: str, verbs: Iterable[Verb]) -> Verb:
    """Return the verb of this name.

    Raises:
        UserError: there is none; the message has the nearest name and the whole list.
    """
    by_name = {verb.name: verb for verb in verbs}
    if name not in by_name:
        raise UserError(f"unknown command {name!r}{did_you_mean(name, by_name)}")
    return by_name[name]


def call_verb(verb: Verb, argv: Sequence[str], program: str = "") -> int:
    """Run the verb's command and return its exit code.

    Args:
        verb: the command.
        argv: its arguments.
        program: whose verb it is, such as `anlp`; empty: commands are called by their modules.
    """
    with called_as(program):
        exit_code: int = import_module(verb.module).main(list(argv))
    return exit_code


def dispatch(package: str, argv: Sequence[str] | None) -> int:
    """Run the command that `python -m PACKAGE VERB …` names, or list the package's commands.

    Raises:
        UserError: there is no such command.
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    verbs = verbs_of(package)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(list_package(package))
        return 0
    return call_verb(find_verb(arguments[0], verbs), arguments[1:])


def changes_something(argv: Sequence[str]) -> bool:
    """Return whether the first argument names a verb that changes something."""
    return any(verb.changes for verb in verbs_of() if [verb.name] == list(argv[:1]))


def list_package(package: str) -> str:
    """Return the commands of a package, one to a line."""
    verbs = verbs_of(package)
    width = max(len(verb.module) for verb in verbs)
    lines = [f"  python -m {verb.module:<{width}}  {verb.summary}" for verb in verbs]
    return "\n".join(
        [*lines, "", "Each has --help with examples; `anlp --help` lists the commands by stage."]
    )
