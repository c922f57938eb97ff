"""A site's own image with the checkout over it: what it lacks is said, and else it trains."""

from __future__ import annotations

import json
import os
import shlex
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from anlp.core.errors import EXIT_USAGE, UserError
from anlp.records.files import read_json
from anlp.records.results import RunState
from jobs.config.resources import Resources
from jobs.containers.apptainer import Container
from jobs.containers.site_image import NEEDED, Wanted, check_site_image, wanted_by
from jobs.schedulers.base import Batch
from jobs.schedulers.pbs.script import Start
from jobs.schedulers.slurm.script import SlurmOptions, render_script
from tests.support.paths import ROOT
from tests.support.schedulers.slurm import fake_slurm
from tests.support.submits import TINY, Place, make_place

TRAINING = wanted_by(["mnist"], has_wandb=False, is_here=True)
FOUND = {
    "numpy": "1.26.4",
    "pydantic": "2.9.2",
    "torch": "2.11.0",
    "typing_extensions": "4.12.2",
}
OWN = """
from dataclasses import dataclass

@dataclass
class Settings:
    lr: float = 0.1

def train(settings: Settings, run):
    run.log(val_acc=settings.lr)
"""
HERE = ("--on", "local", "-q", "--slots", "2")


@pytest.fixture
def container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Container:
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    return Container(tmp_path / "site.sif", cwd=tmp_path, is_of_site=True)


def answer(container: Container, line: str) -> None:
    """Let apptainer do this."""
    path = container.image.parent / "bin" / "apptainer"
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


def tell(container: Container, **told: Any) -> None:
    """Let the Python of the image say this of itself."""
    form = {"python": [3, 10], "versions": FOUND, "fault": "", **told}
    answer(container, f"echo Welcome; echo {shlex.quote(json.dumps(form))}")


def refusal(container: Container, wanted: Wanted = TRAINING) -> str:
    with pytest.raises(UserError) as raised:
        check_site_image(container, wanted, pytest.fail)
    assert str(raised.value).startswith(f"container: {container.image}: ")
    return str(raised.value)


def without(*names: str) -> Mapping[str, str]:
    return {name: version for name, version in FOUND.items() if name not in names}


def test_an_image_with_all_that_is_wanted_is_taken_in_silence(container: Container) -> None:
    tell(container)

    check_site_image(container, TRAINING, pytest.fail)


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"python": [3, 8], "versions": {}}, "its Python is 3.8, and this project needs 3.10 or"),
        (
            {"fault": "ModuleNotFoundError: No module named 'anlp'"},
            "it holds nothing of this project; put this checkout over it with --live",
        ),
        ({"versions": without("torch")}, "its Python 3.10 lacks torch; choose an image with torch"),
        (
            {"versions": without("pydantic", "typing_extensions"), "fault": "No module"},
            "lacks pydantic and typing_extensions; install into a folder (apptainer exec ",
        ),
        (
            {"fault": "ImportError: cannot import name 'model_validator' from 'pydantic'"},
            "cannot import this project: ImportError: cannot import name 'model_validator' from "
            "'pydantic'; it has numpy 1.26.4, pydantic 2.9.2,",
        ),
    ],
)
def test_what_it_lacks_is_one_sentence(
    container: Container, told: Mapping[str, Any], said: str
) -> None:
    tell(container, **told)

    assert said in refusal(container)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("echo 'sh: 1: exec: python: not found' >&2; exit 127", "no python3 and no python in it"),
        ("echo 'FATAL:   not a squashfs' >&2; exit 255", "would not start: not a squashfs."),
        ("exit 0", "jobs in it would not start: exit code 0"),
    ],
)
def test_an_image_that_does_not_start_is_refused_as_any_other(
    container: Container, line: str, said: str
) -> None:
    answer(container, line)

    assert said in refusal(container)


def test_how_to_add_a_package_fits_the_place_where_the_image_is_started(
    container: Container,
) -> None:
    tell(container)
    mirrored = wanted_by(["mnist"], has_wandb=True, is_here=True)
    on_slurm = wanted_by(["mnist"], has_wandb=False, more=["submitit"])

    here, there = refusal(container, mirrored), refusal(container, on_slurm)

    assert "--target FOLDER 'wandb>=0.31')" in here
    assert here.endswith(
        "export APPTAINER_BIND=FOLDER:/opt/packages, or run without wandb: --wandb disabled"
    )
    assert there.endswith("bind that in the profile: binds: [FOLDER:/opt/packages:ro]")


def test_older_packages_and_those_of_some_settings_are_warned_of(container: Container) -> None:
    tell(container, versions={**FOUND, "torch": "2.5.0a0+e000cf0ad9.nv24.10", "numpy": ""})
    wanted = wanted_by(["cifar10", "my.py:train"], has_wandb=False, is_here=True)
    said: list[str] = []

    check_site_image(container, wanted, said.append)

    assert said == [
        "warning: site.sif has no torchvision: runs of cifar10 that need it will fail",
        "warning: site.sif has torch 2.5.0a0+e000cf0ad9.nv24.10 (this project asks for 2.11 or "
        "newer): try one run before many",
    ]


def test_a_function_of_the_users_own_needs_no_torch() -> None:
    wanted = wanted_by(["my_study.py:train"], has_wandb=False)

    assert wanted.names == ("pydantic", "typing_extensions")


def test_the_versions_are_those_that_the_project_asks_for() -> None:
    lines = (line.split("#")[0].strip() for line in (ROOT / "setup.cfg").read_text().splitlines())
    asked = {}
    for line in lines:
        name = line.split(">")[0].split("=")[0]
        if name in NEEDED:
            (first, *_) = sorted(Requirement(line).specifier, key=lambda each: each.operator)[::-1]
            asked[name] = first.version.removesuffix(".*")

    assert asked == {name: version for name, (_, version) in NEEDED.items()}


def test_jobs_start_its_python_with_the_checkout_first(container: Container) -> None:
    batch = Batch("0123456789ab", "mnist", container.cwd / "batches/3.jsonl", 20)
    script = render_script(
        batch, Resources(walltime_min=30), SlurmOptions(container=container), Path("/w")
    )

    pbs = Start(Path("/w"), container=container).words

    for start in (script, pbs[-4]):
        assert 'PYTHONPATH="/opt/live:/opt/packages${PYTHONPATH:+:$PYTHONPATH}"' in start
        assert "PYTHONNOUSERSITE=1 PYTHONSAFEPATH=1" in start
    assert pbs[-3:] == ("sh", "-m", "anlp.run")


@pytest.fixture
def place(tmp_path: Path, own_image: Path, as_this_user: None) -> Place:
    return make_place(tmp_path, f"{TINY}container: {own_image}\n")


@pytest.mark.slow
def test_an_image_of_the_users_own_lacks_torch_and_says_so(place: Place) -> None:
    bare, live = place.submit(*HERE), place.submit(*HERE, "--live")

    assert (bare.code, live.code) == (EXIT_USAGE, EXIT_USAGE)
    assert "put this checkout over it with --live" in bare.err
    assert "lacks pydantic, typing_extensions, numpy and torch; choose an image" in live.err
    assert place.runs() == []


@pytest.mark.slow
def test_built_in_tasks_are_trained_by_its_python_and_bound_packages(
    tmp_path: Path, own_image: Path, as_this_user: None
) -> None:
    packages = sysconfig.get_paths()["purelib"]
    version = f"python3.{sys.version_info[1]}"
    if not Path("/usr/bin", version).exists():
        pytest.skip(f"needs a {version} of the system, for which the packages of this one are")
    place = make_place(
        tmp_path,
        f"{TINY}container: {own_image}\n",
        APPTAINER_BIND=f"{packages}:/opt/packages:ro",
    )

    ended = place.submit(*HERE, "--live")

    assert (ended.code, place.counts()) == (0, {RunState.DONE: 4}), ended
    for run in place.runs():
        found = (read_json(run.result) or {})["provenance"]
        assert found["container"]["image"] == str(own_image)
        assert found["container"]["mode"] == "live"
        assert found["commit"]
    place.wait_until_alone()


@pytest.mark.slow
def test_slurm_needs_submitit_in_it(tmp_path: Path, own_image: Path, as_this_user: None) -> None:
    path = f"{fake_slurm.install(tmp_path / 'slurm')}:{os.environ['PATH']}"
    place = make_place(tmp_path, f"task: own.py:train\ncontainer: {own_image}\n", PATH=path)
    (tmp_path / "own.py").write_text(OWN)

    ended = place.submit("--on", "slurm", "-q", "--live", "--wandb", "disabled")

    assert ended.code == EXIT_USAGE
    assert "lacks pydantic, typing_extensions and submitit; install into a folder" in ended.err
