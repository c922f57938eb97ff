"""Refuse, in words, what PBS would accept and misread."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import Enum

from anlp.core.errors import SchedulerError
from jobs.config.resources import Resources
from jobs.schedulers.pbs.profile import PbsProfile

# Options that this tool gives by itself, and what to use instead.
MANAGED: Mapping[str, str] = {
    "-N": "the grid's name",
    "-J": "max_parallel",
    "-t": "max_parallel",
    "-q": "queue",
    "-A": "account",
    "-o": "",
    "-e": "",
    "-j": "",
    "-k": "",
    "-R": "",
    "-r": "",
    "-I": "",
    "-X": "",
    "-C": "",
    "-S": "",
    "-z": "",
    "-v": "env_file in the site profile (all users can read a job's variables)",
    "-V": "env_file in the site profile (all users can read a job's variables)",
}
MANAGED_RESOURCES: Mapping[str, str] = {
    "select": "cpus, mem, gpus, constraint, or select in the site profile",
    "nodes": "cpus, gpus, constraint",
    "walltime": "time",
    "mem": "mem",
    "ncpus": "cpus",
    "ngpus": "gpus",
}
_TOKEN = re.compile(r"[A-Za-z0-9_.+:/@-]+")
_CHUNKS = re.compile(r"[A-Za-z_]\w*=[A-Za-z0-9_.^@%/-]+(:[A-Za-z_]\w*=[A-Za-z0-9_.^@%/-]+)*")
_FEATURES = re.compile(r"[A-Za-z0-9_.-]+(:[A-Za-z0-9_.-]+)*")
_OPTION = re.compile(r"(-[A-Za-z])(?:\s+(\S.*))?")


class Dialect(str, Enum):
    """Names the PBS that a site has."""

    PRO = "pro"  # PBS Pro and OpenPBS
    TORQUE = "torque"


def check_resources(resources: Resources, profile: PbsProfile, dialect: Dialect) -> None:
    """Return if PBS can be asked for `resources` so that it gives what is meant.

    Raises:
        SchedulerError: a field that PBS has nothing for, or a value that it would misread; the text
            names the field.
    """
    for name, value in (("queue", resources.queue), ("account", resources.account)):
        check_token(name, value)
    check_token("gpu_type", resources.gpu_type)
    if resources.qos is not None:
        raise SchedulerError(
            "pbs: qos: PBS has none; name a queue, or give a priority with extra: ['-p 10']"
        )
    if resources.exclude is not None:
        raise SchedulerError(
            "pbs: exclude: PBS cannot leave nodes out; ask for others with constraint: "
            "'cluster=NAME' or 'host=NAME'"
        )
    if resources.nodes != 1:
        raise SchedulerError(f"pbs: nodes: a run uses one node, got {resources.nodes}")
    if resources.gpu_type is not None and profile.gpu_type is None:
        raise SchedulerError(
            f"pbs: gpu_type: the profile {profile.name!r} does not say which resource selects a "
            "GPU's type; add `gpu_type: NAME` to it (qstat -f, pbsnodes -a show the site's names)"
        )
    _check_constraint(resources.constraint, dialect)
    for option in resources.extra:
        check_extra(option)


def check_token(name: str, value: str | None) -> None:
    """Return if `value` is one plain word.

    Raises:
        SchedulerError: it is not.
    """
    if value is not None and not _TOKEN.fullmatch(value):
        raise SchedulerError(f"pbs: {name}: expected letters, digits and _.+:/@-, got {value!r}")


def check_extra(option: str) -> None:
    """Return if `option` is a directive that this tool leaves to its user.

    Raises:
        SchedulerError: it is none, or one that the tool gives by itself; the text says what to use
            instead.
    """
    match = _OPTION.fullmatch(option)
    if match is None or not option.isprintable():
        raise SchedulerError(
            f"pbs: extra: expected an option of qsub such as '-l place=excl', got {option!r}"
        )
    letter, value = match[1], match[2] or ""
    if re.search(r"\s-", value):  # PBS reads a directive as it reads a command line
        raise SchedulerError(
            f"pbs: extra: expected one option of qsub in each entry, got {option!r}"
        )
    if letter in MANAGED and not MANAGED[letter]:
        raise SchedulerError(
            f"pbs: extra: {letter} is not for jobs of this tool: "
            "output, shell and reruns are its own"
        )
    if letter in MANAGED:
        raise SchedulerError(
            f"pbs: extra: {letter} is given by this tool{_instead(MANAGED[letter])}"
        )
    for part in value.split(","):
        _check_attribute(letter, part.split("=")[0].strip())


def _check_attribute(letter: str, name: str) -> None:
    """Refuse a resource of `-l` or an attribute of `-W` that the tool gives by itself."""
    if letter == "-l" and name in MANAGED_RESOURCES:
        raise SchedulerError(
            f"pbs: extra: -l {name} is given by this tool{_instead(MANAGED_RESOURCES[name])}"
        )
    if letter == "-W" and name == "block":
        raise SchedulerError("pbs: extra: -W block would make every submit wait for its jobs")
    if letter == "-W" and name == "depend":
        raise SchedulerError("pbs: extra: -W depend is given by this tool; use --canary")


def render_dependency(after: Sequence[str], dialect: Dialect) -> str | None:
    """Return what goes behind `-W` so that a job waits for others; None where there are none.

    Raises:
        SchedulerError: an array, whose exit status PBS Pro takes from its last sub-job.
    """
    arrays = [job for job in after if "[" in job]
    plain = [job for job in after if "[" not in job]
    if arrays and dialect is Dialect.PRO:
        raise SchedulerError(
            f"pbs: after: {arrays[0]} is an array, whose success PBS misreports; "
            "only jobs can be waited for"
        )
    conditions = []
    if plain:
        conditions.append(f"afterok:{':'.join(plain)}")
    if arrays:
        conditions.append(f"afterokarray:{':'.join(arrays)}")
    return f"depend={','.join(conditions)}" if conditions else None


def _check_constraint(constraint: str | None, dialect: Dialect) -> None:
    if constraint is None:
        return
    if dialect is Dialect.PRO and not _CHUNKS.fullmatch(constraint):
        raise SchedulerError(
            f"pbs: constraint: expected NAME=VALUE such as cluster=zia, got {constraint!r}"
        )
    if dialect is Dialect.TORQUE and not _FEATURES.fullmatch(constraint):
        raise SchedulerError(
            f"pbs: constraint: expected a node property such as fastnet, got {constraint!r}"
        )


def _instead(what: str) -> str:
    return f"; use {what}" if what else ""
