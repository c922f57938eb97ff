"""The run that a program logged with wandb, from all logs that it left."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from anlp.core.units import count
from anlp.programs.sources.wandb_file import WandbFile

PATTERNS = ("wandb/*run-*/run-*.wandb", "*run-*/run-*.wandb")
MOST_IDS = 5  # in a sentence
_FOLDER = re.compile(r"(?:offline-)?run-(?P<time>\d{8}_\d{6})-")


class WandbRun:
    """The history, summary and configuration of a program's run.

    The run is the one with the expected id; where there is none, the first that was begun. Its
    attempts are read one after the other.

    Args:
        folders: where the program may have written: WANDB_DIR, and what it may set itself.
        run_id: that the program was given in WANDB_RUN_ID.
    """

    def __init__(self, folders: Sequence[Path], run_id: str) -> None:
        self._folders = folders
        self._expected_id = run_id
        self._files: dict[Path, WandbFile] = {}
        self.step_column = ""  # that the program declared as the step of all metrics
        self.must_restart = False  # the rows so far are another run's
        self._read_id = ""

    def new_rows(self) -> Iterator[dict[str, Any]]:
        """Yield the rows that are new, those of the first attempt first."""
        self._find_files()
        run_id = self.run_id
        self.must_restart = self._read_id not in ("", run_id)
        self._read_id = run_id
        for file in self._own():
            for row in file.new_rows():
                self.step_column = self.step_column or file.step_metric
                yield row

    def rewind(self) -> None:
        """Let `new_rows` begin again."""
        self._files = {path: WandbFile(path) for path in self._files}
        self.must_restart = False

    @property
    def run_id(self) -> str:
        """Return the id of the run that is read; empty while there is none."""
        own = self._own()
        return own[0].run_id if own else ""

    @property
    def is_there(self) -> bool:
        """Return whether the program used wandb."""
        return bool(self._files)

    @property
    def summary(self) -> dict[str, Any]:
        """Return the summary, of which a later attempt's values hold."""
        return {name: value for file in self._own() for name, value in file.summary.items()}

    @property
    def config(self) -> dict[str, Any]:
        """Return the program's own configuration, without what wandb adds."""
        merged = {name: value for file in self._own() for name, value in file.config.items()}
        merged.pop("_wandb", None)
        return merged

    @property
    def exit_code(self) -> int | None:
        """Return the exit code that the last attempt told, None where it told none."""
        own = self._own()
        return own[-1].exit_code if own else None

    def notes(self) -> list[str]:
        """Return what people should know about the run."""
        found = []
        own = self._own()
        if own and self.run_id != self._expected_id:
            found.append(
                f"the program sets the id of its wandb run itself ({self.run_id}); leave "
                f"`id` out of wandb.init and it is {self._expected_id}"
            )
        others = sorted({file.run_id for file in self._files.values()} - {self.run_id})
        if others:
            names = ", ".join(others[:MOST_IDS]) + (", …" if len(others) > MOST_IDS else "")
            found.append(
                f"the program logged {count(len(others), 'other wandb run')} as well, which the "
                f"results leave out: {names}"
            )
        damaged = sum(file.damaged for file in own)
        if damaged:
            found.append(f"{count(damaged, 'block')} of wandb's log is damaged and left out")
        found += [file.error for file in own if file.error]
        return found

    def _find_files(self) -> None:
        for folder in self._folders:
            for pattern in PATTERNS:
                for path in folder.glob(pattern):
                    if path not in self._files:
                        self._files[path] = WandbFile(path)

    def _own(self) -> list[WandbFile]:
        ordered = sorted(self._files.values(), key=_order)
        if not ordered:
            return []
        ids = [file.run_id for file in ordered]
        run_id = self._expected_id if self._expected_id in ids else ids[0]
        return [file for file in ordered if file.run_id == run_id]


def _order(file: WandbFile) -> tuple[str, str]:
    folder = file.path.parent.name
    match = _FOLDER.match(folder)
    return (match["time"] if match else "", folder)
