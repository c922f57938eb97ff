"""qsub of the pretended PBS: what it refuses, and in which words."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.schedulers.pbs.fake_pbs import HOST, RefusedError, Site, configure, write

USAGE = (
    "usage: qsub [-a date_time] [-A account_string] [-c "
    "interval] ... [script | -- command [arg1 ...]]"
)
WITH_VALUE = "aAceCjJklmMNopPqrRStuvW"


def qsub(site: Site, words: Sequence[str]) -> int:
    given, path = _parse_command_line(words)
    if not path.is_file():
        raise RefusedError("qsub: script file:: No such file or directory", 1)
    content = path.read_bytes().decode()
    if "\r" in content:
        raise RefusedError("qsub: script contains cr, lf", 1)
    job = check(site, [*parse_directives(content), *given], path)
    if site.config["kill_caller"] == "before":
        os.kill(os.getppid(), signal.SIGKILL)
        return 1
    job = _accept(site, job, path)
    if site.config["kill_caller"] == "after":
        os.kill(os.getppid(), signal.SIGKILL)
    if site.config["down_after_qsubs"] == len(list(site.jobs())):
        configure(site.folder, down=True)
    if site.config["lose_answer"]:
        raise RefusedError(site.config["lose_answer"], 162)
    print(job["id"].replace("[]", "") if site.config["bare_ids"] else job["id"])
    return 0


def _parse_command_line(words: Sequence[str]) -> tuple[list[tuple[str, str]], Path]:
    """Options that stand before the one script; they beat its directives."""
    given, rest = [], list(words)
    while len(rest) > 2 and re.fullmatch(f"-[{WITH_VALUE}]", rest[0]):
        given.append((rest.pop(0), rest.pop(0)))
    if len(rest) != 1 or rest[0].startswith("-"):
        raise RefusedError(USAGE, 2)
    return given, Path(rest[0])


def _accept(site: Site, job: dict[str, Any], path: Path) -> dict[str, Any]:
    number = site.new_number()
    job |= {"number": number, "id": f"{number}{'[]' if job['indices'] else ''}.{HOST}"}
    folder = site.folder / "jobs" / str(number)
    shutil.copy(path, folder / "script")
    write(folder / "job.json", job)
    subprocess.Popen(
        [
            sys.executable,
            "-S",
            "-E",
            str(Path(__file__).with_name("node.py")),
            str(site.folder),
            str(number),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    return job


def parse_directives(content: str) -> list[tuple[str, str]]:
    """Options of the `#PBS` lines before the first command."""
    found = []
    for line in content.splitlines():
        if line.startswith("#PBS "):
            letter, _, value = line[5:].partition(" ")
            found.append((letter, value))
        elif line.strip() and not line.startswith("#"):
            break
    return found


def check(site: Site, options: Sequence[tuple[str, str]], path: Path) -> dict[str, Any]:
    given = dict(options)
    name = given.get("-N", path.name)
    if not re.fullmatch(r"[A-Za-z0-9_.+-]{1,230}", name):
        raise RefusedError(f"qsub: illegal -N value\n{USAGE}", 2)
    if site.config["refusal"]:
        raise RefusedError(*site.config["refusal"])
    if given.get("-q", "workq") not in site.config["queues"]:
        raise RefusedError("qsub: Unknown queue", 170)
    asked = [value for letter, value in options if letter == "-l"]
    (_check_torque if site.is_torque else _check_pro)(site, asked)
    walltime = next(
        (value.partition("=")[2] for value in reversed(asked) if value.startswith("walltime=")), ""
    )
    if not re.fullmatch(r"(\d+:)?(\d+:)?\d+|", walltime):
        raise RefusedError("qsub: Illegal attribute or resource value Resource_List.walltime", 166)
    indices, limit = _indices(site, given)
    _check_limits(site, len(indices) or 1)
    seconds = sum(
        int(part) * 60**power for power, part in enumerate(reversed(walltime.split(":"))) if part
    )
    return {
        "name": name,
        "indices": indices,
        "limit": limit,
        "walltime": walltime,
        "walltime_s": seconds or None,
        "output": given.get("-o", ""),
        "asked": asked,
        "queue": given.get("-q", "workq"),
        "comment": _comment(asked),
        "depend": _dependencies(site, [value for letter, value in options if letter == "-W"]),
    }


def _comment(asked: Sequence[str]) -> str:
    gpus = next((int(found[1]) for text in asked if (found := re.search(r"ngpus=(\d+)", text))), 0)
    if gpus > 4:
        return f"Can Never Run: Insufficient amount of resource: ngpus (R: {gpus} A: 4 T: 4)"
    return "Not Running: Not enough free nodes available"


def _check_pro(site: Site, asked: Sequence[str]) -> None:
    select = next((value for value in asked if value.startswith("select=")), None)
    for value in asked:
        name, _, amount = value.partition("=")
        if name == "nodes" and "gpus=" in amount:
            raise RefusedError("qsub: node(s) specification error", 241)
        if name in ("mem", "ncpus", "ngpus") and select:
            text = (
                f'qsub: "-lresource=" cannot be used with "select" or "place", resource is: {name}'
            )
            raise RefusedError(text, 5)
        if name not in ("select", "walltime", "place", "nodes", *site.config["resources"]):
            raise RefusedError(f"qsub: Unknown resource Resource_List.{name}", 187)
    for part in (select or "").split(":")[1:]:
        name, _, amount = part.partition("=")
        if name not in site.config["resources"]:
            raise RefusedError(f"qsub: Unknown resource: {name}", 187)
        if (name == "mem" and not re.fullmatch(r"\d+[kmgt]?b?", amount)) or (
            name == "ncpus" and not amount.isdigit()
        ):
            raise RefusedError(f"qsub: Illegal attribute or resource value select.{name}", 166)


def _check_torque(site: Site, asked: Sequence[str]) -> None:
    if any(value.startswith("select") for value in asked):
        raise RefusedError(
            "qsub: submit error (Unknown resource type  REJHOST=head "
            "MSG=cannot locate resource 'select')",
            1,
        )


def _indices(site: Site, given: Mapping[str, str]) -> tuple[list[int], int | None]:
    ours, theirs = ("-t", "-J") if site.is_torque else ("-J", "-t")
    if theirs in given:
        raise RefusedError(f"qsub: invalid option -- '{theirs[1]}'\n{USAGE}", 2)
    if ours not in given:
        return [], None
    match = re.fullmatch(r"(\d+)-(\d+)(?:%(\d+))?", given[ours])
    if not match or int(match[1]) >= int(match[2]):
        raise RefusedError(f"qsub: illegal {ours} value\n{USAGE}", 2)
    if given.get("-r") == "n":
        raise RefusedError(f"qsub:  cannot submit non-rerunable Array Job\n{USAGE}", 2)
    indices = list(range(int(match[1]), int(match[2]) + 1))
    most = min(site.config["max_array_size"], site.config["queue_array_size"] or len(indices))
    if len(indices) > most:
        raise RefusedError("qsub: Array job exceeds server or queue size limit", 3)
    return indices, int(match[3]) if match[3] else None


def _dependencies(site: Site, attributes: Sequence[str]) -> list[tuple[str, str]]:
    """Kind and id of each job to wait for; no sub-jobs, and arrays by their own word in Torque."""
    text = next(
        (value.partition("=")[2] for value in attributes if value.startswith("depend=")), ""
    )
    kinds = "afterok|afterany|afternotok" + ("|afterokarray" if site.is_torque else "")
    found = []
    for condition in filter(None, text.split(",")):
        match = re.fullmatch(rf"({kinds})((?::\d+(?:\[\])?(?:\.[A-Za-z0-9.-]+)?)+)", condition)
        if match is None:
            raise RefusedError(f"qsub: illegal -W value\n{USAGE}", 2)
        found += [(match[1], native) for native in match[2].split(":")[1:]]
    return found


def _check_limits(site: Site, count: int) -> None:
    if site.config["max_queued"] is None:
        return
    queued = sum(len(job["indices"]) or 1 for job in site.jobs() if not site.is_over(job))
    if queued + count > site.config["max_queued"]:
        raise RefusedError("qsub: would exceed queue generic's per-user limit", 38)
