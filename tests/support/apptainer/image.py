"""A real Apptainer and an image of this checkout for the tests that need them, built once for all
test processes.

The image is the variant for CPUs and machines without a container hub, built by an ordinary user as
people would do it;
it is kept in `CACHE` under a checksum of what goes in, files that are not in git yet included: no
test meets the code
of yesterday. ANLP_IMAGE names one that is taken as it is.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.support.paths import ROOT

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("ANLP_IMAGE_CACHE") or f"/tmp/anlp-images-{os.getuid()}")
BUILDER = (
    "anlp-builder"  # root has often fewer rights in a virtual machine than Apptainer asks of it
)
INPUTS = ("containers", "anlp", "setup.cfg", "pyproject.toml", ":!*.md")
MOST_KEPT = 4
IN_USE_S = (
    12 * 3600.0
)  # tests of another checkout may still run in an image that was asked for so recently
NO_TORCH = "pip finds no CPU build of torch"  # as containers/build.sh says it


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
    return _find_or_build()


@contextmanager
def building_ahead(*, is_wanted: bool) -> Iterator[None]:
    """Builds the image in another process, so that tests that need none need not wait for it.

    A test that needs it waits, and tells what is wrong where it cannot be built.
    """
    if not is_wanted or "ANLP_IMAGE" in os.environ:
        yield
        return
    argv = ["nice", sys.executable, "-m", "tests.support.apptainer.image"]
    nothing = subprocess.DEVNULL
    process = subprocess.Popen(
        argv, cwd=ROOT, stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True
    )
    try:
        yield
    except BaseException:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        raise
    finally:
        process.wait()  # tests of other workers may wait for the image


def _find_or_build() -> Path:
    path = CACHE / f"anlp-{checksum(ROOT)}.sif"
    with _locked("build"):
        if not path.exists():
            _build(path)
        path.touch()
        for old in too_many(CACHE, time.time()):
            old.unlink()
    return path


@pytest.fixture(scope="session")
def own_image(apptainer: None) -> Path:
    """A small image with a Python of its own and nothing of this project; ten seconds."""
    definition = (HERE / "own.def").read_bytes()
    path = CACHE / f"own-{hashlib.sha256(definition).hexdigest()[:16]}.sif"
    with _locked("own"):
        if not path.exists():
            if not Path("/usr/bin/python3").exists():
                pytest.skip("needs a Python of the system for the image")
            stage = CACHE / "own-stage"
            shutil.rmtree(stage, ignore_errors=True)
            stage.mkdir()
            (stage / "own.def").write_bytes(definition)
            built = stage / "own.sif"
            _call([*_as_builder(stage), "apptainer", "build", str(built), str(stage / "own.def")])
            built.replace(path)
            path.chmod(0o644)
            shutil.rmtree(stage)
    return path


def _why_not() -> str | None:
    if (
        shutil.which("apptainer") is None
        and os.geteuid() == 0
        and Path("/etc/debian_version").exists()
    ):
        done = subprocess.run([HERE / "install.sh"], capture_output=True, text=True)
        if done.returncode:
            return f"Apptainer could not be installed: {done.stderr.strip()[-300:]}"
    if shutil.which("apptainer") is None:
        return "needs apptainer: https://apptainer.org/docs/admin/latest/installation.html"
    if subprocess.run(["unshare", "--user", "true"], capture_output=True).returncode:
        return "needs user namespaces: sysctl kernel.unprivileged_userns_clone=1"
    return None


def _build(path: Path) -> None:
    """Stages by the rights of this process, builds by those of an ordinary user; about two
    minutes.
    """
    stage = CACHE / "stage"
    shutil.rmtree(stage, ignore_errors=True)
    staged = [
        str(ROOT / "containers" / "build.sh"),
        "--cpu",
        "--torch",
        "any",
        "--stage",
        str(stage),
    ]
    done = subprocess.run(staged, capture_output=True, text=True)
    if NO_TORCH in done.stderr:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    assert done.returncode == 0, done.stderr[-3000:]
    script = [
        str(stage / "source" / "containers" / "build.sh"),
        "--staged",
        str(stage),
        "--from",
        "debootstrap",
    ]
    _call([*_as_builder(stage), *script, "-o", str(stage / "anlp.sif")])
    (stage / "anlp.sif").replace(path)
    path.chmod(0o644)
    shutil.rmtree(stage)


def too_many(cache: Path, now: float) -> Sequence[Path]:
    """Images without a recent use, but for the newest few."""
    kept = sorted(cache.glob("anlp-*.sif"), key=os.path.getmtime)[:-MOST_KEPT]
    return [path for path in kept if path.stat().st_mtime < now - IN_USE_S]


def _as_builder(stage: Path) -> Sequence[str]:
    if os.geteuid() != 0:
        return ()
    try:
        pwd.getpwnam(BUILDER)
    except KeyError:
        _call(["useradd", "-m", BUILDER])  # with a range in /etc/subuid, as useradd gives it
    _call(["chown", "-R", BUILDER, str(stage)])
    return (
        "setpriv",
        f"--reuid={BUILDER}",
        f"--regid={BUILDER}",
        "--init-groups",
        "env",
        f"HOME=/home/{BUILDER}",
    )


def checksum(root: Path) -> str:
    """Changes with everything of a checkout that the image's programs are made of."""
    words = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *INPUTS]
    listed = subprocess.run(
        words, cwd=root, check=True, capture_output=True, text=True
    ).stdout.split("\0")
    found = hashlib.sha256()
    for name in sorted({name for name in listed if name and (root / name).is_file()}):
        content = (root / name).read_bytes()
        found.update(f"{name}\0{len(content)}\0".encode() + content)
    return found.hexdigest()[:16]


def _call(argv: Sequence[str]) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, cwd=CACHE)
    assert done.returncode == 0, f"{argv}: {(done.stdout + done.stderr)[-3000:]}"


@contextmanager
def _locked(what: str) -> Iterator[None]:
    CACHE.mkdir(exist_ok=True, mode=0o755)
    found = CACHE.stat()
    if found.st_uid != os.geteuid() or found.st_mode & 0o022:  # what lies there is executed
        pytest.fail(
            f"{CACHE}: of another user, or others may write "
            "there; name another place: ANLP_IMAGE_CACHE"
        )
    with (CACHE / f"{what}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    with _locked("install"):
        can_build = _why_not() is None
    if can_build:
        _find_or_build()
