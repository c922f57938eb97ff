"""Debian's Torque commands over the real Slurm: unpacked into a folder for PATH, so that no other
test sees them.
"""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.schedulers.slurm.cluster import why_not

PLACE = Path("/tmp/anlp-torque")
PACKAGE = "slurm-wlm-torque"
PERL = ("libslurm-perl", "libslurmdb-perl", "libswitch-perl")  # what its commands are written with
USES = ("-MSlurm", "-MSlurmdb", "-MSwitch")


def unpack() -> Path:
    """The folder with qsub, qstat and qdel; skips in one line where they cannot be had."""
    if reason := why_not():
        pytest.skip(reason)
    PLACE.mkdir(exist_ok=True)
    with (PLACE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        commands = PLACE / "usr" / "bin"
        if (
            not (commands / "sbatch").exists()
            or subprocess.run(["perl", *USES, "-e1"], capture_output=True).returncode
        ):
            _fetch(commands)
    return commands


def _fetch(commands: Path) -> None:
    steps = [
        ["apt-get", "-q", "-y", "--no-install-recommends", "install", *PERL],
        ["apt-get", "-q", "download", PACKAGE],
        ["sh", "-c", f"dpkg -x {PACKAGE}_*.deb ."],
    ]
    for step in steps:
        done = subprocess.run(step, cwd=PLACE, capture_output=True, text=True)
        if done.returncode != 0:
            pytest.skip(
                f"no {PACKAGE} here: {' '.join(step[:2])}: "
                f"{(done.stderr.strip().splitlines() or ['?'])[-1]}"
            )
    for name in ("sbatch", "salloc", "srun"):  # they look for these beside themselves
        (commands / name).unlink(missing_ok=True)
        (commands / name).symlink_to(shutil.which(name) or f"/usr/bin/{name}")
