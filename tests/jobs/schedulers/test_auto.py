"""Where `auto` lets runs train: on a cluster that answers, never silently on its login node."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from anlp.core.errors import SchedulerError, UserError
from jobs.config.resources import Resources
from jobs.schedulers import registry
from jobs.schedulers.slurm.scheduler import SlurmScheduler
from tests.support.schedulers.slurm.cluster import make_batch
from tests.support.submits import make_place

FATAL = """\
scontrol: error: resolve_ctls_from_dns_srv: res_nsearch error: Unknown host
scontrol: fatal: Could not establish a configuration source"""
GRID = """\
task: mnist
fixed: {data: digits, epochs: 1, hidden: 8, train_samples: 128}
grid: {lr: [0.1, 0.01]}
wandb: {mode: disabled}
"""


@pytest.fixture
def bin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with sbatch whose scontrol finds no configuration, as a fresh package has none."""
    folder = tmp_path / "bin"
    folder.mkdir()
    write(folder / "sbatch", "exit 1")
    write(folder / "scontrol", f"cat >&2 <<'END'\n{FATAL}\nEND\nexit 1")
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    for name in (*registry.job_variables(), registry.PRESET, "SLURM_CONF"):
        monkeypatch.delenv(name, raising=False)
    return folder


def write(path: Path, lines: str) -> None:
    path.write_text(f"#!/bin/sh\n{lines}\n")
    path.chmod(0o755)


def test_slurms_commands_without_a_configuration_stop_a_submit(bin_folder: Path) -> None:
    with pytest.raises(UserError) as raised:
        registry.resolve_name("auto", None)

    assert str(raised.value) == (
        "sbatch is here, but it finds no Slurm (Could not establish a configuration source): load "
        "the site's module of Slurm, or set SLURM_CONF to its slurm.conf, or train on this "
        "machine: --on local"
    )


def test_a_configuration_that_is_not_there_is_not_waited_for(
    bin_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "slurm.conf"))
    write(bin_folder / "scontrol", "sleep 60")

    with pytest.raises(UserError, match=rf"SLURM_CONF names {tmp_path}/slurm.conf, which cannot"):
        registry.resolve_name("auto", None)
    with pytest.raises(SchedulerError, match="which cannot be read; load the site's module"):
        SlurmScheduler().submit(make_batch(tmp_path, "ok"), Resources())
    with pytest.raises(SchedulerError, match="which cannot be read; load the site's module"):
        SlurmScheduler().find("0" * 12)


def test_without_a_configuration_nobody_is_told_to_try_again_later(
    bin_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(SchedulerError) as raised:
        SlurmScheduler().submit(make_batch(tmp_path, "ok"), Resources())

    assert "load the site's module of Slurm" in str(raised.value)
    assert "later" not in str(raised.value)
    assert not raised.value.transient


def test_a_dry_run_and_a_submit_say_it_and_train_nothing(bin_folder: Path, tmp_path: Path) -> None:
    place = make_place(tmp_path, GRID, PATH=os.environ["PATH"])

    for words in (["-n"], []):
        ended = place.submit(*words)
        assert (ended.code, ended.out.count("on this machine")) == (2, 0)
        assert "sbatch is here, but it finds no Slurm" in ended.err

    planned = place.submit("-n", "--on", "local")
    assert planned.code == 0
    assert "on this machine" in planned.out


def test_within_a_job_the_plan_says_whose_machine_it_is(
    bin_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    place = make_place(tmp_path, GRID, PATH=os.environ["PATH"])

    planned = place.submit("-n")

    assert "note: this is job 4711 of Slurm: the runs train here" in planned.out


def test_a_user_can_say_once_what_auto_is(
    bin_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANLP_ON", "local")
    assert registry.resolve_name("auto", None) == "local"
    assert registry.note_of_machine("auto", "local") == ""
    assert registry.resolve_name("pbs", None) == "pbs"

    monkeypatch.setenv("ANLP_ON", "slurn")
    with pytest.raises(UserError, match="ANLP_ON: no scheduler 'slurn'"):
        registry.resolve_name("auto", None)
