"""Elements that behave as a line of their batch file says: runners for tests of pools and
schedulers, without torch.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

_ready: list[Path] = []  # the file that says that the element of this process hears signals


def run(batch: Path, index: int, *, job: str = "", datasets: Any = None) -> int:
    _ready[:] = [ready_of(batch, index)]
    behaviour, *words = json.loads(batch.read_text().splitlines()[index])["do"].split()
    log_of(batch, index).write_text(
        f"element {index} as {job} pid {os.getpid()} datasets {datasets}\n"
    )
    return int(BEHAVIOURS[behaviour](*words))


def prepare(batch: Path, cleanup: ExitStack) -> str:
    cleanup.callback(batch.with_name("cleaned").touch)
    return f"shared by {batch.name}"


def refuse_to_prepare(batch: Path, cleanup: ExitStack) -> str:
    raise FileNotFoundError("data are not here")


def log_of(batch: Path, index: int) -> Path:
    return batch.with_name(f"{index}.log")


def ready_of(batch: Path, index: int) -> Path:
    """The file that is there once `sleep` and `stubborn` have their signal handlers."""
    return batch.with_name(f"{index}.ready")


def say_ready() -> None:
    _ready[0].touch()


def write_batch(folder: Path, *behaviours: str) -> Path:
    path = folder / "batch.jsonl"
    path.write_text("".join(json.dumps({"do": behaviour}) + "\n" for behaviour in behaviours))
    return path


def _exit(code: str) -> int:
    return int(code)


def _sleep(seconds: str) -> int:
    """Leaves with 3 at SIGTERM, as runs do."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    say_ready()
    return 3 if stop.wait(float(seconds)) else 0


def _stubborn(seconds: str) -> int:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    say_ready()
    time.sleep(float(seconds))
    return 0


def _segv() -> int:
    ctypes.string_at(0)
    return 0


def _signal(number: str) -> int:
    os.kill(os.getpid(), int(number))
    time.sleep(60)
    return 0


def _raise() -> int:
    raise RuntimeError("a fault in the runner")


def _eat(mib: str, seconds: str = "300") -> int:
    block = bytearray(int(mib) << 20)
    block[::4096] = b"x" * len(block[::4096])
    time.sleep(float(seconds))
    return 0


def _environment(name: str, path: str) -> int:
    Path(path).write_text(os.environ.get(name, "unset"))
    return 0


def _descriptors(path: str) -> int:
    """Writes where each open descriptor leads."""
    names = [name for name in os.listdir("/proc/self/fd") if Path(f"/proc/self/fd/{name}").exists()]
    Path(path).write_text(
        "\n".join(f"{name} {Path(f'/proc/self/fd/{name}').readlink()}" for name in names)
    )
    return 0


def _print() -> int:
    print("a library prints")
    sys.stdout.flush()
    return 0


def _kill_pool() -> int:
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)
    return 0


def _kill_pool_once(path: str) -> int:
    """Kills the pool once the test has heard from it of this element; the second time ends well."""
    if Path(path).exists():
        return 0
    Path(path).touch()
    _wait_for(f"{path}.heard")
    return _kill_pool()


def _wait_for(path: str) -> int:
    """Ends once a file is there."""
    deadline = time.monotonic() + 300
    while not Path(path).exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    return 0


def _stamp(path: str) -> int:
    Path(path).write_text(str(time.monotonic()))
    return 0


BEHAVIOURS: dict[str, Any] = {
    "ok": lambda: 0,
    "exit": _exit,
    "hard_exit": lambda code: os._exit(int(code)),
    "sys_exit": sys.exit,
    "sleep": _sleep,
    "stubborn": _stubborn,
    "segv": _segv,
    "signal": _signal,
    "raise": _raise,
    "eat": _eat,
    "environment": _environment,
    "descriptors": _descriptors,
    "print": _print,
    "kill_pool": _kill_pool,
    "kill_pool_once": _kill_pool_once,
    "stamp": _stamp,
    "wait_for": _wait_for,
}
