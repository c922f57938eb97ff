"""Read what Slurm's commands say when they fail: whether to try again, and what to do instead."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jobs.common import external
from jobs.common.external import Answer
from jobs.config.resources import Resources

UNSPECIFIED = "Unspecified error"
# Whether a request was taken is not known: it may have been on its way, or its answer.
AMBIGUOUS = (
    "Unable to contact slurm controller (send failure)",
    "Unable to contact slurm controller (receive failure)",
    "Unable to contact slurm controller (shutdown failure)",
    "Socket timed out",
    "Zero Bytes were transmitted or received",
    "Connection timed out",
    "Connection reset",
    "Transport endpoint is not connected",
    "Message send failure",
    "Message receive failure",
    "no answer after",
    UNSPECIFIED,
)
# It was not taken: no daemon listened, or it said that it cannot now.
NOT_TAKEN = (
    "Unable to contact slurm controller",
    "Connection refused",
    "Communication connection failure",
    "Resource temporarily unavailable",
    "Slurm backup controller in standby mode",
    "Slurm temporarily unable to accept job",
)
TRANSIENT = (*AMBIGUOUS, *NOT_TAKEN, "Problem talking to the database")
# of any limit; newer releases and the line before say which
POLICY = "Job violates accounting/QOS policy"
NO_SUCH_JOB = "Invalid job id specified"
NO_ACCOUNTING = "accounting storage is disabled"
DENIED = "Access/permission denied"
NO_CONFIGURATION = "Could not establish a configuration source"
CONFIGURE = "load the site's module of Slurm, or set SLURM_CONF to its slurm.conf"


@dataclass(frozen=True, slots=True)
class Advice:
    """Says what to do about a refusal, where its cause can be one of the grid's own words."""

    words: str  # part of what sbatch says
    text: str
    holds: Callable[[Resources], bool] = lambda _: True


def _asks_for_gpus(asked: Resources) -> bool:
    return asked.gpus > 0 or any(re.match("--(gpus|gres)", text) for text in asked.extra)


ADVICE: tuple[Advice, ...] = (
    Advice("Invalid partition name", "choose a queue that `sinfo -s` lists"),
    Advice(
        "Memory specification can not be satisfied",
        "no node has that much memory: ask for less (--mem)",
        lambda asked: asked.mem_mib is not None,
    ),
    Advice(
        "CPU count per node can not be satisfied",
        "no node has that many cores: ask for fewer cpus",
        lambda asked: asked.cpus > 1,
    ),
    Advice(
        "Invalid generic resource",
        "this cluster knows no such kind of GPU: `sinfo -o '%P %G'` shows what it has",
        _asks_for_gpus,
    ),
    Advice(
        "Requested node configuration is not available",
        "no node of the queue has all that is asked for: "
        "`sinfo -o '%P %c %m %G %f'` shows what there is",
    ),
    Advice(
        "Node count specification invalid",
        "the queue has not so many nodes: ask for fewer",
        lambda asked: (asked.nodes or 1) > 1,
    ),
    Advice(
        "Requested time limit is invalid",
        "the queue's limit is shorter (`sinfo -o '%P %l'`): ask for less time (--time)",
        lambda asked: asked.walltime_min is not None,
    ),
    Advice(
        "Requested time limit is invalid", "the queue wants to be told a time limit: give --time"
    ),
    Advice(
        "Invalid job array specification",
        "the site's MaxArraySize has changed or arrays are switched off",
    ),
    Advice("MaxWall", "the QOS or account allows less time for a job: ask for less (--time)"),
    Advice("PerJobLimit", "the QOS or account allows a job less of this: ask for less"),
    Advice(
        "Invalid qos",
        "choose one that `sacctmgr show assoc user=$USER format=account,qos` lists",
    ),
    Advice(
        "Invalid account",
        "choose an account that `sacctmgr show assoc user=$USER format=account,partition` lists",
    ),
    Advice(
        "SubmitJob",
        "you have as many jobs in the queue as you may: submit again when some have ended",
    ),
    Advice(
        "job submit limit",
        "you have as many jobs in the queue as you may, or a job asks for more than the account "
        "or QOS allows",
    ),
    Advice(
        "Invalid feature",
        "no node has that feature: `sinfo -o '%P %f'` lists those there are",
        lambda asked: asked.constraint is not None or bool(asked.extra),
    ),
    Advice("Invalid --time", "write the time as 30m, 2h or 1-00:00:00"),
    Advice("Invalid --mem", "write the memory as 8G or 500M"),
    Advice(
        "unrecognized option",
        "this Slurm knows no such option: remove it from extra",
        lambda asked: bool(asked.extra),
    ),
    Advice(DENIED, "you may not use that queue or account"),
    Advice(NO_CONFIGURATION, CONFIGURE),
    Advice("Invalid wckey", "this site wants a known wckey: give one as extra"),
)


def is_transient(err: str) -> bool:
    """Return whether trying again may help: Slurm was not reached, or its answer was lost."""
    return any(words in err for words in TRANSIENT) and not is_site_refusal(err)


def is_site_refusal(err: str) -> bool:
    """Return whether a plug-in of the site refused: the controller has answered with its words.

    Slurm's own words for it, `Unspecified error`, alone can also mean that an answer was lost.
    """
    is_unspecified = UNSPECIFIED in err and not any(
        words in err for words in TRANSIENT if words != UNSPECIFIED
    )
    return is_unspecified and any(UNSPECIFIED not in line for line in site_words(err))


def site_words(err: str) -> list[str]:
    """Return the lines that sbatch printed, without its name before them.

    >>> site_words("sbatch: Welcome to the cluster")
    ['Welcome to the cluster']
    """
    return [_bare(line) for line in err.splitlines() if _bare(line)]


def is_past_cancelling(answer: Answer) -> bool:
    """Return whether a cancellation failed only because what it named has ended."""
    has_not_run = answer.code in (external.NOT_FOUND, external.NOT_STARTED, external.TIMED_OUT)
    return not (has_not_run or is_transient(answer.err) or "denied" in answer.err)


def is_not_taken(err: str) -> bool:
    """Return whether a request was certainly not taken and may be made again."""
    return any(words in err for words in NOT_TAKEN) and not any(words in err for words in AMBIGUOUS)


def is_submit_limit(err: str) -> bool:
    """Return whether a submission was refused because of how many jobs its user has."""
    reason = re.search(r"\b(?:QOS|Assoc)\w*Limit\b", err)
    return "SubmitJob" in reason[0] if reason else POLICY in err


def explain_refusal(err: str, asked: Resources | None = None, variables: Sequence[str] = ()) -> str:
    """Return one line from what sbatch printed: its words, and what to do where that is known.

    Args:
        err: what it printed.
        asked: what the jobs ask for; advice about anything else is left out. None: not known.
        variables: of the environment that the call took options from: they may be the cause.
    """
    lines = [
        _bare(line) for line in err.splitlines() if line.strip() and not line.startswith("Try ")
    ]
    words = "; ".join(dict.fromkeys(line for line in lines if line)) or "it gave no reason"
    advice = _advice(words, asked)
    told = f"{words}: {advice}" if advice else words
    if variables:
        told += f" (sbatch got {', '.join(variables)} from the environment)"
    return told


def last_words(err: str) -> str:
    """Return the last line of what a command printed, without its name.

    >>> last_words("scontrol: fatal: Could not establish a configuration source")
    'Could not establish a configuration source'
    """
    lines = [line for line in err.splitlines() if line.strip()]
    return re.sub(r"^\w+: ((error|fatal): )?", "", lines[-1].strip()) if lines else "no answer"


def _advice(words: str, asked: Resources | None) -> str:
    for advice in ADVICE:
        is_about = advice.words.lower() in words.lower()
        if is_about and (asked is None or advice.holds(asked)):
            return advice.text
    return ""


def _bare(line: str) -> str:
    line = re.sub(r"^\w+: ((error|fatal): )?", "", line.strip())
    return line.removeprefix("Batch job submission failed: ").strip()
