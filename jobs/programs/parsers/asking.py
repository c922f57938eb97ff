"""Run a program once, up to its argument parser, to learn what the parser declares."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anlp.core.files import write_whole
from jobs.common import external
from jobs.programs.parsers.arguments import UNKNOWN, Declaration
from jobs.programs.parsers.call_types import hint_of_name

LIMIT_S = 20.0
CACHE_FORMAT = 1
MAX_ANSWER = 8_000_000  # bytes
STDERR_KEPT = 4_000  # bytes of the end
BOOTSTRAP = Path(__file__).with_name("ask_bootstrap.py")
_NAMED_TYPES = ("", "int", "float", "str", "bool")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a program's parser told, or why it told nothing."""

    declarations: tuple[Declaration, ...] = ()
    is_lax: bool = False
    has_subcommands: bool = False
    error: str = ""


def is_valid(program: Path, interpreter: str) -> bool:
    """Return whether the interpreter accepts the program's syntax; it runs none of it."""
    code = "import sys; compile(open(sys.argv[1], 'rb').read(), 'program', 'exec')"
    return external.run([interpreter, "-W", "ignore", "-c", code, str(program)]).code == 0


def cache_file(cache: Path, program: Path, interpreter: str) -> Path:
    """Return where the answer of a program with this content is kept."""
    key = hashlib.sha256(interpreter.encode() + b"\0" + program.read_bytes()).hexdigest()
    return cache / f"{key[:32]}.json"


def recall(kept: Path) -> Asked | None:
    """Return the kept answer of a program, None where there is none that is still right.

    It is right while the modules beside the program that it had imported have the same content.
    """
    try:
        answer = json.loads(kept.read_bytes())
        if answer["format"] != CACHE_FORMAT:
            return None
        for path, digest in answer["modules"].items():
            if hashlib.sha256(Path(path).read_bytes()).hexdigest() != digest:
                return None
        return _parse(answer)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def ask(program: Path, interpreter: str, folder: Path, kept: Path | None) -> Asked:
    """Run the program in a child process until it parses its arguments, and return them.

    The child has no terminal, no input, no GPU, writes no bytecode and has a temporary folder of
    its own. After `LIMIT_S`, and in any case at the end, it is killed with all that it started.

    Args:
        program: the file.
        interpreter: the Python that runs it.
        folder: the working folder.
        kept: where a successful answer is written for `recall`; None: nowhere.
    """
    with tempfile.TemporaryDirectory(prefix="ask-", ignore_cleanup_errors=True) as scratch:
        answer, error = _run(program, interpreter, folder, scratch)
    if error:
        return Asked(error=error)
    try:
        found = _parse(answer)
    except (KeyError, TypeError, AttributeError, ValueError):
        return Asked(error="its answer cannot be read")
    if kept is not None:
        with contextlib.suppress(OSError):  # a cache that cannot be written is none
            kept.parent.mkdir(parents=True, exist_ok=True)
            content = json.dumps({"format": CACHE_FORMAT, **answer})
            write_whole(kept, content.encode(), sync=False)
    return found


def _environment(scratch: str) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "WANDB_MODE": "disabled",
        "WANDB_DIR": scratch,
        "TMPDIR": scratch,
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
    }


def _run(program: Path, interpreter: str, folder: Path, scratch: str) -> tuple[dict[str, Any], str]:
    """Return the child's answer, or why there is none."""
    reading, writing = os.pipe()
    argv = [interpreter, str(BOOTSTRAP), str(program.absolute()), str(writing)]
    try:
        child = subprocess.Popen(  # noqa: S603 - argv is a list, nothing reaches a shell
            argv,
            cwd=folder,
            env=_environment(scratch),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=(writing,),
            start_new_session=True,
        )
    except OSError as error:
        os.close(reading)
        return {}, f"{interpreter} cannot be started: {error.strerror}"
    finally:
        os.close(writing)
    try:
        text, errors, is_late = _read(child, reading)
        if not text and not is_late:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(timeout=1.0)  # for its exit code
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        os.close(reading)
        if child.stderr is not None:
            child.stderr.close()
    if is_late:
        return {}, f"it did not read its arguments within {LIMIT_S:g} s"
    return _answer(text, errors, child.returncode)


def _answer(text: bytes, errors: bytes, code: int) -> tuple[dict[str, Any], str]:
    try:
        answer = json.loads(text)
    except ValueError:
        lines = errors.decode(errors="replace").strip().splitlines()
        last = f": {lines[-1][:300]}" if lines else ""
        return {}, f"it ended with exit code {code} before it read its arguments{last}"
    return answer, answer.get("error", "")


def _read(child: subprocess.Popen[bytes], reading: int) -> tuple[bytes, bytes, bool]:
    """Return what the child wrote to the pipe, the end of its stderr, and whether it was late."""
    deadline = time.monotonic() + LIMIT_S
    text = errors = b""
    if child.stderr is None:
        raise AssertionError("the child was started with a pipe for stderr")
    with selectors.DefaultSelector() as selector:
        selector.register(reading, selectors.EVENT_READ, "answer")
        selector.register(child.stderr, selectors.EVENT_READ, "stderr")
        while True:
            ready = selector.select(max(0.0, deadline - time.monotonic()))
            if not ready:
                return text, errors, True
            for key, _ in ready:
                chunk = os.read(key.fd, 1 << 16)
                if key.data == "stderr":
                    errors = (errors + chunk)[-STDERR_KEPT:]
                    if not chunk:
                        selector.unregister(key.fileobj)
                elif not chunk or len(text) > MAX_ANSWER:
                    return text, errors, False
                else:
                    text += chunk
                    if text.endswith(b"\n"):  # a process that the program forked holds the pipe
                        return text, errors, False


def _parse(answer: Mapping[str, Any]) -> Asked:
    declarations = tuple(_declaration(told) for told in answer["actions"])
    return Asked(declarations, bool(answer["is_lax"]), bool(answer["has_subcommands"]))


def _declaration(told: Mapping[str, Any]) -> Declaration:
    type_name = told["type"]
    is_named = type_name in _NAMED_TYPES
    return Declaration(
        options=tuple(told["options"]),
        dest=told["dest"],
        action=told["action"],
        type_name=type_name if is_named else "other",
        hint=None if is_named else hint_of_name(type_name),
        nargs=told["nargs"],
        default=told.get("default", UNKNOWN),
        choices=tuple(told["choices"]),
        is_required=told["is_required"],
    )
