"""Starts an image once before a submission, as its jobs will: what fails here costs no job.

The runs' code is imported, but no torch: that would take seconds.
"""

from __future__ import annotations

import os
import re

from anlp.console.printable import plain
from anlp.core.errors import UserError
from jobs.common import external
from jobs.containers.apptainer import Container

SWITCH = "ANLP_IMAGE_CHECK"  # variable: `off` leaves this out, where only nodes can start images
TIMEOUT_S = 300.0  # where nothing mounts it, an image is unpacked first
COMMAND = ("sh", "-c", 'exec python "$@"', "sh", "-c", "import anlp.records.elements")


_FIND = ("sh", "-c", 'command -v "$1" >/dev/null || exit 127', "sh")
_NO_SHELL = '"sh": executable file not found'


def check_start(container: Container) -> None:
    """Start the image with all that it gets in a job, and import the code in it.

    Raises:
        UserError: it does not start, or it holds no code of this project.
    """
    if os.environ.get(SWITCH) == "off":
        return
    answer = external.run(
        container.exec_argv(*COMMAND),
        timeout_s=TIMEOUT_S,
        environment=container.environment(os.environ),
    )
    if answer.code == 0:
        return
    raise UserError(
        f"container: {container.image}: jobs in it would not start: {_reason(answer)}. "
        f"--no-container runs without it; {SWITCH}=off submits all the same, where only the nodes "
        "can start images"
    )


def check_command(container: Container, word: str) -> None:
    """Start the image and look for a command in it; an image without a shell is not asked.

    Args:
        container: with all that it gets when a run starts.
        word: the command, or the path of a program; empty: any image that starts will do.

    Raises:
        UserError: it does not start, or has no such command.
    """
    if os.environ.get(SWITCH) == "off":
        return
    answer = external.run(
        container.exec_argv(*_FIND, word or "sh"),
        timeout_s=TIMEOUT_S,
        environment=container.environment(os.environ),
    )
    if answer.code == 0 or _NO_SHELL in answer.err:
        return
    if answer.code == 127:
        raise UserError(
            f"container: {container.image}: there is no {word} in it that can be executed; name "
            "another one in `command`, or the path of its Python: interpreter"
        )
    raise UserError(
        f"container: {container.image}: programs in it would not start: {_reason(answer)}. "
        f"--no-container runs without it; {SWITCH}=off submits all the same, where only the nodes "
        "can start images"
    )


def _reason(answer: external.Answer) -> str:
    """Return the last line that the start printed, and what to do where that is known."""
    told = (plain(line).strip() for line in answer.err.splitlines())
    lines = [line for line in told if line]
    said = re.sub(r"^(FATAL|ERROR)\s*:\s*", "", lines[-1]) if lines else f"exit code {answer.code}"
    if "No module named 'anlp" in said:
        return f"{said}; build an image of this project, or put this checkout over it with --live"
    if "capability set" in said:
        return f"{said}; this machine lacks rights: export APPTAINER_USERNS=1"
    return said
