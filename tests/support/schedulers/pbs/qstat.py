"""qstat and qselect of the pretended PBS."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from tests.support.schedulers.pbs.fake_pbs import HOST, OWNER, WHEN, RefusedError, Site


def qstat(site: Site, words: Sequence[str]) -> int:
    if "--version" in words:
        print("Version: 6.1.3\nCommit: 0" if site.is_torque else "pbs_version = 23.06.06")
        return 0
    options, ids = _split(words)
    known = {"-f", "-1", "-t", "-B"} if site.is_torque else {"-f", "-w", "-t", "-x", "-B", "-E"}
    if set(options) - known or ("-E" in options and not site.config["express"]):
        raise RefusedError(
            "usage: \nqstat [-f] [-J] [-p] [-t] [-x] [-E] [-F format | -w] [ job_identifier... ]", 2
        )
    if "-B" in options:
        print(
            "Server: pbs-m1\n    server_state = Active\n    "
            f"max_array_size = {site.config['max_array_size']}"
        )
        if site.config["query_other_jobs"]:
            print("    query_other_jobs = True")
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
    """One query for all: sorted; what is not known is left out without a word as long as anything
    is known.
    """
    if any(not re.match(r"\d+(\[\d*\])?(\.|$)", native) for native in ids):
        raise RefusedError("qstat: Express option can only be used with job ids", 1)
    strangers = [
        native for native in ids if "." in native and native.split(".")[1] != HOST.split(".")[0]
    ]
    shown, failed = [], []
    for native in sorted(set(ids) - set(strangers), key=_number):
        try:
            shown.append("\n".join(_show(site, native, options)))
        except RefusedError as refused:  # noqa: PERF203 - every id has its own answer
            failed.append(refused)
    if failed and not shown:
        raise failed[0]
    print("\n".join(shown))
    for native in strangers:
        print(f"qstat: illegally formed job identifier: {native}", file=sys.stderr)
    return 1 if strangers else 0


def _show(site: Site, native: str, options: Sequence[str]) -> list[str]:
    full = f"{native.partition('.')[0]}.{HOST}"
    job = site.find(native)
    is_over = job is not None and site.is_over(job)
    if job is None or (is_over and _is_forgotten(site, job)):
        raise RefusedError(f"qstat: Unknown Job Id {full}", 153)
    if is_over and "-x" not in options and not site.is_torque:
        raise RefusedError(
            f"qstat: {full} Job has finished, use -x or -H to obtain historical job information", 35
        )
    lines = _show_one(site, job, None if job["indices"] else 0, options)
    if "-t" in options:
        if site.never(job):
            (site.folder / "jobs" / str(job["number"]) / "asked-t").touch()
        lines += [line for index in job["indices"] for line in _show_one(site, job, index, options)]
    return lines


def _is_forgotten(site: Site, job: Mapping[str, Any]) -> bool:
    """Torque takes a job whose dependency failed out of its books at once."""
    return not site.config["history"] or (site.is_torque and site.never(job))


def _show_one(
    site: Site, job: Mapping[str, Any], index: int | None, options: Sequence[str]
) -> list[str]:
    native = (
        job["id"] if index is None or not job["indices"] else job["id"].replace("[]", f"[{index}]")
    )
    state = _parent_state(site, job) if index is None else _state(site, job, index)
    used_memory, asked_memory = state.get("memory") or (None, None)
    fields = {
        "Job_Name": job["name"]
        + (f"-{index}" if site.is_torque and job["indices"] and index is not None else ""),
        "Job_Owner": f"{OWNER}@{HOST}",
        "resources_used.mem": used_memory,
        "resources_used.walltime": state.get("used"),
        "job_state": state["state"],
        "queue": job["queue"],
        "exec_host": state.get("node") and f"{state['node']}/0*1",
        "depend": None if job["indices"] and index is not None else _depend(job, state),
        "Hold_Types": "s" if state["state"] == "H" else None,
        "substate": None if site.is_torque else state.get("substate"),
        "Resource_List.mem": asked_memory,
        "Resource_List.walltime": job["walltime"],
        "stime": state.get("node") and "Sat Nov 21 01:55:41 2026",
        "Variable_List": "PBS_O_HOME=/home/user,PBS_O_LANG=C.UTF-8,"
        "PBS_O_PATH=/usr/bin:/bin,PBS_O_SHELL=/bin/bash",
        "comment": None if site.is_torque else state.get("comment"),
        "run_count": state.get("runs"),
        "exit_status" if site.is_torque else "Exit_status": state.get("exit"),
    }
    if index is None:
        span = f"{job['indices'][0]}-{job['indices'][-1]}"
        fields |= (
            {"job_array_request": span}
            if site.is_torque
            else {"array": True, "array_indices_submitted": span}
        )
    lines = [f"    {name} = {value}" for name, value in fields.items() if value not in (None, "")]
    if "-w" not in options and "-1" not in options:
        lines = [part for line in lines for part in _wrap(line)]
    return [f"Job Id: {native}", *lines, ""]


def _depend(job: Mapping[str, Any], state: Mapping[str, Any]) -> str | None:
    """What a job waits for, or waited for in vain; it is gone from one that was released."""
    if state["state"] not in "HF" or state.get("node"):
        return None
    return ",".join(f"{kind}:{native}@{HOST}" for kind, native in job["depend"]) or None


def _state(site: Site, job: Mapping[str, Any], index: int) -> dict[str, Any]:
    if not site.never(job):
        return site.state(job, index)
    return (
        {"state": "X", "substate": 70, "comment": "Subjob finished"}
        if job["indices"]
        else {"state": "F", "substate": 92}
    )


def _wrap(line: str) -> list[str]:
    """As qstat does: at 80 columns, and what follows is indented by a tab."""
    return [line[:79], *(f"\t{line[start : start + 71]}" for start in range(79, len(line), 71))]


def _parent_state(site: Site, job: Mapping[str, Any]) -> dict[str, Any]:
    """Its exit status is that of the sub-job that ended last: it says nothing.

    The first question about the sub-jobs of one that never began leaves their comment on it.
    """
    if site.never(job):
        was_asked = (site.folder / "jobs" / str(job["number"]) / "asked-t").exists()
        return {"state": "F", "substate": 92, "comment": "Subjob finished" if was_asked else None}
    states = [site.state(job, index) for index in job["indices"]]
    over = site.is_over(job)
    has_begun = any(state["state"] != "Q" for state in states)
    if (
        not has_begun
        and job["depend"]
        and not (site.folder / "jobs" / str(job["number"]) / "released").exists()
    ):
        return {"state": "H", "substate": 22}
    letter = ("C" if site.is_torque else "F") if over else "B" if has_begun else "Q"
    exit_of = site.exit_of(job)
    return {
        "state": letter,
        "substate": 93 if over else 70,
        "comment": f"Job Array Began at {WHEN}" + (" and failed" if over else "")
        if has_begun
        else job["comment"],
        **({} if exit_of is None else {"exit": exit_of}),
    }


def qselect(site: Site, words: Sequence[str]) -> int:
    if "-x" in words and not site.config["history"]:
        print("qselect: PBS is not configured to maintain job history ", file=sys.stderr)
        return 0
    user = words[words.index("-u") + 1] if "-u" in words else site.config["owner"]
    for job in site.jobs() if user == site.config["owner"] else ():
        is_over = site.is_over(job)
        if not is_over or (("-x" in words or site.is_torque) and not _is_forgotten(site, job)):
            print(job["id"])
    return 0


def _split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    return [word for word in words if word.startswith("-")], [
        word for word in words if not word.startswith("-")
    ]


def _number(native: str) -> int:
    """The number at the beginning of an id."""
    return int(native.split(".")[0].split("[")[0])
