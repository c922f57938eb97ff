from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from anlp.core.errors import SpecError
from jobs.config.resources import Resources
from jobs.schedulers import profiles, registry
from jobs.schedulers.base import Batch
from jobs.schedulers.pbs.profile import PbsProfile
from jobs.schedulers.profiles import load_profile, parse_profile, profile_names
from jobs.schedulers.site import Profile, QueueRule, apply

RULES = (
    QueueRule("gpu_long", min_gpus=1, over_min=1440),
    QueueRule("gpu", min_gpus=1),
    QueueRule("short", max_gpus=0, upto_min=120),
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    folder = tmp_path / "anlp" / "profiles"
    folder.mkdir(parents=True)
    return folder


def test_shipped_profiles_are_read_without_a_fault(home: Path) -> None:
    found = {name: load_profile(name) for name in profile_names()}

    assert {name: profile.scheduler for name, profile in found.items()} == {
        "generic-lsf": "lsf",
        "generic-pbs": "pbs",
        "generic-slurm": "slurm",
        "metacentrum": "pbs",
    }
    assert getattr(found["metacentrum"], "clean_scratch", None) == "clean_scratch"


def test_ones_own_profile_goes_before_a_shipped_one(home: Path) -> None:
    (home / "metacentrum.yaml").write_text("scheduler: pbs\nmodules: [mine/1]\n")

    assert load_profile("metacentrum") == PbsProfile("metacentrum", modules=("mine/1",))


def test_a_file_can_be_named_directly(tmp_path: Path) -> None:
    (tmp_path / "here.yaml").write_text("umask: '027'\n")

    assert load_profile(str(tmp_path / "here.yaml")) == PbsProfile("here", umask="027")


def test_an_unknown_profile_is_refused_with_the_nearest_name(home: Path) -> None:
    with pytest.raises(
        SpecError, match=r"profile 'metacentrun': no such profile \(did you mean 'metacentrum'\?"
    ):
        load_profile("metacentrun")


def test_all_faults_are_told_at_once_with_their_lines() -> None:
    text = """\
sellect: [scratch_local=1gb]
queues:
  - {name: gpu}
defaults: {time: soon, cpus: 3}
modules: ["x; rm -rf /"]
select: ["a b"]
env_file: relative/env
umask: 9
"""
    with pytest.raises(SpecError) as caught:
        parse_profile(text, Path("s.yaml"))

    assert [fault.split(" (")[0] for fault in caught.value.faults] == [
        "s.yaml:1: unknown key 'sellect'",
        "s.yaml:3: queues[0]: unknown key 'name'",
        "s.yaml:3: queues[0]: expected the queue's name under 'queue'",
        "s.yaml:4: defaults.time: expected a time such as 30m, 1h30m or 01:30:00, got 'soon'",
        "s.yaml:4: defaults: unknown key 'cpus'",
        "s.yaml:5: modules: expected the name of a module such as cuda/12.4, got 'x; rm -rf /'",
        "s.yaml:6: select: expected NAME=VALUE such as scratch_local=10gb, got 'a b'",
        "s.yaml:7: env_file: expected an absolute path, got 'relative/env'",
        "s.yaml:8: umask: expected a umask such as 077, got 9",
    ]


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        (
            "scheduler: slurm\nmodules: [cuda/12.4]\numask: '027'\ndialect:\n",
            [
                "s.yaml:2: modules: only PBS has this, and the profile is for slurm; remove it",
                "s.yaml:3: umask: only PBS has this, and the profile is for slurm; remove it",
            ],
        ),
        (
            "continuations: 3\n",
            ["s.yaml:1: continuations: only Slurm has this, and the profile is for pbs; remove it"],
        ),
        (
            "scheduler: slurm\nwarn: 10m\n",
            ["s.yaml:2: warn: expected 1 s to 480 s, got 600 s: Slurm warns early"],
        ),
        (
            "scheduler: slurm\nwarn: 0\n",
            ["s.yaml:2: warn: expected 1 s to 480 s, got 0 s: Slurm warns early"],
        ),
    ],
)
def test_what_a_scheduler_would_not_use_is_refused(text: str, faults: list[str]) -> None:
    with pytest.raises(SpecError) as caught:
        parse_profile(text, Path("s.yaml"))

    assert list(caught.value.faults) == faults


@pytest.mark.parametrize(
    ("text", "signal", "continuations"),
    [("", "B:USR2@90", "20"), ("warn: 5m\ncontinuations: 3\n", "B:USR2@300", "3")],
)
def test_when_slurm_warns_and_how_often_a_run_is_continued_is_up_to_the_site(
    tmp_path: Path, text: str, signal: str, continuations: str
) -> None:
    (tmp_path / "site.yaml").write_text(f"scheduler: slurm\n{text}")
    (tmp_path / "sbatch").write_text("#!/bin/sh\necho 7\n")
    (tmp_path / "scontrol").write_text("#!/bin/sh\necho 'MaxArraySize = 1001'\n")
    for name in ("sbatch", "scontrol"):
        (tmp_path / name).chmod(0o755)
    batch = Batch("0123456789ab", "g", tmp_path / "batches" / "1.jsonl", 2)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(tmp_path), prepend=":")
        registry.get_scheduler("slurm", profile=str(tmp_path / "site.yaml")).submit(
            batch, Resources()
        )

    script = (tmp_path / "batches" / "1.slurm" / "job.sh").read_text()
    assert f"#SBATCH --signal={signal}\n" in script
    assert f"--continuations {continuations} " in script


@pytest.mark.parametrize(
    ("resources", "queue"),
    [
        (Resources(gpus=1, walltime_min=1441), "gpu_long"),
        (Resources(gpus=2, walltime_min=1440), "gpu"),
        (Resources(gpus=1), "gpu"),
        (Resources(walltime_min=120), "short"),
        (Resources(walltime_min=121), None),
        (Resources(), None),
        (Resources(gpus=1, queue="mine"), "mine"),
    ],
)
def test_the_first_queue_that_fits_is_taken_unless_one_is_named(
    resources: Resources, queue: str | None
) -> None:
    assert apply(Profile("site", queues=RULES), resources).queue == queue


def test_defaults_fill_what_was_not_asked_for_and_rules_see_them() -> None:
    defaults = {"walltime_min": 60.0, "mem_mib": 4096, "account": "physics", "extra": ("-P x",)}
    site = Profile("site", defaults=defaults, queues=RULES)

    found = apply(site, Resources(mem_mib=100, extra=("-p 3",)))

    assert found == Resources(
        mem_mib=100, walltime_min=60.0, account="physics", queue="short", extra=("-P x", "-p 3")
    )


@pytest.mark.slow
def test_an_installed_package_brings_its_profiles(tmp_path: Path) -> None:
    root = Path(profiles.__file__).resolve().parents[2]
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "-q",
    ]
    source = tmp_path / "source"
    subprocess.run(["cp", "-r", "--", *map(str, _sources(root)), str(_made(source))], check=True)
    built = subprocess.run(
        [*build, "-w", str(tmp_path), str(source)], capture_output=True, text=True
    )
    if built.returncode != 0 and (
        "bdist_wheel" in built.stderr or "No module named" in built.stderr
    ):
        pytest.skip("wheels cannot be built here: pip install pip 'setuptools>=70.1'")
    assert built.returncode == 0, built.stderr

    (wheel,) = tmp_path.glob("*.whl")
    place = tmp_path / "place"
    with zipfile.ZipFile(wheel) as archive:
        names = [
            name
            for name in archive.namelist()
            if name.endswith("share/anlp/profiles/metacentrum.yaml")
        ]
    assert len(names) == 1
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--no-deps",
        "--no-index",
        "-q",
        "--target",
        str(place),
    ]
    subprocess.run([*install, str(wheel)], check=True, capture_output=True)
    look = (
        "from jobs.schedulers import profiles; "
        "print(profiles.load_profile('metacentrum').gpu_type, profiles.__file__)"
    )
    shown = subprocess.run(
        [sys.executable, "-c", look],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(place)},
    )
    assert shown.stdout.startswith(f"gpu_cap {place}"), shown.stderr


def _sources(root: Path) -> list[Path]:
    names = (
        "anlp",
        "jobs",
        "analysis",
        "profiles",
        "setup.cfg",
        "pyproject.toml",
        "README.md",
        "LICENSE",
    )
    return [root / name for name in names]


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
