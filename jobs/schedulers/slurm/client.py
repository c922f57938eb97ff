"""Call Slurm's commands: in full, in English, within a time limit, again where that is harmless."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from itertools import islice

from anlp.core.errors import SchedulerError
from jobs.common import external
from jobs.schedulers import backoff
from jobs.schedulers.slurm import errors as refusals
from jobs.schedulers.slurm.environment import environment

QUERY_TIMEOUT_S = 45.0
MOST_RETRIES = 3
PAUSE_S = 0.5
# a client that waited so long has tried again by itself: for 9 s where the controller is down
PATIENT_CLIENT_S = 5.0


def run(
    *argv: str, own: Mapping[str, str] | None = None, timeout_s: float = QUERY_TIMEOUT_S
) -> external.Answer:
    """Call a command of Slurm once.

    Args:
        argv: the command.
        own: its environment; None: without any variable that could change its answer.
        timeout_s: time limit.
    """
    return external.run(argv, timeout_s=timeout_s, environment=own or environment())


def query(*argv: str, tolerated: str = "\0") -> external.Answer:
    """Return the answer to a question, asked again after a pause where Slurm was not reached.

    Raises:
        SchedulerError: no answer, or an error other than the tolerated one.
    """
    if why := missing_configuration():
        raise SchedulerError(f"slurm: {why}; {refusals.CONFIGURE}")
    for pause in (*islice(backoff.pauses(PAUSE_S), MOST_RETRIES), None):
        began = time.monotonic()
        answer = run(*argv)
        if answer.code == 0 or tolerated in answer.err:
            return answer
        if answer.code == external.NOT_FOUND and argv[0] == "sacct":
            return answer
        raise_if_missing(argv[0], answer)
        if answer.code != external.TIMED_OUT and not refusals.is_transient(answer.err):
            raise SchedulerError(f"slurm: {argv[0]}: {refusals.explain_refusal(answer.err)}")
        if pause is None or time.monotonic() - began > PATIENT_CLIENT_S:
            break
        time.sleep(pause)
    raise unreachable(argv[0], answer)


def ask_squeue(*words: str) -> str:
    """Return what squeue printed; nothing where it has forgotten the only job of the query."""
    answer = query("squeue", "-h", *words, tolerated=refusals.NO_SUCH_JOB)
    return "" if answer.code else answer.out


def ask_sacct(*words: str) -> str | None:
    """Return what sacct printed, None where the site keeps no accounts."""
    return read_sacct(query(*sacct(*words), tolerated=refusals.NO_ACCOUNTING))


def sacct(*words: str) -> list[str]:
    """Return the arguments of a sacct call that answers with a line per job."""
    return ["sacct", "-n", "-P", "-X", *words]


def read_sacct(answer: external.Answer) -> str | None:
    """Return what sacct printed, None where there are no accounts or no sacct."""
    return None if answer.code or refusals.NO_ACCOUNTING in answer.err else answer.out


def missing_configuration() -> str:
    """Return why Slurm's commands cannot read their configuration, empty where nothing is known.

    They would look for the file for a minute, and say it at the end.
    """
    path = os.environ.get("SLURM_CONF", "")
    if not path or os.access(path, os.R_OK):
        return ""
    return f"SLURM_CONF names {path}, which cannot be read"


def raise_if_missing(command: str, answer: external.Answer) -> None:
    """Say where a command that is not here would be.

    Raises:
        SchedulerError: it is not there.
    """
    if answer.code == external.NOT_FOUND:
        raise missing(command)


def missing(command: str) -> SchedulerError:
    """Return the error of a command that is not here."""
    return SchedulerError(
        f"slurm: there is no {command} here: run this on a login node of the cluster"
    )


def unreachable(command: str, answer: external.Answer) -> SchedulerError:
    """Return the error of a call that may succeed another time."""
    return SchedulerError(
        f"slurm: {command}: {refusals.explain_refusal(answer.err)}; try again later", transient=True
    )
