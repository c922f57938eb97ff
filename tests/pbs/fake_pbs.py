"""A PBS without a server: qsub, qstat, qselect and qdel that answer as recorded, and run scripts as local processes.

`install` puts them into a folder for PATH. Each submitted job is carried out by a detached process of its own
(`fake_mom`), the one writer of its states; commands only read them, and ask it to delete by creating files.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HOST = "pbs-m1.example.org"
OWNER = os.environ.get("USER") or "root"
WHEN = "Sat Nov 21 at 01:55"
CONFIG: dict[str, Any] = {
    "dialect": "pro",
    "queues": ["workq", "gpu"],
    "resources": ["ncpus", "mem", "ngpus", "scratch_local", "gpu_mem", "gpu_cap", "cluster", "host"],
    "slots": 4,
    "max_array_size": 10000,
    "max_queued": None,
    "history": True,
    "express": True,  # qstat knows -E
    "down": False,
    "hook": None,  # text with which a site's hook refuses every job
    "lose_answer": False,  # qsub: the job is accepted, the connection breaks before the id is printed
    "hang_s": 0,
    "kill_delay_s": 2.0,
    "scratch": None,
    "bare_ids": False,  # arrays are numbered without []
    "held": False,  # nothing is started
}


def install(folder: Path, **config: Any) -> Path:
    """Writes the commands into `folder/bin` and returns that; `config` overrides CONFIG."""
    (folder / "jobs").mkdir(parents=True)
    (folder / "bin").mkdir()
    (folder / "home").mkdir()
    (folder / "open").touch()
    configure(folder, **config)
    for name in ("qsub", "qstat", "qselect", "qdel"):
        command = folder / "bin" / name
        command.write_text(f'#!/bin/sh\nexec {sys.executable} -S -E {__file__} {name} {folder} "$@"\n')
        command.chmod(0o755)
    return folder / "bin"


def close(folder: Path) -> None:
    """Ends whatever still waits or runs."""
    (folder / "open").unlink(missing_ok=True)


def configure(folder: Path, **config: Any) -> None:
    path = folder / "config.json"
    before = json.loads(path.read_text()) if path.exists() else CONFIG
    write(path, {**before, **config})


def calls(folder: Path) -> list[list[str]]:
    """Every command that was run, with its arguments."""
    path = folder / "calls"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


class RefusedError(Exception):
    """A command's error text and exit code."""

    def __init__(self, text: str, code: int) -> None:
        self.text, self.code = text, code
        super().__init__(text)


@dataclass
class Site:
    """The folder with everything."""

    folder: Path
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_torque(self) -> bool:
        return bool(self.config["dialect"] == "torque")

    def jobs(self) -> Iterator[dict[str, Any]]:
        for name in sorted(os.listdir(self.folder / "jobs"), key=int):
            if (self.folder / "jobs" / name / "job.json").exists():
                yield json.loads((self.folder / "jobs" / name / "job.json").read_text())

    def state(self, job: Mapping[str, Any], index: int) -> dict[str, Any]:
        path = self.folder / "jobs" / str(job["number"]) / f"{index}.json"
        waiting = {"state": "Q", "substate": 10, "comment": job["comment"]}
        return json.loads(path.read_text()) if path.exists() else waiting

    def new_number(self) -> int:
        number = 1
        while True:
            try:
                (self.folder / "jobs" / str(number)).mkdir()
            except FileExistsError:  # noqa: PERF203 - another qsub took it
                number += 1
            else:
                return number


def main(argv: Sequence[str]) -> int:
    command, folder, *words = argv
    site = Site(Path(folder), json.loads((Path(folder) / "config.json").read_text()))
    with (site.folder / "calls").open("a") as file:
        file.write(json.dumps([command, *words]) + "\n")
    try:
        if words != ["--version"]:
            time.sleep(site.config["hang_s"])
            _fail_if_down(site, command)
        return {"qsub": qsub, "qstat": qstat, "qselect": qselect, "qdel": qdel}[command](site, words)
    except RefusedError as refused:
        print(refused.text, file=sys.stderr)
        return refused.code


def _fail_if_down(site: Site, command: str) -> None:
    if site.config["down"]:
        lost = f"{command}: cannot connect to server {HOST} (errno=15010)"
        if command == "qdel":
            lost = f"Couldn't connect to cluster: {HOST}"
        raise RefusedError(f"Connection refused\n{lost}", 255 if command == "qstat" else 162)


# ---- qsub


def qsub(site: Site, words: Sequence[str]) -> int:
    if len(words) != 1 or words[0].startswith("-"):
        raise RefusedError("usage: qsub [-a date_time] [-A account_string] ... [script | -- command [arg1 ...]]", 2)
    path = Path(words[0])
    if not path.is_file():
        raise RefusedError("qsub: script file:: No such file or directory", 1)
    content = path.read_bytes().decode()
    if "\r" in content:
        raise RefusedError("qsub: script contains cr, lf", 1)
    options = parse_directives(content)
    job = check(site, options, path)
    number = site.new_number()
    job |= {"number": number, "id": f"{number}{'[]' if job['indices'] else ''}.{HOST}"}
    folder = site.folder / "jobs" / str(number)
    shutil.copy(path, folder / "script")
    write(folder / "job.json", job)
    subprocess.Popen(
        [sys.executable, "-S", "-E", str(Path(__file__).with_name("fake_mom.py")), str(site.folder), str(number)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    if site.config["lose_answer"]:
        raise RefusedError(f"Connection refused\nqsub: cannot connect to server {HOST} (errno=15010)", 162)
    print(job["id"].replace("[]", "") if site.config["bare_ids"] else job["id"])
    return 0


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
        raise RefusedError("qsub: illegal -N value\nusage: qsub [-a date_time] ...", 2)
    if site.config["hook"]:
        raise RefusedError(f"qsub: {site.config['hook']}", 32)
    if given.get("-q", "workq") not in site.config["queues"]:
        raise RefusedError("qsub: Unknown queue", 170)
    asked = [value for letter, value in options if letter == "-l"]
    (_check_torque if site.is_torque else _check_pro)(site, asked)
    walltime = next((value.partition("=")[2] for value in asked if value.startswith("walltime=")), "")
    if not re.fullmatch(r"(\d+:)?(\d+:)?\d+|", walltime):
        raise RefusedError("qsub: Illegal attribute or resource value Resource_List.walltime", 166)
    indices, limit = _indices(site, given)
    _check_limits(site, len(indices) or 1)
    seconds = sum(int(part) * 60**power for power, part in enumerate(reversed(walltime.split(":"))) if part)
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
            text = f'qsub: "-lresource=" cannot be used with "select" or "place", resource is: {name}'
            raise RefusedError(text, 5)
        if name not in ("select", "walltime", "place", "nodes", *site.config["resources"]):
            raise RefusedError(f"qsub: Unknown resource Resource_List.{name}", 187)
    for part in (select or "").split(":")[1:]:
        name, _, amount = part.partition("=")
        if name not in site.config["resources"]:
            raise RefusedError(f"qsub: Unknown resource: {name}", 187)
        if (name == "mem" and not re.fullmatch(r"\d+[kmgt]?b?", amount)) or (name == "ncpus" and not amount.isdigit()):
            raise RefusedError(f"qsub: Illegal attribute or resource value select.{name}", 166)


def _check_torque(site: Site, asked: Sequence[str]) -> None:
    if any(value.startswith("select") for value in asked):
        raise RefusedError(
            "qsub: submit error (Unknown resource type  REJHOST=head MSG=cannot locate resource 'select')", 1
        )


def _indices(site: Site, given: Mapping[str, str]) -> tuple[list[int], int | None]:
    ours, theirs = ("-t", "-J") if site.is_torque else ("-J", "-t")
    if theirs in given:
        raise RefusedError(f"qsub: invalid option -- '{theirs[1]}'\nusage: qsub [-a date_time] ...", 2)
    if ours not in given:
        return [], None
    match = re.fullmatch(r"(\d+)-(\d+)(?:%(\d+))?", given[ours])
    if not match or int(match[1]) >= int(match[2]):
        raise RefusedError(f"qsub: illegal {ours} value\nusage: qsub [-a date_time] ...", 2)
    indices = list(range(int(match[1]), int(match[2]) + 1))
    if len(indices) > site.config["max_array_size"]:
        raise RefusedError("qsub: Array job exceeds server or queue size limit", 3)
    return indices, int(match[3]) if match[3] else None


def _check_limits(site: Site, count: int) -> None:
    if site.config["max_queued"] is None:
        return
    queued = sum(len(job["indices"]) or 1 for job in site.jobs() if not _is_over(site, job))
    if queued + count > site.config["max_queued"]:
        raise RefusedError("qsub: would exceed queue generic's per-user limit", 38)


def _is_over(site: Site, job: Mapping[str, Any]) -> bool:
    return all(site.state(job, index)["state"] in "FXC" for index in job["indices"] or [0])


# ---- qstat, qselect


def qstat(site: Site, words: Sequence[str]) -> int:
    if "--version" in words:
        print("Version: 6.1.3\nCommit: 0" if site.is_torque else "pbs_version = 23.06.06")
        return 0
    options, ids = _split(words)
    known = {"-f", "-1", "-t", "-B"} if site.is_torque else {"-f", "-w", "-t", "-x", "-B", "-E"}
    if set(options) - known or ("-E" in options and not site.config["express"]):
        raise RefusedError("usage: \nqstat [-f] [-J] [-p] [-t] [-x] [-E] [-F format | -w] [ job_identifier... ]", 2)
    if "-B" in options:
        print(f"Server: pbs-m1\n    server_state = Active\n    max_array_size = {site.config['max_array_size']}")
        return 0
    if "-x" in options and not site.config["history"]:
        print(f"qstat: PBS is not configured to maintain job history {ids[-1]}", file=sys.stderr)
        return 0
    if "-E" in options:
        return _qstat_express(site, options, ids)
    code = 0
    for native in ids:
        try:
            print("\n".join(_show(site, native, options)))
        except RefusedError as refused:  # noqa: PERF203 - every id has its own answer
            print(refused.text, file=sys.stderr)
            code = refused.code
    return code


def _qstat_express(site: Site, options: Sequence[str], ids: Sequence[str]) -> int:
    """One query for all: sorted; what is not known is left out without a word as long as anything is known."""
    if any(not re.match(r"\d+(\[\d*\])?(\.|$)", native) for native in ids):
        raise RefusedError("qstat: Express option can only be used with job ids", 1)
    shown, failed = [], []
    for native in sorted(ids, key=lambda native: int(re.match(r"\d+", native)[0])):  # type: ignore[index]
        try:
            shown.append("\n".join(_show(site, native, options)))
        except RefusedError as refused:  # noqa: PERF203 - every id has its own answer
            failed.append(refused)
    if failed and not shown:
        raise failed[0]
    print("\n".join(shown))
    return 0


def _show(site: Site, native: str, options: Sequence[str]) -> list[str]:
    match = re.match(r"(\d+)(\[\d*\])?", native)
    number, brackets = (match[1], match[2] or "") if match else ("", "")
    job = next((job for job in site.jobs() if str(job["number"]) == number), None)
    full = f"{number}{brackets}.{HOST}"
    if job is None or bool(job["indices"]) != bool(brackets) or (not site.config["history"] and _is_over(site, job)):
        raise RefusedError(f"qstat: Unknown Job Id {full}", 153)
    if _is_over(site, job) and "-x" not in options and not site.is_torque:
        raise RefusedError(f"qstat: {full} Job has finished, use -x or -H to obtain historical job information", 35)
    lines = _show_one(site, job, None if job["indices"] else 0, options)
    if "-t" in options:
        lines += [line for index in job["indices"] for line in _show_one(site, job, index, options)]
    return lines


def _show_one(site: Site, job: Mapping[str, Any], index: int | None, options: Sequence[str]) -> list[str]:
    native = job["id"] if index is None or not job["indices"] else job["id"].replace("[]", f"[{index}]")
    state = _parent_state(site, job) if index is None else site.state(job, index)
    fields = {
        "Job_Name": job["name"] + (f"-{index}" if site.is_torque and job["indices"] and index is not None else ""),
        "Job_Owner": f"{OWNER}@{HOST}",
        "resources_used.walltime": state.get("used"),
        "job_state": state["state"],
        "queue": job["queue"],
        "substate": None if site.is_torque else state.get("substate"),
        "Resource_List.walltime": job["walltime"],
        "Variable_List": "PBS_O_HOME=/home/user,PBS_O_LANG=C.UTF-8,PBS_O_PATH=/usr/bin:/bin,PBS_O_SHELL=/bin/bash",
        "comment": None if site.is_torque else state.get("comment"),
        "exit_status" if site.is_torque else "Exit_status": state.get("exit"),
    }
    if index is None:
        span = f"{job['indices'][0]}-{job['indices'][-1]}"
        fields |= {"job_array_request": span} if site.is_torque else {"array": True, "array_indices_submitted": span}
    lines = [f"    {name} = {value}" for name, value in fields.items() if value not in (None, "")]
    if "-w" not in options and "-1" not in options:
        lines = [part for line in lines for part in _wrap(line)]
    return [f"Job Id: {native}", *lines, ""]


def _wrap(line: str) -> list[str]:
    """As qstat does: at 80 columns, and what follows is indented by a tab."""
    return [line[:79], *(f"\t{line[start : start + 71]}" for start in range(79, len(line), 71))]


def _parent_state(site: Site, job: Mapping[str, Any]) -> dict[str, Any]:
    """Its exit status is that of the sub-job that ended last: it says nothing."""
    states = [site.state(job, index) for index in job["indices"]]
    exits = [state["exit"] for state in states if "exit" in state]
    over = _is_over(site, job)
    letter = ("C" if site.is_torque else "F") if over else "Q" if all(s["state"] == "Q" for s in states) else "B"
    ending = {"exit": 0 if exits[-1] == 0 else 1} if exits else {}
    comment = f"Job Array Began at {WHEN}" if letter != "Q" else job["comment"]
    return {
        "state": letter,
        "substate": 93 if over else 70,
        "comment": comment + (" and failed" if over else ""),
        **ending,
    }


def qselect(site: Site, words: Sequence[str]) -> int:
    if "-x" in words and not site.config["history"]:
        print("qselect: PBS is not configured to maintain job history ", file=sys.stderr)
        return 0
    for job in site.jobs():
        if "-x" in words or site.is_torque or not _is_over(site, job):
            print(job["id"])
    return 0


def _split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    return [word for word in words if word.startswith("-")], [word for word in words if not word.startswith("-")]


# ---- qdel


def qdel(site: Site, words: Sequence[str]) -> int:
    code = 0
    for native in words:
        try:
            _delete(site, native)
        except RefusedError as refused:  # noqa: PERF203 - every id has its own answer
            print(refused.text, file=sys.stderr)
            code = refused.code
    return code


def _delete(site: Site, native: str) -> None:
    match = re.match(r"(\d+)(?:\[(\d+)?(?:-(\d+))?\])?", native)
    job = next((job for job in site.jobs() if match and str(job["number"]) == match[1]), None)
    if not match or job is None or bool(job["indices"]) != ("[" in native):
        raise RefusedError(f"qdel: Unknown Job Id {native}", 153)
    if _is_over(site, job):
        raise RefusedError(f"qdel: Job has finished {native}", 35)
    low = int(match[2]) if match[2] else 0
    high = int(match[3] or low) if match[2] else max(job["indices"], default=0)
    for index in range(low, high + 1):
        (site.folder / "jobs" / match[1] / f"delete.{index}").touch()
    # queued sub-jobs become X at once
    time.sleep(0.05)


def write(path: Path, form: Mapping[str, Any]) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(json.dumps(form))
    draft.chmod(stat.S_IRUSR | stat.S_IWUSR)
    draft.replace(path)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
