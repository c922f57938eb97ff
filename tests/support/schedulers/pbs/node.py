"""Carries out one job of the pretended PBS, as a node's daemon would: starts, limits, kills,
reports its elements.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[4]))  # programs are started by their path

from tests.support.schedulers.pbs.fake_pbs import HOST, NODE, OWNER, WHEN, Site, write


@dataclass
class Running:
    """A started element."""

    process: subprocess.Popen[bytes]
    started: float
    ended_by: str = ""  # "walltime", "mem" or "qdel"
    kill_at: float = 0.0


class Mom:
    """Carries out one job or array, to its end."""

    def __init__(self, site: Site, number: int) -> None:
        self.site = site
        self.folder = site.folder / "jobs" / str(number)
        self.job = json.loads((self.folder / "job.json").read_text())
        self.waiting = list(self.job["indices"] or [0])
        self.running: dict[int, Running] = {}
        self.last_exit = 0
        self.runs = 0
        self.seen_alive = False  # what it waits for

    def serve(self) -> None:
        while self.waiting or self.running:
            self._drop_deleted()
            if self.waiting and not self._may_begin():
                if not (self.site.folder / "open").exists():
                    return
                time.sleep(0.05)
                continue
            most = min(self.job["limit"] or 99, self.site.config["slots"])
            while self.waiting and len(self.running) < most and not self._is_held():
                self._start(self.waiting.pop(0))
            for index, running in list(self.running.items()):
                self._look_after(index, running)
            if not (self.site.folder / "open").exists():
                self._abandon()
                return
            time.sleep(0.02 if self.running else 0.1)
        for index in self.job["indices"] if not self.site.never(self.job) else ():
            self._tell(index, **{**self.site.state(self.job, index), "state": self._last_letter()})

    def _drop_deleted(self) -> None:
        names = {name for name in os.listdir(self.folder) if name.startswith("delete.")}
        for index in [index for index in self.waiting if f"delete.{index}" in names]:
            self.waiting.remove(index)
            self._end_before_start(index)

    def _may_begin(self) -> bool:
        """Whether all that it waits for has ended well; if anything has ended otherwise, it ends
        itself.
        """
        verdicts = [self._verdict(kind, native) for kind, native in self.job["depend"]]
        if False in verdicts:
            (self.folder / "never").touch()
            self.waiting = []
            return True
        if all(verdicts):
            self.job["depend"] = []
            (self.folder / "released").touch()
            return True
        return False

    def _verdict(self, kind: str, native: str) -> bool | None:
        """None: not yet. Of an array its own exit status counts, right or wrong."""
        job = self.site.find(native)
        if job is None or (
            self.site.is_over(job) and not self.site.config["history"] and not self.seen_alive
        ):
            return False  # not known (any more)
        self.seen_alive = True
        if not self.site.is_over(job):
            return None
        if kind.startswith("afterok") and self._was_deleted_as_it_queued(job):
            return None  # a real server keeps what waits for it, for ever
        is_good = self.site.exit_of(job) == 0
        return {"afterany": True, "afternotok": not is_good}.get(kind, is_good)

    def _was_deleted_as_it_queued(self, job: dict[str, Any]) -> bool:
        """Whether it never began, and waited for no other job."""
        if self.site.is_torque or self.site.never(job):
            return False
        folder = self.site.folder / "jobs" / str(job["number"])
        waited = bool(job["depend"]) and not (folder / "released").exists()
        states = (self.site.state(job, index) for index in job["indices"] or [0])
        return not waited and not any(state.get("node") for state in states)

    def _abandon(self) -> None:
        """The test is over."""
        for running in self.running.values():
            signal_session(running.process.pid, signal.SIGKILL)

    def _is_held(self) -> bool:
        config = json.loads((self.site.folder / "config.json").read_text())
        return bool(config["held"]) or self.job["comment"].startswith("Can Never Run")

    def _is_deleted(self, index: int) -> bool:
        return (self.folder / f"delete.{index}").exists()

    def _last_letter(self) -> str:
        return "C" if self.site.is_torque else "F"

    def _tell(self, index: int, **state: Any) -> None:
        write(self.folder / f"{index}.json", state)

    def _end_before_start(self, index: int) -> None:
        if self.job["indices"]:
            self._tell(
                index, state="X", substate=70, comment="Subjob finished", exit=self.last_exit
            )
        else:
            self._tell(index, state=self._last_letter(), substate=91)

    def _start(self, index: int) -> None:
        native = self.job["id"].replace("[]", f"[{index}]")
        environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(self.site.folder / "home"),
            "PBS_ENVIRONMENT": "PBS_BATCH",
            "PBS_JOBID": native,
            "PBS_JOBNAME": self.job["name"],
        }
        if self.job["indices"]:
            environment["PBS_ARRAYID" if self.site.is_torque else "PBS_ARRAY_INDEX"] = str(index)
        if self.site.config["scratch"]:
            environment["SCRATCHDIR"] = self.site.config["scratch"]
        with (self.folder / f"{index}.OU").open("wb") as spool:
            # a login shell leads the session and runs the script as its child; a signal to the
            # session ends both
            process = subprocess.Popen(
                ["/bin/bash", "-c", 'bash "$0"; exit "$?"', str(self.folder / "script")],
                cwd=environment["HOME"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=spool,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.running[index] = Running(process, time.monotonic())
        self.runs += 1
        self._tell_of_running(index)

    def _tell_of_running(self, index: int, how: str = "") -> None:
        comment = f"Job run at {WHEN} on (pbs-m1:ncpus=1){how}"
        self._tell(index, state="R", substate=42, comment=comment, node=NODE)

    def _look_after(self, index: int, running: Running) -> None:
        now = time.monotonic()
        limit_s = self.job["walltime_s"]
        if not running.ended_by:
            if self._is_deleted(index):
                running.ended_by = "qdel"
            elif limit_s and now - running.started > limit_s:
                running.ended_by = "walltime"
            elif self.site.config["memory_kill"]:
                running.ended_by = "mem"
            if running.ended_by:
                # of memory the kernel's control group disposes at once
                delay_s = 0.0 if running.ended_by == "mem" else self.site.config["kill_delay_s"]
                running.kill_at = now + delay_s
                if running.ended_by == "qdel":
                    self._tell_of_running(index, f" and terminated by {OWNER}@{HOST}")
                signal_session(running.process.pid, signal.SIGTERM if delay_s else signal.SIGKILL)
        elif now > running.kill_at:
            signal_session(running.process.pid, signal.SIGKILL)
        if (self.folder / f"lose.{index}").exists():
            self._lose_node(index, running)
            return
        if running.process.poll() is not None:
            if running.ended_by and _session(running.process.pid):
                return
            signal_session(running.process.pid, signal.SIGKILL)
            self._end(index, running)

    def _lose_node(self, index: int, running: Running) -> None:
        """Its node is gone: after a while it is queued, and run again under the same id."""
        (self.folder / f"lose.{index}").unlink()
        signal_session(running.process.pid, signal.SIGKILL)
        running.process.wait()
        del self.running[index]
        self.waiting.append(index)
        self._tell(
            index,
            state="Q",
            substate=10,
            comment="Not Running: Not enough free nodes available",
            runs=self.runs,
        )

    def _end(self, index: int, running: Running) -> None:
        del self.running[index]
        code = running.process.returncode
        status = 256 - code if code < 0 else code
        how = " and finished" if status == 0 else " and failed"
        if running.ended_by == "walltime":
            status, how = (-11 if self.site.is_torque else -29), " and exceeded resource walltime"
        elif running.ended_by == "mem":
            status, how = -27, " and exceeded resource mem"
        elif running.ended_by == "qdel":
            how = f" and terminated by {OWNER}@{HOST}"
        self.last_exit = status
        self._deliver(index)
        substate = 91 if running.ended_by == "qdel" else 92 if status == 0 else 93
        letter = "X" if self.job["indices"] and not self.site.is_torque else self._last_letter()
        used = time.strftime("%H:%M:%S", time.gmtime(time.monotonic() - running.started))
        comment = f"Job run at {WHEN} on (pbs-m1:ncpus=1){how}"
        self._tell(
            index,
            state=letter,
            substate=substate,
            comment=comment,
            exit=status,
            used=used,
            memory=self.site.config["memory_kill"] if running.ended_by == "mem" else None,
            node=NODE,
        )

    def _deliver(self, index: int) -> None:
        """Output goes where `-o` says, or is lost where that folder does not exist."""
        target = self.job["output"].replace("^array_index^", str(index))
        spool = self.folder / f"{index}.OU"
        if target and Path(target).is_dir():
            suffix = f"-{index}" if self.job["indices"] else ""
            target = f"{target}/{self.job['name']}.o{self.job['number']}{suffix}"
        if target and Path(target).parent.is_dir():
            with Path(target).open("ab") as file:
                file.write(spool.read_bytes())


def _session(leader: int) -> list[int]:
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                words = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(words[3]) == leader and words[0] != "Z":
                found.append(int(name))
    return found


def signal_session(leader: int, number: int) -> None:
    for pid in _session(leader):
        try:
            os.kill(pid, number)
        except ProcessLookupError:  # noqa: PERF203 - it has just ended by itself
            continue


if __name__ == "__main__":
    place = Path(sys.argv[1])
    Mom(Site(place, json.loads((place / "config.json").read_text())), int(sys.argv[2])).serve()
