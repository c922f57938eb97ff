"""Read what Slurm's commands say when they fail: whether to try again, and what to do instead."""

from __future__ import annotations

import re

from jobs.common import external
from jobs.common.external import Answer

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
    "Unspecified error",
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

# Part of sbatch's own words -> what to do about it.
ADVICE: tuple[tuple[str, str], ...] = (
    ("Invalid partition name", "choose a queue that `sinfo -s` lists"),
    (
        "Memory specification can not be satisfied",
        "no node has that much memory: ask for less (--mem)",
    ),
    ("CPU count per node can not be satisfied", "no node has that many cores: ask for fewer cpus"),
    (
        "Invalid generic resource",
        "this cluster knows no such kind of GPU: `sinfo -o '%P %G'` shows what it has",
    ),
    (
        "Requested node configuration is not available",
        "no node of the queue has these GPUs, cores and memory together: "
        "`sinfo -o '%P %c %m %G'` shows what there is",
    ),
    ("Node count specification invalid", "the queue has not so many nodes: ask for fewer"),
    (
        "Requested time limit is invalid",
        "the queue's limit is shorter (`sinfo -o '%P %l'`): ask for less time (--time)",
    ),
    (
        "Invalid job array specification",
        "the site's MaxArraySize has changed or arrays are switched off",
    ),
    ("MaxWall", "the QOS or account allows less time for a job: ask for less (--time)"),
    ("PerJobLimit", "the QOS or account allows a job less of this: ask for less"),
    ("Invalid qos", "choose one that `sacctmgr show assoc user=$USER format=account,qos` lists"),
    (
        "Invalid account",
        "choose an account that `sacctmgr show assoc user=$USER format=account,partition` lists",
    ),
    (
        "job submit limit",
        "you have as many jobs in the queue as you may: submit again when some have ended",
    ),
    ("Invalid feature", "no node has that feature: `sinfo -o '%P %f'` lists those there are"),
    ("Invalid --time", "write the time as 30m, 2h or 1-00:00:00"),
    ("Invalid --mem", "write the memory as 8G or 500M"),
    ("unrecognized option", "this Slurm knows no such option: remove it from extra"),
    ("Access/permission denied", "you may not use that queue or account"),
    ("Invalid wckey", "this site wants a known wckey: give one as extra"),
)


def is_transient(err: str) -> bool:
    """Return whether trying again may help: Slurm was not reached, or its answer was lost."""
    return any(words in err for words in TRANSIENT)


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


def explain_refusal(err: str) -> str:
    """Return one line from what sbatch printed: its words, and what to do where that is known."""
    lines = [
        _bare(line) for line in err.splitlines() if line.strip() and not line.startswith("Try ")
    ]
    words = "; ".join(dict.fromkeys(line for line in lines if line)) or "it gave no reason"
    advice = next((advice for known, advice in ADVICE if known.lower() in words.lower()), "")
    return f"{words}: {advice}" if advice else words


def _bare(line: str) -> str:
    line = re.sub(r"^\w+: (error: )?", "", line.strip())
    return line.removeprefix("Batch job submission failed: ").strip()
