"""The messages between a pool of forked runs (`anlp.runtime.pool`) and the process that feeds it.

Each is one line with a JSON object.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any, TypeVar

Message = TypeVar("Message")

# The environment of a process that forks runs, to be set before torch or numpy is loaded: one
# thread, since others do not survive a fork, and CUDA left to the forks (with the last variable
# `torch.cuda.is_available()` does not start it).
FORKING: Mapping[str, str] = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
    "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
}


class Stop(str, Enum):
    """Why the pool itself ended a child; people read the values."""

    TIME_LIMIT = "time limit"
    OUT_OF_MEMORY = "out of memory"
    CANCELLED = "cancelled"
    SHUTDOWN = "its pool was stopped"
    NOT_STARTED = "could not be started"


@dataclass(frozen=True, slots=True)
class PrepareRequest:
    """Load what the elements of this batch file share, before any of them is run."""

    batch: str


@dataclass(frozen=True, slots=True)
class RunRequest:
    """Run one element in a child as soon as a slot is free.

    `key` names it in every reply. Where `member` is given, only that run of the element, counted
    from 0.
    """

    key: int
    batch: str
    index: int
    job: str = ""
    time_limit_s: float | None = None
    mem_limit_mib: int | None = None
    member: int | None = None


@dataclass(frozen=True, slots=True)
class CancelRequest:
    """Ask the children of these keys to checkpoint and leave; those still waiting never start."""

    keys: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class StopRequest:
    """Take no more requests, let the children leave (`now`: kill them), then end."""

    now: bool = False


@dataclass(frozen=True, slots=True)
class ReadyReply:
    """The pool has imported its modules; `threads` must be 1 for its forks to be safe."""

    pid: int
    slots: int
    threads: int
    seconds: float


@dataclass(frozen=True, slots=True)
class StartedReply:
    """A child was forked."""

    key: int
    pid: int
    slot: int


@dataclass(frozen=True, slots=True)
class EndedReply:
    """A child ended (or never started: no exit, no signal).

    `stop` is given only where the pool ended it; `peak_rss_mib` is the kernel's figure, pages
    shared with the pool included.
    """

    key: int
    exit: int | None
    signal: int | None
    stop: Stop | None = None
    detail: str = ""
    peak_rss_mib: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class NoticeReply:
    """A text for people; it changes nothing."""

    text: str


Request = PrepareRequest | RunRequest | CancelRequest | StopRequest
Reply = ReadyReply | StartedReply | EndedReply | NoticeReply

REQUESTS: Mapping[str, type[Request]] = {
    "prepare": PrepareRequest,
    "run": RunRequest,
    "cancel": CancelRequest,
    "stop": StopRequest,
}
REPLIES: Mapping[str, type[Reply]] = {
    "ready": ReadyReply,
    "started": StartedReply,
    "ended": EndedReply,
    "notice": NoticeReply,
}


def render(message: Request | Reply) -> bytes:
    """Return the line of a message, line break included."""
    names = {kind: name for name, kind in (*REQUESTS.items(), *REPLIES.items())}
    return (
        json.dumps({names[type(message)]: asdict(message)}, separators=(",", ":")).encode() + b"\n"
    )


def parse_request(line: bytes) -> Request:
    """Inverse of `render`; raises ValueError with the line in it for anything else."""
    request = _parse(line, REQUESTS)
    return CancelRequest(tuple(request.keys)) if isinstance(request, CancelRequest) else request


def parse_reply(line: bytes) -> Reply:
    """Inverse of `render`; raises ValueError with the line in it for anything else."""
    return _parse(line, REPLIES)


def _parse(line: bytes, kinds: Mapping[str, type[Message]]) -> Message:
    try:
        ((name, content),) = json.loads(line).items()
        return kinds[name](**_with_stop(content))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"expected a message ({', '.join(kinds)}), got {line[:200]!r}") from error


def _with_stop(content: Mapping[str, Any]) -> dict[str, Any]:
    stop = content.get("stop")
    return {**content, "stop": Stop(stop)} if stop is not None else dict(content)


class LineBuffer:
    """Splits a stream that arrives in pieces into lines."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> Iterable[bytes]:
        """Return the lines that `piece` completes, in order.

        An unfinished line is kept for the next piece.
        """
        *lines, self._rest = (self._rest + piece).split(b"\n")
        return [line for line in lines if line.strip()]
