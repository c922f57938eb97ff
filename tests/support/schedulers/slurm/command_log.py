"""Programs that stand before Slurm's own on PATH: they note every call, and do what a test wants of
one.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

COMMANDS = ("sbatch", "squeue", "sacct", "scancel", "scontrol", "sacctmgr", "sinfo", "srun")


@dataclass(frozen=True, slots=True)
class Calls:
    """A folder of such programs, with the log of their calls."""

    folder: Path

    def look(self) -> Counter[str]:
        """How often each command was called since the last look; `scontrol ping` and `scontrol
        show` are two.
        """
        log = self.folder / "calls"
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return Counter(
            " ".join(line.split()[: 2 if line.startswith("scontrol") else 1]) for line in lines
        )


def note_calls(folder: Path, programs: Mapping[str, str]) -> Calls:
    """Programs in `folder` that note each call and then are the one that `programs` names; put it
    first on PATH.
    """
    folder.mkdir()
    for name, program in programs.items():
        put_first(folder, name, f'exec {shlex.quote(program)} "$@"')
    return Calls(folder)


def put_first(folder: Path, name: str, line: str) -> None:
    """Instead of `name` this line of a shell is carried out, after its call was noted."""
    path = folder / name
    path.write_text(f'#!/bin/sh\necho "{name} $*" >>"{folder}/calls"\n{line}\n')
    path.chmod(0o755)
