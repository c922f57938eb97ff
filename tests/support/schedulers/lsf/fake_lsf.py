#!/usr/bin/env python3
"""A pretended LSF in a folder: `bsub`, `bjobs`, `bkill`, `bparams` and `lsid`, as its manual
describes them.

No real LSF was at hand: what is printed is modelled on the documentation, not recorded. Each array
has a
process of its own that starts its elements, keeps their limits, and writes where they stand. A
minute of
a time limit lasts as long as `minute_s` says.
"""

from __future__ import annotations

import fcntl
import json
import os
import pwd
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CONFIG: dict[str, Any] = {
    "max_array_size": 1000,
    "max_pending": 1_000_000,
    "minute_s": 0.5,
    "grace_s": 1.0,  # from a polite signal to SIGKILL
    "down": False,
    "held": False,  # starts nothing
    "lose_answer": False,
    "owner": pwd.getpwuid(os.getuid()).pw_name,  # of all jobs
    "secrecy": 0,  # SECURE_JOB_INFO_LEVEL
    "forgets": False,  # CLEAN_PERIOD is over for what has ended
}
COMMANDS = ("bsub", "bjobs", "bkill", "bparams", "lsid")
DOWN = "LSF is down. Please wait ..."


def install(site: Path, **config: Any) -> Path:
    """Makes the folder of a site and returns the folder of its commands."""
    commands = site / "bin"
    commands.mkdir(parents=True)
    for folder in ("jobs", "kill"):
        (site / folder).mkdir()
    configure(site, **config)
    for name in COMMANDS:
        path = commands / name
        path.write_text(
            f"#!/bin/sh\nexec {shlex.quote(sys.executable)} -S {shlex.quote(__file__)} "
            f'{shlex.quote(str(site))} {name} "$@"\n'
        )
        path.chmod(0o755)
    return commands


def configure(site: Path, **config: Any) -> None:
    """Changes how the site behaves."""
    path = site / "config.json"
    now = json.loads(path.read_text()) if path.exists() else CONFIG
    path.write_text(json.dumps({**now, **config}))


def calls(site: Path, command: str) -> list[list[str]]:
    """The arguments of each call of a command."""
    path = site / "calls"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [line[1:] for line in lines if line[0] == command]


def close(site: Path) -> None:
    """Ends every array's process."""
    for path in (site / "jobs").glob("*.json"):
        (site / "kill" / f"{path.stem}.all").touch()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and any(_is_busy(job) for job in read_jobs(site)):
        time.sleep(0.05)


def _is_busy(job: dict[str, Any]) -> bool:
    return any(element["stat"] not in ("DONE", "EXIT") for element in job["elements"])


def read_jobs(site: Path) -> list[dict[str, Any]]:
    """All jobs, in the order of their ids."""
    paths = sorted((site / "jobs").glob("*.json"), key=lambda path: int(path.stem))
    return [json.loads(path.read_text()) for path in paths]


def write_job(site: Path, job: dict[str, Any]) -> None:
    path = site / "jobs" / f"{job['id']}.json"
    draft = path.with_suffix(f".{os.getpid()}.tmp")
    draft.write_text(json.dumps(job))
    draft.replace(path)


@contextmanager
def locked(site: Path) -> Iterator[None]:
    with (site / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def fail(words: str, code: int = 255) -> int:
    print(words, file=sys.stderr)
    return code


# ---- bsub


def bsub(site: Path, words: Sequence[str], config: dict[str, Any]) -> int:
    script = sys.stdin.read()
    options = parse_options(script, words)
    if config["down"]:
        return fail("Failed in an LSF library call: A connect sys call failed. Job not submitted.")
    if options.get("-q", "normal") == "nosuch":
        return fail(f"{options['-q']}: No such queue. Job not submitted.")
    name = re.fullmatch(r"(.+)\[1-(\d+)\](?:%(\d+))?", options["-J"])
    assert name is not None, options
    size = int(name[2])
    if size > config["max_array_size"]:
        return fail(f"{options['-J']}: Bad array index list. Job not submitted.")
    with locked(site):
        jobs = read_jobs(site)
        pending = sum(each["stat"] == "PEND" for job in jobs for each in job["elements"])
        if pending + size > config["max_pending"]:
            return fail("User <me>: Pending job threshold reached. Job not submitted.")
        job = {
            "id": len(jobs) + 101,
            "name": name[1],
            "most": int(name[3] or size),
            "script": script,
            "options": options,
            "elements": [{"stat": "PEND"} for _ in range(size)],
        }
        write_job(site, job)
    argv = [sys.executable, "-S", __file__, str(site), "serve", str(job["id"])]
    with Path(os.devnull).open("r+b") as nothing:
        subprocess.Popen(
            argv, stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True
        )
    if config["lose_answer"]:
        return fail("Communication time out")
    if "BSUB_QUIET" not in os.environ:
        print(f"Job <{job['id']}> is submitted to default queue <normal>.")
    return 0


def parse_options(script: str, words: Sequence[str]) -> dict[str, str]:
    """The options of the script's directives and of the command line, which go before them."""
    found: dict[str, str] = {}
    lines = [line[6:] for line in script.splitlines() if line.startswith("#BSUB ")]
    for given in [*map(shlex.split, lines), list(words)]:
        place = 0
        while place < len(given):
            has_value = place + 1 < len(given) and not given[place + 1].startswith("-")
            found[given[place]] = given[place + 1] if has_value else ""
            place += 2 if has_value else 1
    return found


# ---- what runs an array


@dataclass
class Running:
    """An element at work."""

    process: subprocess.Popen[bytes]
    kill_at: float | None  # its time limit
    reason: str = ""
    die_at: float | None = None


def serve(site: Path, number: int) -> int:
    """Runs the elements of one array to their ends."""
    config = json.loads((site / "config.json").read_text())
    path = site / "jobs" / f"{number}.json"
    job = json.loads(path.read_text())
    running: dict[int, Running] = {}
    while _is_busy(job):
        before = json.dumps(job)
        killed = {int(entry.suffix[1:]) for entry in (site / "kill").glob(f"{number}.[0-9]*")}
        is_over = (site / "kill" / f"{number}.all").exists()
        wait = dependency_of(site, job)
        for index, element in enumerate(job["elements"]):
            if element["stat"] == "PEND":
                _attend_pending(element, wait, is_killed=is_over or index in killed)
        for index, at_work in list(running.items()):
            if is_over or index in killed:
                _ask_to_leave(at_work, "TERM_OWNER: job killed by owner", signal.SIGTERM, config)
            if at_work.kill_at is not None and time.monotonic() > at_work.kill_at:
                words = "TERM_RUNLIMIT: job killed after reaching LSF run time limit"
                _ask_to_leave(at_work, words, signal.SIGUSR2, config)
            _reap(job["elements"][index], at_work)
            if at_work.process.poll() is not None:
                del running[index]
        if wait == "ready" and not config["held"]:
            for index, element in enumerate(job["elements"]):
                if element["stat"] == "PEND" and len(running) < job["most"]:
                    running[index] = start(site, job, index, config)
                    element.update(stat="RUN", host="node1")
        if json.dumps(job) != before:
            write_job(site, job)
        time.sleep(0.03)
    return 0


def dependency_of(site: Path, job: dict[str, Any]) -> str:
    """`ready`, `wait` or `never`."""
    ids = re.findall(r"done\((\d+)\)", job["options"].get("-w", ""))
    before = {str(each["id"]): each["elements"] for each in read_jobs(site)}
    states = [element["stat"] for each in ids for element in before.get(each, [])]
    if "EXIT" in states:
        return "never"
    return "ready" if all(state == "DONE" for state in states) else "wait"


def _attend_pending(element: dict[str, Any], wait: str, *, is_killed: bool) -> None:
    if is_killed:
        element.update(stat="EXIT", reason="TERM_OWNER: job killed by owner")
    elif wait == "never":
        element.update(stat="EXIT", reason="TERM_ORPHAN_SYSTEM: orphan job terminated")


def _ask_to_leave(at_work: Running, reason: str, number: int, config: dict[str, Any]) -> None:
    """First politely, then by force."""
    now = time.monotonic()
    if at_work.die_at is None:
        at_work.reason, at_work.die_at = reason, now + config["grace_s"]
        os.killpg(at_work.process.pid, number)
    elif now > at_work.die_at and at_work.process.poll() is None:
        os.killpg(at_work.process.pid, signal.SIGKILL)


def _reap(element: dict[str, Any], at_work: Running) -> None:
    code = at_work.process.poll()
    if code is None:
        return
    status = code if code >= 0 else 128 - code
    element.update(stat="DONE" if status == 0 else "EXIT", code=status, reason=at_work.reason)


def start(site: Path, job: dict[str, Any], index: int, config: dict[str, Any]) -> Running:
    limit = job["options"].get("-W")
    number, place = str(job["id"]), str(index + 1)
    output = Path(job["options"]["-o"].replace("%J", number).replace("%I", place))
    script = site / "jobs" / f"{number}.{place}.sh"
    script.write_text(job["script"])
    environment = {**os.environ, "LSB_JOBID": number, "LSB_JOBINDEX": place}
    with output.open("ab") as file:
        process = subprocess.Popen(
            ["bash", str(script)],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env=environment,
            start_new_session=True,
        )
    kill_at = None if limit is None else time.monotonic() + int(limit) * config["minute_s"]
    return Running(process, kill_at)


# ---- bjobs, bkill and the rest


def bjobs(site: Path, words: Sequence[str], config: dict[str, Any]) -> int:
    if config["down"]:
        return fail(DOWN)
    assert "-noheader" in words, words
    wanted = [word for word in words if word.isdigit()]
    user = words[words.index("-u") + 1] if "-u" in words else config["owner"]
    jobs = {str(job["id"]): job for job in read_jobs(site)}
    if user != config["owner"]:
        jobs = {}
    if config["forgets"]:
        jobs = {number: job for number, job in jobs.items() if _is_busy(job)}
    for number in wanted or jobs:
        if number in jobs:
            print("\n".join(render_rows(jobs[number])))
        else:
            print(f"Job <{number}> is not found", file=sys.stderr)
    if not wanted and not jobs:
        print("No job found", file=sys.stderr)
    return 255 if set(wanted) - set(jobs) else 0


def render_rows(job: dict[str, Any]) -> Iterator[str]:
    waits = "Job dependency condition not satisfied" if "-w" in job["options"] else "-"
    for index, element in enumerate(job["elements"], 1):
        fields = [
            job["id"],
            index,
            element["stat"],
            element.get("code") or "-",
            element.get("reason") or "-",
            element.get("host", "-"),
            f"{job['name']}[{index}]",
            waits if element["stat"] == "PEND" else "-",
        ]
        yield "|".join(map(str, fields))


def bkill(site: Path, words: Sequence[str], config: dict[str, Any]) -> int:
    if config["down"]:
        return fail(DOWN)
    code = 0
    jobs = {str(job["id"]): job for job in read_jobs(site)}
    for word in words:
        number, _, rest = word.partition("[")
        for part in rest.rstrip("]").split(","):
            low, _, high = part.partition("-")
            for place in range(int(low), int(high or low) + 1):
                if jobs[number]["elements"][place - 1]["stat"] in ("DONE", "EXIT"):
                    code = fail(f"Job <{number}[{place}]>: Job has already finished")
                    continue
                (site / "kill" / f"{number}.{place - 1}").touch()
                print(f"Job <{number}[{place}]> is being terminated")
    return code


def bparams(site: Path, words: Sequence[str], config: dict[str, Any]) -> int:
    del site, words
    if config["down"]:
        return fail(DOWN)
    print(f"\tMAX_JOB_ARRAY_SIZE = {config['max_array_size']}\n\tCLEAN_PERIOD = 3600")
    print(f"\tSECURE_JOB_INFO_LEVEL = {config['secrecy']}")
    return 0


def lsid(site: Path, words: Sequence[str], config: dict[str, Any]) -> int:
    del site, words
    if config["down"]:
        return fail(DOWN)
    print("IBM Spectrum LSF 10.1.0.0\nMy cluster name is made\nMy master name is head")
    return 0


def main(argv: Sequence[str]) -> int:
    site, command, words = Path(argv[0]), argv[1], argv[2:]
    if command == "serve":
        return serve(site, int(words[0]))
    with locked(site), (site / "calls").open("a") as file:
        file.write(json.dumps([command, *words]) + "\n")
    config = json.loads((site / "config.json").read_text())
    return int(globals()[command](site, words, config))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
