"""Parse what the commands of PBS print; by text, since codes of errors overlap."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from jobs.common.external import TIMED_OUT, Answer

HISTORY_OFF = "not configured to maintain job history"
EXIT_UNKNOWN_JOB = 153
EXITS_UNREACHABLE = frozenset({160, 162, 255})

_ID = re.compile(r"(\d+)(\[\d*\])?(?:\.(\S+))?")
_UNREACHABLE = re.compile(
    r"cannot connect|couldn't connect|connection (refused|reset|timed out)|no route to host"
    r"|end of file|premature end|communication failure|broken pipe|timed out|too busy"
    r"|protocol error",
    re.IGNORECASE,
)
_NOT_CONNECTED = re.compile(r"cannot connect to server|couldn't connect to cluster", re.IGNORECASE)
_LIMIT = re.compile(r"would exceed .*limit|maximum number of jobs", re.IGNORECASE)
_ARRAY_LIMIT = re.compile(r"array job exceeds", re.IGNORECASE)

# What a refusal means for the person at the keyboard; PBS's own words stand before it.
_ADVICE_ON_ACCESS: Sequence[tuple[str, str]] = (
    ("unknown host", "is this server's name right?"),
    (
        "no answer after",
        "is the server busy, or does it want a password, as with Kerberos, where kinit helps?",
    ),
    *(
        (word, "get a ticket with kinit")
        for word in ("kerberos", "credential", "ticket", "password")
    ),
)
_ADVICE: Sequence[tuple[str, str]] = (
    *_ADVICE_ON_ACCESS,
    (
        "all possible destinations",
        "no queue takes so much time, memory, cpus or gpus: ask for less, or name a queue",
    ),
    (
        "unknown queue",
        "name another queue, or none: most sites route by time and GPUs (`qstat -q` lists them)",
    ),
    ("queue is not enabled", "this queue takes no jobs now; name another"),
    ("unauthorized request", "you may not use this queue; name another, or ask the site"),
    (
        "job violates queue",
        "the queue allows less; ask for fewer cpus, gpus, memory or time, or name another queue",
    ),
    (
        "unknown resource",
        "this site has no such resource; correct select or gpu_type in the site profile",
    ),
    ("illegal attribute or resource value", "correct this value"),
    ("node(s) specification error", "this is no Torque: set `dialect: pro` in the site profile"),
    ("bad uid", "PBS does not run jobs of this user"),
    ("illegal -j value", "older PBS knows no limit of running sub-jobs: leave --max-parallel out"),
    ("illegal -", "this qsub does not take that value"),
)


@dataclass(frozen=True, slots=True)
class Record:
    """Holds a job or sub-job as `qstat -f` shows it."""

    id: str
    fields: Mapping[str, str]  # names in lower case: Torque writes exit_status, PBS Pro Exit_status

    def get(self, name: str) -> str:
        """Return an attribute's text; empty where it is not there."""
        return self.fields.get(name.lower(), "")


@dataclass(frozen=True, slots=True)
class JobId:
    """Holds a job's id in parts, equal however much of the server's name was printed."""

    number: str
    brackets: str  # "" a job, "[]" an array, "[3]" its sub-job
    server: str  # first label of the server's name

    def sub_job(self, index: int) -> JobId:
        """Return the id of one sub-job of an array, of another job its own."""
        return JobId(self.number, f"[{index}]", self.server) if self.brackets == "[]" else self


def parse_id(text: str) -> JobId | None:
    """Return the parts of an id, None for other words: one of them fails a whole `qstat -E`.

    >>> parse_id("123[].server.example").server
    'server'
    >>> parse_id("x") is None
    True
    """
    match = _ID.fullmatch(text.strip())
    return JobId(match[1], match[2] or "", (match[3] or "").split(".")[0]) if match else None


def parse_records(text: str) -> dict[JobId, Record]:
    """Return the jobs in the text of `qstat -f`, with `-w` or without: wrapped lines are joined.

    Attributes are indented as the first one of each job is; other lines continue the one before.
    """
    found: dict[JobId, Record] = {}
    for native, lines in _blocks(text):
        key = parse_id(native)
        if key is not None:
            found[key] = Record(native, _parse_attributes(lines))
    return found


def _blocks(text: str) -> Iterator[tuple[str, list[str]]]:
    native, lines = "", list[str]()
    for line in text.splitlines():
        if line.startswith("Job Id:"):
            if native:
                yield native, lines
            native, lines = line[len("Job Id:") :].strip(), []
        elif line:
            lines.append(line)
    if native:
        yield native, lines


def _parse_attributes(lines: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    name = ""
    indent = re.match(r"\s*", lines[0])[0] if lines else ""  # type: ignore[index]  # \s* matches anything
    attribute = re.compile(re.escape(indent) + r"([A-Za-z_][\w.]*) =(?: (.*))?")
    for line in lines:
        match = attribute.fullmatch(line)
        if match:
            name = match[1].lower()
            found[name] = match[2] or ""
        elif name:
            found[name] += line.removeprefix("\t")
    return found


def parse_dialect(answer: Answer) -> str | None:
    """Return `pro` or `torque` from `qstat --version`, None where it does not say."""
    text = answer.out + answer.err
    if "pbs_version" in text.lower():
        return "pro"
    # Slurm's wrappers for Torque do not know the question
    is_torque = is_usage(answer) or re.search(
        r"^\s*version:?\s*\d", text, re.IGNORECASE | re.MULTILINE
    )
    return "torque" if is_torque else None


def parse_array_limit(text: str) -> int | None:
    """Return `max_array_size` of `qstat -B -f`."""
    match = re.search(r"^\s*max_(?:job_)?array_size = (\d+)", text, re.MULTILINE)
    return int(match[1]) if match else None


def shows_jobs_of_others(text: str) -> bool:
    """Return `query_other_jobs` of `qstat -B -f`; a server that does not mention it hides them."""
    return re.search(r"^\s*query_other_jobs = True", text, re.MULTILINE) is not None


def parse_count(indices: str) -> int | None:
    """Return how many indices a text names; None where it names none.

    >>> parse_count("0-3,7%2"), parse_count("0-98:2"), parse_count("")
    (5, 50, None)
    """
    count = 0
    for part in indices.split("%")[0].split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+)(?::(\d+))?)?", part.strip())
        if match is None:
            return None
        count += len(range(int(match[1]), int(match[2] or match[1]) + 1, int(match[3] or 1)))
    return count


def is_unreachable(answer: Answer) -> bool:
    """Return whether the server did not answer: the same call may help later.

    Codes decide only where nothing was said: they are those of other errors, too.
    """
    if answer.code == 0:
        return False
    is_broken_off = answer.code == TIMED_OUT or answer.code < 0
    is_silent = answer.code in EXITS_UNREACHABLE and not (answer.err + answer.out).strip()
    return is_broken_off or is_silent or _UNREACHABLE.search(answer.err) is not None


def is_away(answer: Answer) -> bool:
    """Return whether there is a server that cannot be asked now: down, slow, or it wants a ticket.

    A client that was never told of a server (`pbs conf variables not found`) has none.
    """
    has_no_ticket = (
        re.search(r"kerberos|credential|ticket|password", answer.err, re.IGNORECASE) is not None
    )
    return (
        is_unreachable(answer) or has_no_ticket
    ) and "conf variables not found" not in answer.err


def is_unheard(answer: Answer) -> bool:
    """Return whether the command says that it did not reach a server: it may be repeated."""
    return answer.code not in (0, TIMED_OUT) and _NOT_CONNECTED.search(answer.err) is not None


def is_usage(answer: Answer) -> bool:
    """Return whether the command does not know one of its options."""
    return (
        answer.code != 0
        and re.search(r"usage:|unknown option|invalid option", answer.err + answer.out, re.I)
        is not None
    )


def is_history_off(answer: Answer) -> bool:
    """Return whether `-x` was refused; said with exit code 0, even where jobs are alive."""
    return HISTORY_OFF in answer.err


def is_limit(answer: Answer) -> bool:
    """Return whether the user has as many jobs queued as are allowed."""
    return answer.code != 0 and _LIMIT.search(answer.err) is not None


def is_array_limit(answer: Answer) -> bool:
    """Return whether an array was too large for its queue."""
    return answer.code != 0 and _ARRAY_LIMIT.search(answer.err) is not None


def unknown_ids(answer: Answer) -> set[JobId]:
    """Return the ids that the server said it does not know."""
    words = re.findall(r"Unknown Job(?: Id)?:? (\S+)", answer.err)
    return {key for key in map(parse_id, words) if key is not None}


def strange_ids(answer: Answer) -> set[JobId]:
    """Return the ids whose server this client does not know."""
    words = re.findall(r"illegally formed job identifier:? (\S+)", answer.err)
    return {key for key in map(parse_id, words) if key is not None}


def is_answered(answer: Answer) -> bool:
    """Return whether the server answered, if only that jobs are unknown or have ended."""
    known = answer.code == EXIT_UNKNOWN_JOB and not answer.err.strip()
    words = re.compile(
        r"Unknown Job|Job has finished|illegally formed job identifier", re.IGNORECASE
    )
    said = [line for line in answer.err.splitlines() if line.strip()]
    return answer.code == 0 or known or (bool(said) and all(words.search(line) for line in said))


def is_deleted(answer: Answer) -> bool:
    """Return whether qdel did what it could: jobs that have ended are no failure."""
    harmless = re.compile(
        r"Unknown Job|Job has finished|Request invalid for state of job", re.IGNORECASE
    )
    said = [line for line in answer.err.splitlines() if line.strip()]
    return answer.code == 0 or (bool(said) and all(harmless.search(line) for line in said))


def render_refusal(command: str, answer: Answer) -> str:
    """Return one line: what PBS said, and what to do where that is known."""
    words = first_words(answer).removeprefix(f"{command}:").strip()
    known = _ADVICE if command == "qsub" else _ADVICE_ON_ACCESS
    advice = next((advice for pattern, advice in known if pattern in words.lower()), "")
    return f"pbs: {command}: {words}" + (f" ({advice})" if advice else "")


def first_words(answer: Answer) -> str:
    """Return what a command said before it explained its usage, in one line."""
    said = [line.strip() for line in (answer.err or answer.out).splitlines() if line.strip()]
    usage = next(
        (number for number, line in enumerate(said) if line.lower().startswith("usage:")), len(said)
    )
    return "; ".join(said[: max(1, usage)])[:500] or f"exit code {answer.code} without a word"
