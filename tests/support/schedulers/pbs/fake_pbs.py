"""A PBS without a server: qsub, qstat, qselect, qalter and qdel that answer as recorded, and run
scripts locally.

`install` puts them into a folder for PATH. Each submitted job is carried out by a detached process
of its own
(`node`), the one writer of its states; commands only read them, and ask it to delete by creating
files.
"""

from __future__ import annotations

import json
import os
import pwd
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HOST = "pbs-m1.example.org"
NODE = "pbs-m1"
OWNER = os.environ.get("USER") or "root"
WHEN = "Sat Nov 21 at 01:55"
CONFIG: dict[str, Any] = {
    "dialect": "pro",
    "queues": ["workq", "gpu"],
    "resources": [
        "ncpus",
        "mem",
        "ngpus",
        "scratch_local",
        "gpu_mem",
        "gpu_cap",
        "cluster",
        "host",
    ],
    "slots": 4,
    "max_array_size": 10000,
    "queue_array_size": None,  # of the queue, where that is less than the server's
    "max_queued": None,
    "history": True,
    "express": True,  # qstat knows -E
    "down": False,
    "down_calls": 0,  # so many questions find the server down
    "down_after_qsubs": None,  # so many jobs are taken, and then the server is killed
    "refusal": None,  # [text, code] with which every job is refused
    # text of qsub after it was accepted, in place of the id; CUT or NEVER_THERE
    "lose_answer": None,
    "kill_caller": None,  # "before" or "after" qsub is accepted: its caller is killed
    "hang_s": 0,
    "kill_delay_s": 2.0,
    "scratch": None,
    "bare_ids": False,  # arrays are numbered without []
    "held": False,  # nothing is started
    "owner": pwd.getpwuid(os.getuid()).pw_name,  # of all jobs
    "query_other_jobs": True,
    # memory used and asked for, as qstat shows it, of jobs that are killed for it as they begin
    "memory_kill": None,
    "deaf": False,  # qdel leaves with 0 and does nothing
}
CUT = "End of File\nqsub: Batch protocol error"
NEVER_THERE = f"Connection refused\nqsub: cannot connect to server {HOST} (errno=15010)"
COMMANDS = ("qsub", "qstat", "qselect", "qalter", "qdel")


def install(folder: Path, **config: Any) -> Path:
    """Writes the commands into `folder/bin` and returns that; `config` overrides CONFIG."""
    (folder / "jobs").mkdir(parents=True)
    (folder / "bin").mkdir()
    (folder / "home").mkdir()
    (folder / "open").touch()
    configure(folder, **config)
    program = Path(__file__).with_name("command.py")
    for name in COMMANDS:
        command = folder / "bin" / name
        command.write_text(
            f'#!/bin/sh\nexec {sys.executable} -S -E {program} {name} {folder} "$@"\n'
        )
        command.chmod(0o755)
    return folder / "bin"


def close(folder: Path) -> None:
    """Ends all jobs that still wait or run."""
    (folder / "open").unlink(missing_ok=True)


def configure(folder: Path, **config: Any) -> None:
    path = folder / "config.json"
    before = json.loads(path.read_text()) if path.exists() else CONFIG
    write(path, {**before, **config})


def calls(folder: Path) -> list[list[str]]:
    """Every command that was run, with its arguments."""
    path = folder / "calls"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def crash(folder: Path, call: list[str]) -> None:
    """Ends the server, because of a call."""
    with (folder / "crashes").open("a") as file:
        file.write(json.dumps(call) + "\n")
    configure(folder, down=True)


def crashes(folder: Path) -> list[list[str]]:
    """The calls that ended the server."""
    path = folder / "crashes"
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

    def find(self, native: str) -> dict[str, Any] | None:
        """The job that `12`, `12[]`, `12[3].server` names."""
        number = native.partition(".")[0].partition("[")[0]
        path = self.folder / "jobs" / number / "job.json"
        job: dict[str, Any] | None = (
            json.loads(path.read_text()) if number.isdigit() and path.exists() else None
        )
        return job if job is not None and bool(job["indices"]) == ("[" in native) else None

    def state(self, job: Mapping[str, Any], index: int) -> dict[str, Any]:
        path = self.folder / "jobs" / str(job["number"]) / f"{index}.json"
        waiting = {"state": "Q", "substate": 10, "comment": job["comment"]}
        is_released = (path.parent / "released").exists()
        if job["depend"] and not job["indices"] and not is_released:
            waiting = {"state": "H", "substate": 22}
        return json.loads(path.read_text()) if path.exists() else waiting

    def never(self, job: Mapping[str, Any]) -> bool:
        """Whether it ended as it waited for another."""
        return (self.folder / "jobs" / str(job["number"]) / "never").exists()

    def is_over(self, job: Mapping[str, Any]) -> bool:
        return self.never(job) or all(
            self.state(job, index)["state"] in "FXC" for index in job["indices"] or [0]
        )

    def exit_of(self, job: Mapping[str, Any]) -> int | None:
        """Of an array that of whichever sub-job ended last, made 0 or 1: it says nothing."""
        exits = [
            state["exit"] for state in map(self._of(job), job["indices"] or [0]) if "exit" in state
        ]
        if not exits or self.never(job):
            return None
        return int(exits[-1]) if not job["indices"] else 0 if exits[-1] == 0 else 1

    def _of(self, job: Mapping[str, Any]) -> Callable[[int], dict[str, Any]]:
        return lambda index: self.state(job, index)

    def new_number(self) -> int:
        number = 1
        while True:
            try:
                (self.folder / "jobs" / str(number)).mkdir()
            except FileExistsError:  # noqa: PERF203 - another qsub took it
                number += 1
            else:
                return number


def write(path: Path, form: Mapping[str, Any]) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(json.dumps(form))
    draft.chmod(stat.S_IRUSR | stat.S_IWUSR)
    draft.replace(path)
