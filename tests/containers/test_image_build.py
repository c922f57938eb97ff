"""What goes into an image: a lock file that is true to setup.cfg, wheels as pip finds them, and
what is said if not.

Packages are pretended by empty files in a folder, of which pip reads the names; nothing is fetched.
"""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.support.paths import ROOT

LOCK = ROOT / "containers" / "requirements.lock"
EXTRAS = ("train", "boost")
FOR_CPUS = ("torch==2.11.0+cpu", "torchvision==0.26.0+cpu", "torchaudio==2.11.0+cpu")


def locked() -> dict[str, str]:
    return dict(re.findall(r"^([a-z][a-z0-9-]*)==([^ ]+)", LOCK.read_text(), re.MULTILINE))


def required() -> Iterator[Requirement]:
    """What runs need by setup.cfg, for the image's Python."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    texts = [
        config["options"]["install_requires"],
        *(config["options.extras_require"][extra] for extra in EXTRAS),
    ]
    lines = [line.split(" #")[0].strip() for text in texts for line in text.splitlines()]
    wanted = [Requirement(line) for line in lines if line and not line.startswith("#")]
    yield from (
        one
        for one in wanted
        if one.marker is None or one.marker.evaluate({"python_version": "3.11"})
    )


def test_the_lock_file_holds_what_setup_cfg_asks_for() -> None:
    found = locked()
    asked = list(required())

    assert {"torch", "xgboost-cpu", "submitit"} <= {one.name.lower() for one in asked}
    absent = [
        str(one)
        for one in asked
        if found.get(one.name.lower().replace("_", "-"), "") not in one.specifier
    ]
    assert absent == [], "containers/build.sh --lock writes it anew"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A checkout of what is built, small, with a folder of wheels."""
    for name in ("anlp", "jobs", "analysis", "profiles", "wheels"):
        (tmp_path / name).mkdir()
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        (tmp_path / name).touch()
    (tmp_path / "anlp" / "core").mkdir()
    (tmp_path / "anlp" / "core" / "version.py").write_text('__version__ = "1"\n')
    shutil.copytree(
        ROOT / "containers", tmp_path / "containers", ignore=shutil.ignore_patterns("*.sif*")
    )
    return tmp_path


def stage(project: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Collects for CPUs, where pip knows the project's folder of wheels and nothing else."""
    script = str(project / "containers" / "build.sh")
    pip = {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(project / "wheels"),
    }
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHON": str(ROOT / ".venv" / "bin" / "python"),
        **pip,
        **environment,
    }
    argv = [script, "--cpu", "--stage", str(project / "parcel"), *words]
    return subprocess.run(argv, env=environ, capture_output=True, text=True)


def offer(project: Path, *wheels: str, tag: str = "cp311-cp311-manylinux_2_28_x86_64") -> None:
    for wheel in wheels:
        (project / "wheels" / f"{wheel.replace('==', '-')}-{tag}.whl").touch()


@pytest.mark.slow
def test_an_index_without_builds_for_cpus_is_one_sentence(project: Path) -> None:
    offer(project, "torch==2.11.0")

    done = stage(project)

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        "build.sh: pip finds no CPU build of torch (+cpu) for Python 3.11: name"
    )


@pytest.mark.slow
@pytest.mark.parametrize("level", [25, 5])
def test_builds_of_another_version_are_named_with_any_libc(project: Path, level: int) -> None:
    offer(project, "torch==2.13.0+cpu", tag=f"cp311-cp311-manylinux_2_{level}_x86_64")

    said = stage(project).stderr.splitlines()[-1]

    assert said.startswith(f"build.sh: pip does not find {' '.join(FOR_CPUS)} for Python 3.11; ")
    assert "CPU builds of torch that it finds: 2.13.0+cpu. Name one with --torch" in said


@pytest.mark.slow
def test_a_cap_in_pips_configuration_hides_no_build(project: Path) -> None:
    (project / "cap.txt").write_text("torch<=2.14\n")
    offer(project, "torch==2.13.0+cpu")

    said = stage(project, PIP_CONSTRAINT=str(project / "cap.txt")).stderr

    assert "CPU builds of torch that it finds: 2.13.0+cpu" in said


@pytest.mark.slow
def test_one_that_is_missing_of_the_family_is_named(project: Path) -> None:
    offer(project, *FOR_CPUS[:2])

    assert "pip does not find torchaudio==2.11.0+cpu for Python 3.11" in stage(project).stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("found", "taken"),
    [
        (FOR_CPUS, None),
        ((FOR_CPUS[0], "torch==2.13.0+cpu", "torch==2.12.0+cpu"), "torch==2.13.0+cpu"),
    ],
)
def test_any_takes_the_locked_builds_or_else_says_which(
    project: Path, found: tuple[str, ...], taken: str | None
) -> None:
    offer(project, *found)

    notes = [
        line for line in stage(project, "--torch", "any").stderr.splitlines() if "note:" in line
    ]

    assert notes == (
        [f"build.sh: note: pip does not find all of {' '.join(FOR_CPUS)}; taking {taken} alone"]
        if taken
        else []
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--torch", "2.13.0"], "--torch: expected 'any' or torch==VERSION+cpu, got '2.13.0'"),
        (
            ["--torch", "torch==2;touch x"],
            "--torch: expected 'any' or torch==VERSION+cpu, got 'torch==2;touch'",
        ),
        (
            ["--base", "x", "--from", "debootstrap"],
            "--base: names an image of a hub; leave out --from debootstrap",
        ),
    ],
)
def test_what_cannot_be_meant_is_said(project: Path, words: list[str], said: str) -> None:
    done = stage(project, *words)

    assert (done.returncode, said in done.stderr) == (2, True), done.stderr


def test_a_folder_of_another_user_is_not_emptied(project: Path) -> None:
    (project / "parcel" / "source").mkdir(parents=True)
    (project / "parcel" / "source" / "thesis.tex").touch()

    done = stage(project)

    assert (done.returncode, (project / "parcel" / "source" / "thesis.tex").exists()) == (2, True)
    assert "source is not of a --stage; name another folder" in done.stderr


def test_a_python_whose_pip_is_too_old_is_told(project: Path) -> None:
    old = project / "python3"
    old.write_text('#!/bin/sh\ncase "$*" in *index*) echo unknown command >&2; exit 1 ;; esac\n')
    old.chmod(0o755)

    done = stage(project, PYTHON=str(old), PATH=f"{project}:{os.environ['PATH']}")

    assert f"no Python with pip 21.2 or newer here (tried: {old}, .venv, python3)" in done.stderr
