"""The lease as a state machine: at most one living holder, numbers only grow, and no release
revives a lost lease.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from anlp.core import lease
from tests.support.properties import repeatable

SILENT_S = 0.02  # how long a holder on another host may be silent


class LeaseMachine(RuleBasedStateMachine):
    """Holders of this process, dead ones of this host and silent ones of another, over one
    folder.
    """

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.held: lease.Lease | None = None
        self.lost: list[lease.Lease] = []
        self.highest = 0

    @initialize()
    def begin(self) -> None:
        assert lease.latest(self.folder) is None

    @precondition(lambda self: self.held is None)
    @rule()
    def acquire(self) -> None:
        self.held = lease.acquire(self.folder, lease_s=SILENT_S)
        assert self.held.is_current()
        assert int(self.held.path.stem) > self.highest

    @precondition(lambda self: self.held is not None)
    @rule()
    def acquire_again(self) -> None:
        with pytest.raises(lease.HeldError):
            lease.acquire(self.folder, lease_s=SILENT_S)

    @precondition(lambda self: self.held is not None)
    @rule()
    def release(self) -> None:
        assert self.held is not None
        self.held.release(ending="done")
        assert lease.read(self.held.path)["ending"] == "done"
        self.held = None

    @precondition(lambda self: self.held is not None)
    @rule()
    def be_superseded(self) -> None:
        """Another host saw no beat for a lease and took over; its process has ended since."""
        assert self.held is not None
        number = int(self.held.path.stem) + 1
        record = {**self.held.record, "host": "elsewhere", "ended": time.time()}
        (self.folder / f"{number:06d}.json").write_text(json.dumps(record))
        assert not self.held.is_current()
        self.lost.append(self.held)
        self.held = None

    @precondition(lambda self: self.held is None)
    @rule()
    def die(self) -> None:
        """A process of this host took it and was killed: another process has its pid."""
        me = lease.Process.this()
        self._leave(host=me.host, boot=me.boot, pid=os.getpid(), started=me.started + 1)

    @precondition(lambda self: self.held is None)
    @rule()
    def fall_silent(self) -> None:
        """A process of another host took it and beats no more."""
        self._leave(host="elsewhere", boot="b", pid=1, started=1)

    def _leave(self, **process: object) -> None:
        latest = lease.latest(self.folder)
        number = 1 if latest is None else int(latest.stem) + 1
        record = {**process, "since": time.time()}
        (self.folder / f"{number:06d}.json").write_text(json.dumps(record))

    @precondition(lambda self: self.lost)
    @rule()
    def release_late(self) -> None:
        """A holder that was superseded ends: that changes nothing for the current one."""
        before = lease.latest(self.folder)
        self.lost.pop().release(ending="late")
        assert lease.latest(self.folder) == before

    @precondition(lambda self: self.held is not None)
    @rule()
    def sweep(self) -> None:
        before = lease.latest(self.folder)
        lease.sweep(self.folder, keep_s=0.0)
        assert lease.latest(self.folder) == before

    @invariant()
    def numbers_only_grow(self) -> None:
        latest = lease.latest(self.folder)
        if latest is not None:
            assert int(latest.stem) >= self.highest
            self.highest = int(latest.stem)

    @invariant()
    def the_holder_is_alive_and_current(self) -> None:
        if self.held is not None:
            assert self.held.is_current()
            assert lease.is_alive(self.held.path)

    def teardown(self) -> None:
        for one in [*self.lost, *([self.held] if self.held else [])]:
            one.release()
        shutil.rmtree(self.folder)


LeaseMachine.TestCase.settings = settings(repeatable, max_examples=25, stateful_step_count=25)
TestLease = LeaseMachine.TestCase
