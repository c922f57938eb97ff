"""A real Apptainer and an image of this checkout for the tests that need them, built once for all test processes.

The image is the variant for CPUs and machines without a container hub, built by an ordinary user as people would do it;
it is kept in `CACHE` under a checksum of what goes in. ANLP_IMAGE names one that is taken as it is.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import pwd
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent
CACHE = Path(os.environ.get("ANLP_IMAGE_CACHE", "/tmp/anlp-images"))
BUILDER = "anlp-builder"  # root has often fewer rights in a virtual machine than Apptainer asks of it
INPUTS = ("containers", "anlp", "setup.cfg", "pyproject.toml", ":!*.md")
MOST_KEPT = 4


@pytest.fixture(scope="session")
def apptainer() -> None:
    """Skips where there is no Apptainer and none can be installed."""
    with _locked("install"):
        if reason := _why_not():
            pytest.skip(reason)


@pytest.fixture
def as_this_user(apptainer: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets root start images where it lacks rights; ordinary users need nothing."""
    if os.geteuid() == 0:
        monkeypatch.setenv("APPTAINER_USERNS", "1")


@pytest.fixture(scope="session")
def image(apptainer: None) -> Path:
    """The image of this checkout."""
    if named := os.environ.get("ANLP_IMAGE"):
        return Path(named)
    path = CACHE / f"anlp-{_checksum()}.sif"
    with _locked("build"):
        if not path.exists():
            _build(path)
    return path


def _why_not() -> str | None:
    if shutil.which("apptainer") is None and os.geteuid() == 0 and Path("/etc/debian_version").exists():
        done = subprocess.run([HERE / "apptainer" / "install.sh"], capture_output=True, text=True)
        if done.returncode:
            return f"Apptainer could not be installed: {done.stderr.strip()[-300:]}"
    if shutil.which("apptainer") is None:
        return "needs apptainer: https://apptainer.org/docs/admin/latest/installation.html"
    if subprocess.run(["unshare", "--user", "true"], capture_output=True).returncode:
        return "needs user namespaces: sysctl kernel.unprivileged_userns_clone=1"
    return None


def _build(path: Path) -> None:
    """Stages by the rights of this process, builds by those of an ordinary user; about two minutes."""
    stage = CACHE / "stage"
    shutil.rmtree(stage, ignore_errors=True)
    stage.mkdir()
    _call([str(ROOT / "containers" / "build.sh"), "--cpu", *_torch(), "--stage", str(stage)])
    script = [str(stage / "source" / "containers" / "build.sh"), "--staged", str(stage), "--from", "debootstrap"]
    _call([*_as_builder(stage), *script, "-o", str(stage / "anlp.sif")])
    for old in sorted(CACHE.glob("anlp-*.sif"), key=os.path.getmtime)[: 1 - MOST_KEPT]:
        old.unlink()
    (stage / "anlp.sif").replace(path)
    path.chmod(0o644)
    shutil.rmtree(stage)


def _torch() -> list[str]:
    """The locked version for CPUs where pip finds it, else the newest for CPUs that it finds."""
    asked = ["--no-deps", "--only-binary", ":all:", "--python-version", "3.11", "--dest", "/dev/null", "torch==0"]
    argv = [sys.executable, "-m", "pip", "download", *asked]
    found = re.findall(r"[\d.]+\+cpu", subprocess.run(argv, capture_output=True, text=True).stderr)
    locked = re.search(r"^torch==([\d.]+)", (ROOT / "containers" / "requirements.lock").read_text(), re.MULTILINE)
    if not found:
        pytest.skip("pip finds no torch for CPUs (+cpu); name a place that has it: PIP_FIND_LINKS, PIP_EXTRA_INDEX_URL")
    return [] if locked and f"{locked[1]}+cpu" in found else ["--torch", f"torch=={found[-1]}"]


def _as_builder(stage: Path) -> Sequence[str]:
    if os.geteuid() != 0:
        return ()
    try:
        pwd.getpwnam(BUILDER)
    except KeyError:
        _call(["useradd", "-m", BUILDER])  # with a range in /etc/subuid, as useradd gives it
    _call(["chown", "-R", BUILDER, str(stage)])
    return ("setpriv", f"--reuid={BUILDER}", f"--regid={BUILDER}", "--init-groups", "env", f"HOME=/home/{BUILDER}")


def _checksum() -> str:
    listed = subprocess.run(["git", "ls-files", *INPUTS], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    found = hashlib.sha256()
    for name in listed.split():
        found.update(name.encode() + b"\0" + (ROOT / name).read_bytes())
    return found.hexdigest()[:16]


def _call(argv: Sequence[str]) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, cwd=CACHE)
    assert done.returncode == 0, f"{argv}: {(done.stdout + done.stderr)[-3000:]}"


@contextmanager
def _locked(what: str) -> Iterator[None]:
    CACHE.mkdir(exist_ok=True)
    with (CACHE / f"{what}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
