"""The runs of an element that has several, in children of a process with torch and data loaded."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anlp.core import lease, pool_messages
from anlp.core.errors import (
    EXIT_CONTINUE,
    EXIT_ESCAPED,
    EXIT_RUNS_FAILED,
    EXITS_OF_RUNS,
)
from anlp.core.pool_messages import Stop
from anlp.core.signals import describe_signal, signal_pipe
from anlp.core.stop_flag import ASKS_TO_STOP, StopFlag
from anlp.records.crash import CrashRecord, read_crash, record_crash
from anlp.records.elements import Element
from anlp.records.folders import GridFolder, RunFolder
from anlp.runtime.cgroups import count_memory_kills
from anlp.runtime.fork import ForkContext, Runner
from anlp.runtime.supervisor import ChildSupervisor, Prepare, load_shared, make_slots
from anlp.tasks import read_element
from anlp.tasks.user_code import is_program

GRACE_S = 60.0  # less than the 90 s between Slurm's warning and its time limit


def prepare_element(index: int) -> Prepare:
    """Return what loads the things that the runs of one element share."""

    def prepare(batch: Path, cleanup: ExitStack) -> Any:
        if all(is_program(spec.task) for spec in read_element(batch, index).specs):
            return None  # programs of the user's own load what they need themselves
        # torch is imported only where something is left to train
        from anlp.runtime.preload import prepare

        return prepare(batch, cleanup, index=index)

    return prepare


@dataclass(frozen=True, slots=True)
class PackedRuns:
    """An element of several runs; `element.at_once` of them run at a time, each in a child."""

    batch: Path
    index: int
    element: Element
    job: str
    runner: Runner  # carries out one run: (batch, index, *, job, datasets, member) -> exit code
    # of each run: its exit code where it has a result, else None
    standing: Sequence[Callable[[], int | None]]
    flag: StopFlag

    def run(self, prepare: Prepare | None = None) -> list[int]:
        """Carry out what is missing; return the exit code of each run, in order.

        A run that dies leaves the others alone and is not begun again by this submission: it would
        die again. Once the flag is set, all runs are asked to leave, once, and no other begins.
        """
        members = range(len(self.element.specs))
        codes: dict[int, int] = {}
        for member in members:
            code = self._known(member)
            if code is not None:
                codes[member] = code
        missing = [member for member in members if member not in codes]
        if missing and not self.flag.is_set():
            os.environ.update(pool_messages.FORKING)
            with ExitStack() as cleanup:
                datasets, notice = load_shared(
                    prepare or prepare_element(self.index), self.batch, cleanup
                )
                if notice:
                    _say(notice)
                codes |= _Session(self, datasets).work(missing)
        return [codes.get(member, EXIT_CONTINUE) for member in members]

    def folder(self, member: int) -> RunFolder:
        """Return the folder of a run."""
        return GridFolder(self.batch.resolve().parent.parent).run(self.element.specs[member].run_id)

    def name(self, member: int) -> str:
        """Return the name of a run in the output of the job."""
        return (
            f"run {self.element.specs[member].run_id} ({member + 1} of {len(self.element.specs)})"
        )

    def request(self, member: int) -> pool_messages.RunRequest:
        """Return the request that starts a run."""
        limit = self.element.mem_limit_mib
        return pool_messages.RunRequest(
            member, str(self.batch), self.index, self.job, None, limit, member
        )

    def _known(self, member: int) -> int | None:
        if (code := self.standing[member]()) is not None:
            return code
        lost = read_crash(self.folder(member), self.element.options.batch)
        if lost is None:
            return None
        _say(
            f"{self.name(member)}: was lost before ({lost.cause}: {lost.detail}), "
            "left to jobs.retry"
        )
        return EXIT_RUNS_FAILED


class _Session:
    """The children of a pack, from the first fork to the end of the last child."""

    def __init__(self, pack: PackedRuns, datasets: Any) -> None:
        self._pack = pack
        self._datasets = {str(pack.batch): datasets}
        self._codes: dict[int, int] = {}
        self._pids: dict[int, int] = {}
        self._memory_kills = count_memory_kills()

    def work(self, members: Sequence[int]) -> Mapping[int, int]:
        """Return the exit codes of the runs that were begun."""
        flag = self._pack.flag
        with signal_pipe({signal.SIGCHLD}) as woken, selectors.PollSelector() as selector:
            selector.register(woken, selectors.EVENT_READ)
            children = self._make_children(
                min(self._pack.element.at_once, len(members)), woken.descriptors
            )
            for member in members:
                children.add(self._pack.request(member))
            while children.is_busy:
                if flag.is_set():
                    children.stop()
                children.tend()
                if children.is_busy:
                    selector.select(children.next_deadline())
                    woken.take()
        return self._codes

    def _make_children(self, count: int, private: Sequence[int]) -> ChildSupervisor:
        return ChildSupervisor(
            make_slots(count, visible_gpus(os.environ)),
            ForkContext(self._pack.runner, private=private, blocked=ASKS_TO_STOP),
            self._take,
            datasets=self._datasets,
            grace_s=GRACE_S,
        )

    def _take(self, reply: pool_messages.StartedReply | pool_messages.EndedReply) -> None:
        if isinstance(reply, pool_messages.StartedReply):
            self._pids[reply.key] = reply.pid
            _say(f"{self._pack.name(reply.key)}: process {reply.pid}")
        else:
            self._codes[reply.key] = self._code_of(reply)

    def _code_of(self, ended: pool_messages.EndedReply) -> int:
        if ended.exit is not None and ended.exit in EXITS_OF_RUNS:
            return ended.exit
        if (code := self._pack.standing[ended.key]()) is not None:  # killed when all was done
            return code
        was_asked = ended.exit is None and (
            ended.stop is Stop.SHUTDOWN or ended.signal in ASKS_TO_STOP
        )
        loss = None if was_asked else self._explain(ended)
        if loss is not None:
            _say(f"{self._pack.name(ended.key)}: lost: {loss.cause}: {loss.detail}")
        try:
            self._put_on_record(ended.key, loss)
        except OSError as error:  # the others may still end well
            _say(f"{self._pack.name(ended.key)}: its end could not be put on record: {error}")
        return EXIT_CONTINUE if loss is None else EXIT_RUNS_FAILED

    def _put_on_record(self, member: int, loss: CrashRecord | None) -> None:
        """Record how a run ended that cannot do so itself.

        No loss: it was asked to leave, and is to be continued.
        """
        folder, pid = self._pack.folder(member), self._pids.get(member)
        if loss is not None:
            record_crash(
                folder, pid, loss, job=self._pack.job, batch=self._pack.element.options.batch
            )
        elif pid is not None:
            lease.end_dead(folder.attempts, pid, ending="interrupted")

    def _explain(self, ended: pool_messages.EndedReply) -> CrashRecord:
        if ended.exit is not None:
            hint = ": its traceback is in its log" if ended.exit == EXIT_ESCAPED else ""
            return CrashRecord("exit code", f"exit code {ended.exit}{hint}")
        if ended.stop is Stop.NOT_STARTED:
            return CrashRecord("never started", ended.detail)
        if ended.stop is not None or ended.signal is None:
            return CrashRecord(ended.stop.value if ended.stop else "unknown", ended.detail)
        if ended.signal == signal.SIGKILL and count_memory_kills() > self._memory_kills:
            self._memory_kills += 1  # one by one: two may have been killed since the last look
            return CrashRecord(
                "out of memory", "the kernel killed it: the memory of its job ran out"
            )
        return CrashRecord("killed by a signal", describe_signal(ended.signal))


def _say(text: str) -> None:
    with contextlib.suppress(OSError):  # a full disk: the runs may be on another
        print(text, flush=True)


def visible_gpus(environment: Mapping[str, str]) -> list[str]:
    """Return the GPUs of the job, of which each child sees one; empty for a single GPU or none."""
    names = [
        name.strip()
        for name in environment.get("CUDA_VISIBLE_DEVICES", "").split(",")
        if name.strip()
    ]
    return names if len(names) > 1 else []
