"""One wandb service process for all runs of a machine, joined through the environment.

wandb is imported inside functions only: it takes a second, and runs without it need not load it.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

START_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 2.0

# `wandb.init` imports the modules after the first itself, 0.3 s of CPU in every child that does not
# inherit them.
# A name that another version of wandb does not have is only not preloaded.
_MODULES = (
    "wandb",
    "wandb.sdk.launch.inputs.internal",
    "wandb.sdk.lib.service.service_connection",
    "requests",
    "yaml",
)


def preload() -> None:
    """Import what `wandb.init` needs.

    Starts no thread and no process, so that forking afterwards is safe.
    """
    for name in _MODULES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    # starts a process, once; wandb asks, too
    platform.processor()


class Service:
    """A running service, or none that could be started.

    Without one `environment` is empty and each run starts its own. A service ends with `stop`, and
    by itself within seconds after the process that started it has died.
    """

    def __init__(
        self, process: subprocess.Popen[bytes] | None, environment: dict[str, str]
    ) -> None:
        self._process = process
        self._owner = os.getpid()
        self.environment = environment

    @property
    def pid(self) -> int | None:
        """Process id of the service, for the accounting of its time."""
        return None if self._process is None else self._process.pid

    def stop(self) -> None:
        """End the service after what it has in hand is on disk; only its owner can."""
        if self._process is None or os.getpid() != self._owner:
            return
        try:
            _say_goodbye(self.environment["WANDB_SERVICE"])
        except Exception:  # it is gone, or another version of wandb: a signal ends it, too
            self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End the service at once, with anything unfinished lost."""
        if self._process is not None and os.getpid() == self._owner:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def start_shared_service() -> Service:
    """Start the service for the children of this process.

    They join it with `os.environ.update(service.environment)`. Never raises: where it cannot be
    started, one line on stderr gives the reason and every run starts a service of its own.
    """
    process = None
    try:
        with tempfile.TemporaryDirectory() as scratch:
            port_file = Path(scratch, "port")
            process = _launch(port_file)
            return Service(process, {"WANDB_SERVICE": _token(port_file, process)})
    except Exception as error:  # wandb is missing or has changed: a mirror must not stop a pool
        if process is not None:
            process.kill()
            process.wait()
        print(
            f"wandb: no shared service ({error!r}): each run starts its own",
            file=sys.stderr,
            flush=True,
        )
        return Service(None, {})


def _launch(port_file: Path) -> subprocess.Popen[bytes]:
    from wandb.util import get_core_path

    return subprocess.Popen(  # noqa: S603 - wandb's program, without values of users
        [
            get_core_path(),
            "--no-observability",
            "--port-filename",
            str(port_file),
            "--pid",
            str(os.getpid()),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C must not end it before the runs have finished with it
    )


def _token(port_file: Path, process: subprocess.Popen[bytes]) -> str:
    from wandb.sdk.lib.service import service_port_file

    deadline = time.monotonic() + START_TIMEOUT_S
    # wandb's own poll looks five times a second; this one waits the 20 ms that the start takes
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if port_file.read_text(encoding="utf-8").endswith("EOF"):
                break
        time.sleep(0.005)
    return service_port_file.poll_for_token(port_file, process, timeout=1.0).env_value


def _say_goodbye(token: str) -> None:
    """Ask a service to finish what it has in hand and to end, as `wandb beta core stop` does."""
    from wandb.proto import wandb_server_pb2 as messages
    from wandb.sdk.lib import asyncio_manager
    from wandb.sdk.lib.service import service_token

    protocol: Any = messages  # its classes are made at import
    address = service_token.UnixServiceToken.from_env_string(token)
    if address is None:
        raise ValueError(f"no socket in {token}")
    loop = asyncio_manager.AsyncioManager()
    loop.start()
    try:
        client = address.connect(asyncer=loop)

        async def leave() -> None:
            request = protocol.ServerInformTeardownRequest(exit_code=0)
            await client.publish(protocol.ServerRequest(inform_teardown=request))
            await client.close()

        loop.run(leave)
    finally:
        loop.join()
