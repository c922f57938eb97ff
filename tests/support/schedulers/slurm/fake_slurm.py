#!/usr/bin/env python3
"""A Slurm that takes everything and starts nothing, for counting calls where there is no real one; one file of state.

Called as `sbatch`, `squeue`, `sacct`, `scancel` or `scontrol`, with the arguments that the suite gives them.
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

STATE = Path(os.environ["FAKE_SLURM"])
MAX_ARRAY_SIZE = 1001


def sbatch(words: list[str]) -> str:
    jobs = read()
    options = dict(
        word[2:].split("=", 1) for word in words if word.startswith("--") and "=" in word
    )
    indices = options["array"].partition("%")[0]
    jobs.append(
        {"id": len(jobs) + 1, "name": options["job-name"], "indices": indices, "state": "PENDING"}
    )
    STATE.write_text(json.dumps(jobs))
    return str(len(jobs))


def squeue(words: list[str]) -> str:
    form = words[words.index("-o") + 1]
    wanted = words[words.index("-j") + 1].split(",") if "-j" in words else None
    chosen = [job for job in read() if wanted is None or str(job["id"]) in wanted]
    return "\n".join(shown(job, form) for job in chosen)


def shown(job: dict[str, object], form: str) -> str:
    values = {
        "%F": job["id"],
        "%K": job["indices"],
        "%T": job["state"],
        "%N": "",
        "%r": "JobHeldUser",
        "%j": job["name"],
    }
    return re.sub("%.", lambda field: str(values[field[0]]), form)


def sacct(words: list[str]) -> str:
    del words
    rows = [
        f"{job['id']}_[{job['indices']}]|{job['state']} by 0|0:0|0:0|None assigned"
        for job in read()
    ]
    return "\n".join(row.replace("PENDING by 0", "PENDING") for row in rows)


def scancel(words: list[str]) -> str:
    stopped = {word.partition("_")[0] for word in words}
    jobs = [{**job, "state": "CANCELLED"} if str(job["id"]) in stopped else job for job in read()]
    STATE.write_text(json.dumps(jobs))
    return ""


def scontrol(words: list[str]) -> str:
    return (
        "Slurmctld(primary) at head is UP"
        if words == ["ping"]
        else f"MaxArraySize            = {MAX_ARRAY_SIZE}"
    )


def read() -> list[dict[str, object]]:
    return list(json.loads(STATE.read_text())) if STATE.exists() else []


if __name__ == "__main__":
    print(
        {
            "sbatch": sbatch,
            "squeue": squeue,
            "sacct": sacct,
            "scancel": scancel,
            "scontrol": scontrol,
        }[Path(sys.argv[0]).name](sys.argv[1:])
    )
