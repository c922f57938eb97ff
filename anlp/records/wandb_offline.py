"""The wandb copies that a run left offline, and the mark of those that are on the server."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from anlp.core import lease
from anlp.core.files import create_whole, make_folder
from anlp.records.files import read_json, write_json
from anlp.records.folders import GridFolder, RunFolder

PATTERN = "offline-run-*"  # as wandb calls the folder of one attempt that was mirrored offline
MARK = "uploaded.json"
PROJECT = "wandb.url"  # in the grid's folder
MOST_OF_URL = 500
LEASES = "uploads"  # one process at a time sends a run


def runs_with_copies(path: Path) -> list[RunFolder]:
    """Return the runs in or below a folder that have an offline copy, ordered by path."""
    runs = {copy.parent.parent for copy in path.glob(f"**/wandb/{PATTERN}")}
    return [RunFolder(run) for run in sorted(runs)]


def pending_copies(folder: RunFolder) -> list[Path]:
    """Return the offline copies of a run whose content is not on the server yet."""
    done = _marked(folder)
    return [copy for copy in sorted(folder.wandb.glob(PATTERN)) if copy.name not in done]


def done_copies(folder: RunFolder) -> list[Path]:
    """Return the offline copies of a run that are uploaded and still take space."""
    done = _marked(folder)
    return [copy for copy in sorted(folder.wandb.glob(PATTERN)) if copy.name in done]


def leave_for_sync(folder: RunFolder, now: float) -> None:
    """Mark a run as one to upload, without a copy: what is sent is in `metrics.jsonl` anyway.

    Args:
        folder: of the run.
        now: unix time.
    """
    stamp = time.strftime("%Y%m%d_%H%M%S", time.localtime(now))
    make_folder(folder.wandb / f"offline-run-{stamp}-{folder.run_id}")


def is_live(folder: RunFolder) -> bool:
    """Tell whether a process is at the run, and with it at its wandb folder."""
    holder = lease.latest(folder.attempts)
    return holder is not None and lease.is_alive(holder)


def mark_uploaded(folder: RunFolder, copies: Sequence[Path], url: str) -> None:
    """Mark copies as done, whether they are still there or not."""
    names = sorted({*_marked(folder), *(copy.name for copy in copies)})
    write_json(folder.wandb / MARK, {"copies": names, "url": url, "at": time.time()})


def keep_project_url(folder: RunFolder, url: str) -> None:
    """Keep the address of the project in the grid's folder, once; never raises for the disk."""
    if url:
        with contextlib.suppress(OSError):
            create_whole(folder.path.parent / PROJECT, (url + "\n").encode())


def project_url(folder: GridFolder) -> str:
    """Return the address of the project that runs of a grid were mirrored to; empty: not known."""
    try:
        url = (folder.path / PROJECT).read_text(errors="replace")[:MOST_OF_URL].strip()
    except OSError:
        return ""
    return url if url.startswith(("http://", "https://")) and url.isprintable() else ""


def _marked(folder: RunFolder) -> frozenset[str]:
    names = (read_json(folder.wandb / MARK) or {}).get("copies", [])
    # a damaged mark is none: its copies are sent again, which changes nothing on the server
    return frozenset(filter(_is_text, names)) if isinstance(names, list) else frozenset()


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def remove_copies(copies: Iterable[Path]) -> None:
    """Remove copies that are done; those of an attempt that has begun since stay."""
    for copy in copies:
        shutil.rmtree(copy, ignore_errors=True)
