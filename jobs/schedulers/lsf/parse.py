"""Parse what the commands of LSF print: ids, states, reasons and refusals."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from jobs.common.external import NOT_FOUND, TIMED_OUT, Answer
from jobs.schedulers.base import Job, parse_job_name

FIELDS = "jobid jobindex stat exit_code exit_reason exec_host job_name pend_reason delimiter='|'"
Element = tuple[str, int]  # id of an array and index in it, from 1; 0 of a job that is no array

_NOT_SUBMITTED = "Job not submitted"
_AWAY = re.compile(
    r"LSF is down|Cannot connect to LSF|batch daemon not responding|Connection refused"
    r"|connect sys call failed|concurrent query limit|Communication time out|timed out",
    re.IGNORECASE,
)
_LIMIT = re.compile(r"pending job (slot )?(limit|threshold)|job limit .*reached", re.IGNORECASE)
_UNKNOWN = re.compile(r"Job <(\d+)(?:\[\d+\])?> is not found|No matching job found", re.IGNORECASE)
_HARMLESS = re.compile(
    r"is not found|No matching job found|already finished|is being terminated|is in progress"
    r"|No unfinished job found|No job found|termination signal",
    re.IGNORECASE,
)
_ADVICE = (
    ("no such queue", "`bqueues` lists those there are"),
    ("cannot use", "you may not use that queue or project"),
    ("memlimit", "the queue allows less memory: ask for less (--mem)"),
    ("runlimit", "the queue allows less time: ask for less (--time)"),
    ("resource requirement", "no host has these resources: `bhosts -gpu`, `lshosts` show them"),
    ("non-lsf host", "run this on a login node of the cluster"),
)


@dataclass(frozen=True, slots=True)
class Row:
    """Holds a line of bjobs about one element."""

    element: Element
    state: str
    exit_code: int | None = None
    reason: str = ""  # why it ended: `TERM_RUNLIMIT: job killed after reaching LSF run time limit`
    node: str = ""
    name: str = ""  # without the index
    pending: str = ""  # why it waits


def parse_rows(text: str) -> dict[Element, Row]:
    """Parse lines of `bjobs -noheader -o FIELDS`.

    >>> rows = parse_rows("7|2|EXIT|137|TERM_MEMLIMIT: killed|4*n1|a.b.0[2]|-")
    >>> rows["7", 2].exit_code, rows["7", 2].node, rows["7", 2].name
    (137, 'n1', 'a.b.0')
    """
    rows = {}
    for line in text.splitlines():
        fields = [_bare(field) for field in line.split("|", 7)]
        if len(fields) < 8 or not fields[0].isdigit():
            continue
        element = (fields[0], int(fields[1]) if fields[1].isdigit() else 0)
        rows[element] = Row(
            element,
            state=fields[2],
            exit_code=int(fields[3]) if fields[3].isdigit() else None,
            reason=fields[4],
            node=_parse_hosts(fields[5]),
            name=re.sub(r"\[\d+\]$", "", fields[6]),
            pending=fields[7],
        )
    return rows


def parse_jobs(rows: Mapping[Element, Row], tag: str) -> list[Job]:
    """Return the jobs of one submission among rows, each as large as its highest index."""
    found: dict[tuple[str, int], int] = {}
    for (native_id, index), row in rows.items():
        named = parse_job_name(row.name)
        if named is not None and named[0] == tag:
            job = native_id, named[1]
            found[job] = max(found.get(job, 1), index)
    jobs = [Job(native_id, first, size) for (native_id, first), size in found.items()]
    return sorted(jobs, key=lambda job: job.first)


def parse_submitted(out: str) -> str | None:
    """Return the id that bsub printed.

    >>> parse_submitted("Job <123> is submitted to default queue <normal>.")
    '123'
    """
    match = re.search(r"Job <(\d+)> is submitted", out)
    return match[1] if match else None


def parse_array_limit(text: str) -> int | None:
    """Return MAX_JOB_ARRAY_SIZE of `bparams -a`.

    >>> parse_array_limit("        MAX_JOB_ARRAY_SIZE = 1000")
    1000
    """
    match = re.search(r"^\s*MAX_JOB_ARRAY_SIZE\s*=\s*(\d+)", text, re.MULTILINE)
    return int(match[1]) if match else None


def parse_secrecy(text: str) -> int:
    """Return SECURE_JOB_INFO_LEVEL of `bparams -a`: from 1 on, others do not see all of a job.

    >>> parse_secrecy("        SECURE_JOB_INFO_LEVEL = 4"), parse_secrecy("")
    (4, 0)
    """
    match = re.search(r"^\s*SECURE_JOB_INFO_LEVEL\s*=\s*(\d+)", text, re.MULTILINE)
    return int(match[1]) if match else 0


def is_missing(answer: Answer) -> bool:
    """Return whether the command is not on this machine."""
    return answer.code == NOT_FOUND


def is_away(answer: Answer) -> bool:
    """Return whether LSF did not answer: the same call may help later."""
    if answer.code == 0:
        return False
    is_broken_off = answer.code == TIMED_OUT or answer.code < 0
    return is_broken_off or _AWAY.search(answer.err + answer.out) is not None


def is_not_taken(answer: Answer) -> bool:
    """Return whether LSF says itself that it took no job, since it is away."""
    return is_away(answer) and _NOT_SUBMITTED in answer.err + answer.out


def is_limit(answer: Answer) -> bool:
    """Return whether the user has as many jobs pending as are allowed."""
    return answer.code != 0 and _LIMIT.search(answer.err + answer.out) is not None


def is_answered(answer: Answer) -> bool:
    """Return whether bjobs answered, if only that it knows none of the jobs."""
    return answer.code == 0 or _is_all_harmless(answer)


def is_killed(answer: Answer) -> bool:
    """Return whether bkill did what it could; jobs that have ended are no failure."""
    return answer.code == 0 or _is_all_harmless(answer)


def unknown_ids(answer: Answer) -> frozenset[str]:
    """Return the ids of which LSF says that it does not know them.

    >>> sorted(unknown_ids(Answer(255, "", "Job <7> is not found")))
    ['7']
    """
    return frozenset(match for match in _UNKNOWN.findall(answer.err) if match)


def explain(answer: Answer) -> str:
    """Return what a command said in one line, and what to do where that is known."""
    lines = [line.strip() for line in (answer.err or answer.out).splitlines() if line.strip()]
    words = "; ".join(dict.fromkeys(lines))[:500] or f"exit code {answer.code} without a word"
    for known, advice in _ADVICE:
        if known in words.lower():
            return f"{words} ({advice})"
    return words


def _is_all_harmless(answer: Answer) -> bool:
    said = [line for line in (answer.err + "\n" + answer.out).splitlines() if line.strip()]
    rows = parse_rows(answer.out)
    other = [line for line in said if not rows or "|" not in line]
    return bool(said) and all(_HARMLESS.search(line) for line in other)


def _bare(field: str) -> str:
    field = field.strip()
    return "" if field == "-" else field


def _parse_hosts(text: str) -> str:
    """Return `n1,n2` of `4*n1:n2`."""
    hosts = (host.rpartition("*")[2] for host in text.split(":"))
    return ",".join(dict.fromkeys(host for host in hosts if host))
