"""Which variables of the user's shell reach Slurm's commands, and what is said of the others."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from anlp.core.errors import SchedulerError, SpecError
from jobs.config.resources import Resources
from jobs.schedulers.profiles import load_profile
from jobs.schedulers.slurm.environment import ALLOWED, PREFIXES, environment
from jobs.schedulers.slurm.scheduler import SlurmProfile, SlurmScheduler
from tests.support.schedulers.slurm.cluster import make_batch
from tests.support.schedulers.slurm.command_log import note_calls, put_first

NO_GRES = "sbatch: error: Invalid generic resource (gres) specification"
# what modules and shells of sites have been seen to set
SHELL = {
    "SBATCH_NO_REQUEUE": "1",
    "SBATCH_GPUS": "2",
    "SBATCH_GRES": "gpu:1",
    "SBATCH_CPUS_PER_GPU": "1",
    "SBATCH_EXCLUSIVE": "",
    "SBATCH_ERROR": "err.txt",
    "SBATCH_ACCOUNT": "lab",
    "SBATCH_RESERVATION": "course",
    "SLURM_JOB_ID": "7",
    "SLURM_CLUSTERS": "other",
    "PBS_JOBID": "7",
    "SQUEUE_STATES": "RUNNING",
    "SACCT_FEDERATION": "1",
    "SCANCEL_USER": "ada",
}


@pytest.fixture
def bin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Commands of Slurm that write down what they were given of the environment."""
    calls = note_calls(tmp_path / "bin", {"sacct": "/bin/true", "squeue": "/bin/true"})
    put_first(calls.folder, "scontrol", "echo MaxArraySize = 1001")
    put_first(calls.folder, "sbatch", f"env >{tmp_path}/env; echo 77")
    monkeypatch.setenv("PATH", f"{calls.folder}:{os.environ['PATH']}")
    for name in [name for name in os.environ if name.startswith(PREFIXES)]:
        monkeypatch.delenv(name)
    for name, value in SHELL.items():
        monkeypatch.setenv(name, value)
    return calls.folder


def given(tmp_path: Path) -> dict[str, str]:
    """Return the variables of Slurm's that sbatch was given."""
    pairs = (line.partition("=") for line in (tmp_path / "env").read_text().splitlines())
    return {name: value for name, _, value in pairs if name.startswith(PREFIXES)}


def test_sbatch_gets_no_variable_but_those_on_the_list(bin_folder: Path, tmp_path: Path) -> None:
    SlurmScheduler().submit(make_batch(tmp_path, "ok"), Resources())

    assert given(tmp_path) == {
        "SBATCH_ACCOUNT": "lab",
        "SLURM_BITSTR_LEN": "0",
        "SLURM_TIME_FORMAT": "standard",
    }


def test_the_grids_own_account_wins_over_the_shells(bin_folder: Path, tmp_path: Path) -> None:
    SlurmScheduler().submit(make_batch(tmp_path, "ok"), Resources(account="thesis"))

    assert "SBATCH_ACCOUNT" not in given(tmp_path)


def test_what_did_not_count_is_said(bin_folder: Path, tmp_path: Path) -> None:
    scheduler = SlurmScheduler()

    scheduler.submit(make_batch(tmp_path, "ok"), Resources())

    assert scheduler.notes == (
        "SBATCH_CPUS_PER_GPU, SBATCH_ERROR, SBATCH_EXCLUSIVE, SBATCH_GPUS, SBATCH_GRES, "
        "SBATCH_NO_REQUEUE, SBATCH_RESERVATION of the environment did not count: the grid and the "
        "profile say what is asked for",
    )


def test_a_profile_lets_a_variable_through(bin_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text("scheduler: slurm\nenvironment: [SBATCH_RESERVATION]\n")
    site = load_profile(str(tmp_path / "site.yaml"))
    assert isinstance(site, SlurmProfile)

    SlurmScheduler(profile=site).submit(make_batch(tmp_path, "ok"), Resources())

    assert given(tmp_path)["SBATCH_RESERVATION"] == "course"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("SBATCH_ERROR", "SBATCH_ERROR would change what this tool gives"),
        ("SBATCH_TIMELIMIT", "use `time` of the grid"),
        ("SBATCH_GPUS", "use `gpus` of the grid"),
        ("SBATCH_NO_REQUEUE", "would change what this tool gives"),
        ("SLURM_CLUSTERS", "would change what this tool gives"),
        ("HOME", "expected names such as SBATCH_RESERVATION, got 'HOME'"),
    ],
)
def test_a_profile_cannot_let_through_what_the_tool_gives_itself(
    tmp_path: Path, name: str, words: str
) -> None:
    (tmp_path / "site.yaml").write_text(f"scheduler: slurm\nenvironment: [{name}]\n")

    with pytest.raises(SpecError, match=words):
        load_profile(str(tmp_path / "site.yaml"))


def test_a_refusal_names_the_variable_that_was_at_work_and_no_cause_that_does_not_hold(
    bin_folder: Path, tmp_path: Path
) -> None:
    put_first(bin_folder, "sbatch", f"echo '{NO_GRES}' >&2; exit 1")

    with pytest.raises(SchedulerError) as raised:
        SlurmScheduler().submit(make_batch(tmp_path, "ok"), Resources())

    assert str(raised.value) == (
        "slurm: sbatch refused: Invalid generic resource (gres) specification "
        "(sbatch got SBATCH_ACCOUNT from the environment)"
    )


def test_a_refusal_of_gpus_that_were_asked_for_says_where_to_look(
    bin_folder: Path, tmp_path: Path
) -> None:
    put_first(bin_folder, "sbatch", f"echo '{NO_GRES}' >&2; exit 1")

    with pytest.raises(SchedulerError, match="this cluster knows no such kind of GPU"):
        SlurmScheduler().submit(make_batch(tmp_path, "ok"), Resources(gpus=1, account="lab"))


def test_every_variable_of_the_list_is_one_that_would_be_left_out_otherwise() -> None:
    assert all(name.startswith(PREFIXES) for name in ALLOWED)
    assert set(environment()) <= {*os.environ, "LC_ALL", "SLURM_BITSTR_LEN", "SLURM_TIME_FORMAT"}
