"""How Apptainer is started for a program, what it gets, and what its end says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from anlp.programs.image import image_environment, in_image, why_not_started
from anlp.programs.process import Ended
from anlp.records.crash import CrashRecord
from anlp.records.program import Program
from anlp.records.results import RunError

BARE = Program(name="train.py", project="/p")
INSIDE = replace(
    BARE,
    container=("apptainer", "-q", "exec", "--bind", "/runs/g:/runs/g", "/images/my.sif"),
    container_prefixes=("ANLP_", "SLURM_"),
)


def test_the_image_goes_before_the_command_and_the_folder_before_the_image() -> None:
    command = ["python", "train.py", "--lr", "0.1"]

    assert in_image(INSIDE, Path("/p"), command) == [
        *("apptainer", "-q", "exec", "--bind", "/runs/g:/runs/g", "--pwd", "/p", "/images/my.sif"),
        *command,
    ]
    assert in_image(BARE, Path("/p"), command) == command


def test_what_passes_inside_is_marked_and_the_rest_stays_outside() -> None:
    given = {"ANLP_SEED": "3", "SLURM_JOB_ID": "7", "OTHER": "x", "PATH": "/bin", "TZ": "UTC"}

    found = image_environment(INSIDE, given)

    assert {name: text for name, text in found.items() if name not in given} == {
        "APPTAINERENV_ANLP_SEED": "3",
        "APPTAINERENV_SLURM_JOB_ID": "7",
        "APPTAINERENV_TZ": "UTC",
        "APPTAINERENV_PYTHONNOUSERSITE": "1",
    }
    assert image_environment(BARE, given) == given


def test_what_a_user_sets_for_the_inside_stays() -> None:
    given = {"APPTAINERENV_PYTHONNOUSERSITE": "", "APPTAINERENV_HF_HOME": "/hf"}

    assert image_environment(INSIDE, given) == given


def test_the_jobs_own_temporary_folder_is_bound(tmp_path: Path) -> None:
    bound = image_environment(INSIDE, {"TMPDIR": "/var", "APPTAINER_BIND": "/scratch"})
    shared = image_environment(INSIDE, {"TMPDIR": "/tmp"})
    odd = image_environment(INSIDE, {"TMPDIR": str(tmp_path / "gone")})

    assert bound["APPTAINER_BIND"] == "/scratch,/var"
    assert "APPTAINER_BIND" not in shared
    assert "APPTAINER_BIND" not in odd


def ended(code: int | None, stderr: str) -> Ended:
    return Ended(
        code=code,
        signal=None if code is not None else 9,
        was_stopped=False,
        was_killed=False,
        printed_bytes=0,
        dropped_bytes=0,
        last_stdout="",
        last_stderr=stderr,
        peak_rss_mib=1.0,
        cpu_s=0.1,
    )


@pytest.mark.parametrize(
    "said",
    [
        '"nosuch": executable file not found in $PATH',
        "permission denied",
        "exec format error",
    ],
)
def test_a_wrong_command_is_the_grids_fault(said: str) -> None:
    found = why_not_started(ended(255, f"WARNING: x\nFATAL:   {said}\n"))

    assert isinstance(found, RunError)
    assert (found.type, found.message) == ("NotStarted", f"in its image: {said}")


def test_an_image_that_does_not_start_loses_the_run() -> None:
    found = why_not_started(ended(255, "FATAL:   container creation failed: no space left\n"))

    assert found == CrashRecord(
        "never started", "its image did not start: container creation failed: no space left"
    )


@pytest.mark.parametrize(
    ("code", "stderr"), [(255, "it broke\n"), (1, "FATAL: of the program\n"), (None, "FATAL: x\n")]
)
def test_other_ends_are_the_programs_own(code: int | None, stderr: str) -> None:
    assert why_not_started(ended(code, stderr)) is None


def test_a_record_without_an_image_reads_as_before() -> None:
    from anlp.records.program import program_from_json

    form = {"name": "train.py", "project": "/p", "command": ["x"]}

    assert program_from_json(form) == replace(BARE, command=("x",))
