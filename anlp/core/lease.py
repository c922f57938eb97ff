"""Leases: at most one living holder of a folder, without trusting locks of the file system.

A lease is a file `000001.json`, created whole by `link`; the highest number is the current one. To
take over from a dead holder, a process creates the next number, which only one contender can do. A
holder on this host is judged by its process; a holder on another host by its heartbeat (the file's
modification time), watched for the length of a lease without comparing clocks.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anlp.core.damage import describe_fault, note_damage
from anlp.core.errors import UserError
from anlp.core.files import create_whole, make_folder, write_whole
from anlp.core.json_text import parse_json, text_in, time_in, whole_in

LEASE_S = 120.0
BEATS_PER_LEASE = 4
KEEP_S = 60.0
OF_HOLDER = ("host", "boot", "pid", "started", "since")  # keys of a record that name its process
BLOCK = 4096  # bytes that every file system gives a file at once
CLOCK_S = 60.0  # a comparison of clocks is good for as long

# How far the clock of a disk is ahead of this host's, and when that was found; by device.
_clocks: dict[int, tuple[float, float]] = {}


class HeldError(Exception):
    """A living process holds the lease; `holder` is its record."""

    def __init__(self, holder: Mapping[str, Any]) -> None:
        self.holder = holder
        super().__init__(f"held by process {holder.get('pid')} on {holder.get('host')}")


@dataclass(frozen=True, slots=True)
class Process:
    """A process that cannot be confused with another.

    A pid alone is reused; a pid with its start time on one boot of one host is not.
    """

    host: str
    boot: str
    pid: int
    started: int

    def to_id(self) -> str:
        """Return the process as a native job id; `from_id` reads it."""
        return f"{self.pid}:{self.started}:{self.boot}@{self.host}"

    @classmethod
    def from_id(cls, text: str) -> Process:
        """Inverse of `to_id`; raises ValueError for anything else."""
        numbers, _, host = text.partition("@")
        pid, started, boot = numbers.split(":")
        return cls(host, boot, int(pid), int(started))

    @classmethod
    def this(cls) -> Process:
        """Return the calling process."""
        return cls.of(os.getpid())

    @classmethod
    def of(cls, pid: int) -> Process:
        """Return the process that has this pid now; one that is not alive where there is none."""
        return cls(socket.gethostname(), _boot_id(), pid, _start_ticks(pid) or 0)

    def is_here(self) -> bool:
        """Tell whether it ran on this host, so that `is_alive` can tell."""
        return self.host == socket.gethostname()

    def is_hidden(self) -> bool:
        """Tell whether its number is of a process that this user may not see.

        Many clusters mount /proc with `hidepid`: other users' processes are not in it.
        """
        return self.boot == _boot_id() and _stat_of(self.pid) is None and _is_of_other(self.pid)

    def is_alive(self) -> bool:
        """Tell whether it still runs; meaningful only where `is_here`.

        One that is hidden counts as alive.
        """
        if self.boot != _boot_id():
            return False
        return _start_ticks(self.pid) == self.started or self.is_hidden()


def process_from_json(form: Mapping[str, Any]) -> Process:
    """Return the process recorded in a lease."""
    return Process(str(form["host"]), str(form["boot"]), int(form["pid"]), int(form["started"]))


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _start_ticks(pid: int) -> int | None:
    """Return the start time of a living process in clock ticks since boot.

    None: it is gone, or a zombie.
    """
    text = _stat_of(pid)
    if text is None:
        return None
    # the command name before may hold blanks and parentheses
    fields = text[text.rindex(")") + 2 :].split()
    return None if fields[0] in "ZX" else int(fields[19])


def _stat_of(pid: int) -> str | None:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def _is_of_other(pid: int) -> bool:
    """Tell whether a process of another user has this number."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        pass
    return False


@dataclass
class Lease:
    """A lease that this process holds; use as a context manager or call `release`."""

    path: Path
    record: dict[str, Any]
    _stop: threading.Event = field(default_factory=threading.Event)

    def keep_alive(self, lease_s: float = LEASE_S) -> None:
        """Start a thread that updates the heartbeat until the lease is released.

        Raises:
            UserError: the limit of threads is reached; the lease is released.
        """
        thread = threading.Thread(
            target=self._beat,
            args=(lease_s / BEATS_PER_LEASE,),
            daemon=True,
            name="lease-heartbeat",
        )
        try:
            thread.start()
        except RuntimeError as error:
            self.release(ending="failed")
            raise UserError(
                f"{self.path.parent}: no thread can be started for its heartbeat ({error}); raise "
                "the limit of processes and threads (ulimit -u), or run fewer at a time"
            ) from error

    def _beat(self, every_s: float) -> None:
        while not self._stop.wait(every_s):
            with contextlib.suppress(OSError):
                os.utime(self.path)

    def is_current(self) -> bool:
        """Tell whether the lease is still held by this process.

        It is not once another process took over, because this one was frozen for longer than the
        lease, nor once the folder was removed, even if another process has made it again.
        """
        if latest(self.path.parent) != self.path:
            return False
        now = read(self.path)
        return not now or all(now.get(key) == self.record.get(key) for key in OF_HOLDER)

    def is_gone(self) -> bool:
        """Tell whether the folder of the lease was removed."""
        return not self.path.exists() and latest(self.path.parent) is None

    def release(self, **ending: Any) -> None:
        """Mark the lease as ended, with `ending` kept in its record.

        On a full disk the file is written over in place or, where even that fails, removed.
        """
        if self._stop.is_set():
            return
        self._stop.set()
        self.record |= {"ended": time.time(), **ending}
        try:
            write_whole(self.path, _encode(self.record), sync=False)
        except OSError:
            # on a dead or read-only disk the lease is held until this process ends
            with contextlib.suppress(OSError):
                if not _write_over(self.path, _encode(self.record)):
                    self.path.unlink()

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def acquire(
    folder: Path, info: Mapping[str, Any] | None = None, *, lease_s: float = LEASE_S
) -> Lease:
    """Take the lease of `folder`, after waiting for a silent holder on another host.

    Args:
        folder: created if missing; holds nothing but leases.
        info: kept in the lease's record.
        lease_s: how long the heartbeat of a holder on another host may stop.

    Raises:
        HeldError: a living process holds it.
    """
    make_folder(folder)
    while True:
        holder = latest(folder)
        if holder is not None and _is_held(holder, lease_s):
            raise HeldError(read(holder))
        number = 1 if holder is None else int(holder.stem) + 1
        process = Process.this()
        record = {
            "host": process.host,
            "boot": process.boot,
            "pid": process.pid,
            "started": process.started,
            "since": time.time(),
            **(info or {}),
        }
        path = folder / f"{number:06d}.json"
        if not create_whole(path, _encode(record)):
            continue  # another process was faster: judge the new holder
        if latest(folder) != path:  # the number had been used and swept before
            path.unlink(missing_ok=True)
            continue
        held = Lease(path, record)
        held.keep_alive(lease_s)
        return held


def latest(folder: Path) -> Path | None:
    """Return the current lease of a folder, None where there never was one."""
    names = [name for name in _names(folder) if name.endswith(".json") and name[:-5].isdigit()]
    return folder / max(names) if names else None


def read(path: Path) -> dict[str, Any]:
    """Return the record of a lease; empty where it was swept meanwhile, or is damaged (noted)."""
    try:
        with path.open("rb", buffering=0) as file:
            content = file.read()
    except OSError:
        return {}
    try:
        found = parse_json(content)
        _check(found)
    except ValueError as error:
        note_damage(path, describe_fault(error))
        return {}
    record: dict[str, Any] = found
    return record


def _check(record: Any) -> None:
    """Refuse a record whose entries are not what this module writes; others may be anything.

    Raises:
        ValueError: it says which entry.
    """
    if not isinstance(record, dict):
        raise ValueError(f"expected a table, got {record!r:.60}")
    for name in ("host", "boot"):
        text_in(record, name)
    for name in ("pid", "started"):
        whole_in(record, name, MOST_TICKS)
    for name in _TEXTS & record.keys():
        text_in(record, name)
    for name in _TIMES & record.keys():
        time_in(record, name)


MOST_TICKS = 2**63  # of the clock, since the host has started
_TEXTS = frozenset({"job", "batch", "ending", "cause", "detail"})
_TIMES = frozenset({"since", "ended", "cpu_s"})


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that took a lease last, as read once."""

    path: Path
    record: Mapping[str, Any]  # empty where it could not be read

    @property
    def number(self) -> int:
        """Return how many leases there were, this one included."""
        return int(self.path.stem)

    def is_here(self) -> bool:
        """Tell whether its process is one of this host, which `is_alive` looks at itself."""
        try:
            return process_from_json(self.record).is_here()
        except (KeyError, TypeError, ValueError):
            return False

    def is_alive(self) -> bool:
        """Tell, without waiting, whether the lease is held.

        By the process on this host, by the age of the heartbeat elsewhere.
        """
        return _is_alive(self.path, self.record, LEASE_S)


def read_latest(folder: Path) -> Holder | None:
    """Return the current lease of a folder with its record, None where there never was one."""
    path = latest(folder)
    return None if path is None else Holder(path, read(path))


def is_alive(path: Path, lease_s: float = LEASE_S) -> bool:
    """Tell, without waiting, whether a lease is held; see `Holder.is_alive`."""
    return _is_alive(path, read(path), lease_s)


def _is_alive(path: Path, record: Mapping[str, Any], lease_s: float) -> bool:
    if not record or "ended" in record:
        return False
    process = process_from_json(record)
    if process.is_here() and not process.is_hidden():
        return process.is_alive()
    with contextlib.suppress(OSError):
        return _disk_time(path.parent) - path.stat().st_mtime < lease_s
    return False


def _disk_time(folder: Path) -> float:
    """Return the time by the clock that stamps the files of a folder, not by this host's.

    A file server's clock and a host's may be minutes apart. Where the folder cannot be written,
    they are taken as equal.
    """
    device, now = folder.stat().st_dev, time.monotonic()
    ahead, found_at = _clocks.get(device, (0.0, -CLOCK_S))
    if now - found_at >= CLOCK_S:
        ahead = _measure_clock(folder)
        _clocks[device] = ahead, now
    return time.time() + ahead


def _measure_clock(folder: Path) -> float:
    """Return how far the clock of a folder's disk is ahead of this host's, by a file made there."""
    probe = folder / f".{uuid.uuid4().hex}.tmp"
    try:
        os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        try:
            return probe.stat().st_mtime - time.time()
        finally:
            probe.unlink()
    except OSError:
        return 0.0


def end_dead(folder: Path, pid: int, **ending: Any) -> bool:
    """Mark the current lease as ended on behalf of a process of this host that died.

    Args:
        folder: of the leases.
        pid: of the dead process; its parent must not have let the number go to another process.
        ending: kept in the lease's record, as by `Lease.release`.

    Returns:
        False, and nothing was changed, where the current lease is of another process, or its holder
        had recorded how it ended.
    """
    path = latest(folder)
    record = read(path) if path else {}
    if path is None or not record or "ending" in record:
        return False
    holder = process_from_json(record)
    if holder.pid != pid or not holder.is_here() or holder.is_alive():
        return False
    write_whole(path, _encode({"ended": time.time(), **record, **ending}), sync=False)
    return True


def sweep(folder: Path, keep_s: float = KEEP_S) -> None:
    """Remove old leases of a folder without a history; call it while holding the current one.

    Leases that ended within `keep_s` before the current one began stay: a process that counted from
    one of them and creates a number that was swept meanwhile must find a higher number that was
    there all the time it looked.
    """
    current = latest(folder)
    with contextlib.suppress(OSError):
        # times of the file server's clock, all of them
        newest = current.stat().st_mtime if current else 0.0
        for name in _names(folder):
            path = folder / name
            is_older = current is not None and name < current.name
            if is_older and newest - path.stat().st_mtime > keep_s:
                path.unlink(missing_ok=True)


def _is_held(path: Path, lease_s: float) -> bool:
    record = read(path)
    if not record or "ended" in record:
        return False
    process = process_from_json(record)
    if process.is_here() and not process.is_hidden():
        return process.is_alive()
    return _beats(path, lease_s)


def _write_over(path: Path, content: bytes) -> bool:
    """Write into a file's first block, which a full disk allows; return False where it fails."""
    if len(content) > BLOCK:
        return False
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW)
        try:
            is_whole = os.pwrite(descriptor, content, 0) == len(content)
            os.ftruncate(descriptor, len(content))
        finally:
            os.close(descriptor)
    except OSError:
        return False
    return is_whole


def _beats(path: Path, lease_s: float) -> bool:
    """Watch a heartbeat for up to a lease; return True as soon as it moves."""
    try:
        before = path.stat().st_mtime_ns
        deadline = time.monotonic() + lease_s
        while time.monotonic() < deadline:
            time.sleep(min(1.0, lease_s / 10))
            if path.stat().st_mtime_ns != before:
                return "ended" not in read(path)
    except OSError:
        pass  # swept: not held any more
    return False


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _encode(record: Mapping[str, Any]) -> bytes:
    return json.dumps(record).encode()
