from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from anlp.core.errors import SchedulerError
from jobs.config.resources import Resources
from jobs.containers.apptainer import Container, binds_of
from jobs.schedulers.base import Batch
from jobs.schedulers.batch import Piece
from jobs.schedulers.pbs.profile import PbsProfile
from jobs.schedulers.pbs.script import (
    Start,
    render_clock,
    render_directives,
    render_options,
    render_script,
    warn_after_s,
)
from jobs.schedulers.pbs.validate import Dialect
from jobs.schedulers.profiles import load_profile, profile_names
from jobs.schedulers.site import apply
from tests.support import scripted_elements
from tests.support.schedulers.pbs.sites import RUNNER, TAG, pbs_profile
from tests.support.submits import wait_until

GOLDEN = Path(__file__).with_name("golden")
BATCH = Batch(TAG, "mnist", Path("/home/user/anlp/runs/mnist/batches/3.jsonl"), 2500)
START = Start(Path("/home/user/my project"), ("/home/user/anlp/.venv/bin/python", "-m", "anlp.run"))
GENERIC = pbs_profile("generic-pbs")
WITHOUT_WARNING = replace(GENERIC, warn_s=0.0)
SITE = replace(
    GENERIC,
    name="site",
    modules=("gcc/12.2", "cuda/12.4"),
    env_file=Path("/home/user/.config/anlp/env"),
    select=("scratch_local=10gb",),
    umask="027",
    warn_s=0.0,
)


METACENTRUM = pbs_profile("metacentrum")
IMAGE = Container(
    Path("/home/user/anlp/containers/anlp.sif"),
    binds=binds_of([Path("/home/user/my project"), Path("/home/user/anlp/runs")]),
    cwd=Path("/home/user/my project"),
    has_gpus=True,
)
IN_IMAGE = replace(START, container=IMAGE)
IN_OLD_IMAGE = replace(START, container=replace(IMAGE, program="/opt/bin/singularity"))
WAITING = replace(BATCH, after=("12.pbs-m1.example.org", "13.pbs-m1.example.org"))


def render(
    profile: PbsProfile,
    piece: Piece,
    resources: Resources,
    dialect: Dialect = Dialect.PRO,
    start: Start = START,
    batch: Batch = BATCH,
) -> str:
    return render_script(batch, piece, apply(profile, resources), profile, dialect, start)


SCRIPTS: Mapping[str, str] = {
    "pro-array": render(
        GENERIC, Piece(1000, 1000, 20), Resources(gpus=1, cpus=4, mem_mib=8192, walltime_min=90)
    ),
    "pro-single": render(
        GENERIC, Piece(2499, 1), Resources(queue="gpu", account="physics", walltime_min=5)
    ),
    "pro-site": render(
        SITE, Piece(0, 10), Resources(constraint="cluster=zia", extra=("-P plasma", "-W umask=027"))
    ),
    "torque-array": render(
        GENERIC, Piece(0, 10, 4), Resources(gpus=2, cpus=2, constraint="fast"), Dialect.TORQUE
    ),
    "torque-single": render(SITE, Piece(7, 1), Resources(queue="long"), Dialect.TORQUE),
    "metacentrum": render(METACENTRUM, Piece(0, 2500), Resources(gpus=1, gpu_type="compute_75")),
    "metacentrum-image": render(METACENTRUM, Piece(3, 1), Resources(gpus=1), start=IN_IMAGE),
    "pro-image": render(GENERIC, Piece(0, 10), Resources(), start=IN_OLD_IMAGE),
    "pro-waiting": render(GENERIC, Piece(0, 10), Resources(), batch=WAITING),
    "torque-waiting": render(GENERIC, Piece(0, 10), Resources(), Dialect.TORQUE, batch=WAITING),
    "torque-image": render(SITE, Piece(0, 1), Resources(), Dialect.TORQUE, IN_IMAGE),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_are_as_they_were_reviewed(name: str) -> None:
    """After an intended change `python -m tests.jobs.schedulers.pbs.test_script` writes them anew.

    Read the difference.
    """
    assert SCRIPTS[name] == (GOLDEN / f"{name}.pbs.sh").read_text()


def test_every_shipped_profile_for_pbs_has_a_reviewed_script() -> None:
    shipped = [name for name in profile_names() if load_profile(name).scheduler == "pbs"]

    assert {"generic-pbs", "metacentrum"} <= set(shipped)
    assert all(
        any(script.startswith(name.replace("generic-pbs", "pro")) for script in SCRIPTS)
        for name in shipped
    )


def test_what_a_job_waits_for_is_told_to_qsub_and_not_written_into_its_script() -> None:
    """The script may be submitted again by hand when that is long over: PBS would delete it at
    once.
    """
    piece = Piece(0, 10)

    assert render_options(WAITING, piece, Dialect.PRO) == [
        "-W",
        "depend=afterok:12.pbs-m1.example.org:13.pbs-m1.example.org",
    ]
    assert render_options(BATCH, piece, Dialect.PRO) == []
    assert "depend=" not in SCRIPTS["pro-waiting"] + SCRIPTS["torque-waiting"]


def test_output_has_the_mode_that_the_site_wants_unless_the_user_says_otherwise() -> None:
    def directives(umask: str, *extra: str) -> list[str]:
        site, resources = replace(GENERIC, umask=umask), Resources(walltime_min=5, extra=extra)
        return [
            line
            for line in render_directives(BATCH, Piece(0, 2), resources, site, Dialect.PRO)
            if "umask" in line
        ]

    assert directives("077") == directives("0077") == []
    assert directives("027") == ["-W umask=027"]
    assert directives("027", "-W umask=022") == ["-W umask=022"]


def test_torque_waits_for_arrays_by_another_word_and_pbs_pro_cannot() -> None:
    batch = replace(BATCH, after=("12.head", "13[].head", "14[].head"))

    options = render_options(batch, Piece(0, 1), Dialect.TORQUE)

    output = "/home/user/anlp/runs/mnist/batches/3.out/0.0.log"
    depend = "depend=afterok:12.head,afterokarray:13[].head:14[].head"
    assert options == ["-W", depend, "-j", "oe", "-o", output]
    with pytest.raises(
        SchedulerError, match=r"after: 13\[\]\.head is an array, whose success PBS misreports"
    ):
        render_options(batch, Piece(0, 1), Dialect.PRO)


@pytest.mark.parametrize("name", SCRIPTS)
def test_shellcheck_has_nothing_to_say(name: str) -> None:
    assert shellcheck(SCRIPTS[name]) == ""


@pytest.mark.parametrize(
    "cwd", ["/home/user/project", '/home/user/o\'brien "x"', "/home/übung/a;b&c"]
)
def test_shellcheck_has_nothing_to_say_wherever_submit_was_called(cwd: str) -> None:
    assert (
        shellcheck(render(SITE, Piece(0, 1), Resources(), start=replace(START, cwd=Path(cwd))))
        == ""
    )


def shellcheck(script: str) -> str:
    command = shutil.which("shellcheck")
    if command is None:
        pytest.skip("shellcheck is not installed: apt-get install shellcheck")
    return subprocess.run(
        [command, "-s", "bash", "-"], input=script, capture_output=True, text=True
    ).stdout


@pytest.mark.parametrize("name", SCRIPTS)
def test_directives_stand_before_the_first_command_without_trailing_comments(name: str) -> None:
    lines = SCRIPTS[name].splitlines()
    first = next(number for number, line in enumerate(lines) if line and not line.startswith("#"))

    assert lines[0] == "#!/bin/bash"
    assert not any(line.startswith("#PBS") for line in lines[first:])
    assert not any("#" in line[1:] for line in lines[:first] if line.startswith("#PBS"))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(45, "00:00:45"), (90, "00:01:30"), (3600, "01:00:00"), (1209600, "336:00:00")],
)
def test_times_are_hours_minutes_and_seconds(seconds: int, text: str) -> None:
    assert render_clock(seconds) == text


@pytest.mark.parametrize(
    ("limit_s", "warn_s", "after_s"),
    [(3600, 120, 3480), (300, 120, 240), (5, 120, 4), (1, 120, None), (3600, 0, None)],
)
def test_the_warning_comes_early_enough_and_at_most_a_fifth_early(
    limit_s: int, warn_s: float, after_s: int | None
) -> None:
    assert warn_after_s(limit_s, warn_s) == after_s


@pytest.mark.parametrize(
    ("resources", "said"),
    [
        (
            Resources(qos="high"),
            r"qos: PBS has none; name a queue, or give a priority with extra: \['-p 10'\]",
        ),
        (
            Resources(exclude="n7"),
            "exclude: PBS cannot leave nodes out; ask for others with constraint",
        ),
        (Resources(nodes=2), "nodes: a run uses one node, got 2"),
        (
            Resources(gpu_type="a100"),
            "gpu_type: the profile 'generic-pbs' does not say which resource",
        ),
        (Resources(queue="gpu\n#PBS -W x"), "queue: expected letters, digits and"),
        (Resources(account="$(reboot)"), "account: expected letters, digits and"),
        (
            Resources(constraint="fast"),
            "constraint: expected NAME=VALUE such as cluster=zia, got 'fast'",
        ),
        (Resources(extra=("-v KEY=1",)), "-v is given by this tool; use env_file"),
        (Resources(extra=("-N x",)), "-N is given by this tool; use the grid's name"),
        (
            Resources(extra=("-l place=excl,walltime=1",)),
            "-l walltime is given by this tool; use time",
        ),
        (
            Resources(extra=("-W depend=afterok:1",)),
            "-W depend is given by this tool; use --canary",
        ),
        (Resources(extra=("-W block=true",)), "-W block would make every submit wait"),
        (
            Resources(extra=("-W umask=027,depend=afterok:1",)),
            "-W depend is given by this tool; use --canary",
        ),
        (
            Resources(extra=("-p 10 -v KEY=1",)),
            "expected one option of qsub in each entry, got '-p 10 -v KEY=1'",
        ),
        (
            Resources(extra=("-k oe",)),
            "-k is not for jobs of this tool: output, shell and reruns are its own",
        ),
        (Resources(extra=("-P x\nrm -rf /",)), "extra: expected an option of qsub"),
        (Resources(extra=("--exclusive",)), "extra: expected an option of qsub"),
    ],
)
def test_what_pbs_cannot_be_asked_for_is_refused_in_words(resources: Resources, said: str) -> None:
    with pytest.raises(SchedulerError, match=said):
        render(GENERIC, Piece(0, 2), resources)


def test_a_path_that_pbs_would_misread_is_refused() -> None:
    batch = replace(BATCH, path=Path("/home/user/runs:2/b/1.jsonl"))

    with pytest.raises(
        SchedulerError, match=r"/home/user/runs:2/b/1\.out: PBS cannot write to a path with other"
    ):
        render_directives(batch, Piece(0, 2), apply(GENERIC, Resources()), GENERIC, Dialect.PRO)


def test_without_a_time_limit_nothing_is_submitted() -> None:
    with pytest.raises(SchedulerError, match="walltime_min: a time limit is needed"):
        render_script(BATCH, Piece(0, 1), Resources(), GENERIC, Dialect.PRO, START)


# ---- run by hand


def start_by_hand(
    folder: Path, behaviour: str, profile: PbsProfile = WITHOUT_WARNING, **environment: str
) -> subprocess.Popen[str]:
    path = scripted_elements.write_batch(folder, "exit 5", behaviour)
    batch = Batch(TAG, "grid", path, 2)
    script = folder / "job.sh"
    script.write_text(
        render_script(
            batch,
            Piece(0, 2),
            apply(profile, Resources()),
            profile,
            Dialect.PRO,
            Start(folder, RUNNER),
        )
    )
    return subprocess.Popen(
        ["/bin/bash", str(script)],
        env={"PATH": "/usr/bin:/bin", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=hear_everything,
    )


def hear_everything() -> None:
    """What is started in the background or below nohup is born deaf to these, and bash cannot trap
    them then.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def write_env_file(folder: Path, text: str) -> PbsProfile:
    """A profile whose jobs run `text` before they begin."""
    file = folder / "env"
    file.write_text(text)
    return replace(GENERIC, env_file=file)


@pytest.mark.parametrize(
    ("behaviour", "code"), [("ok", 0), ("exit 4", 4), ("signal 9", 137), ("raise", 70)]
)
def test_the_scripts_code_is_the_programs(tmp_path: Path, behaviour: str, code: int) -> None:
    script = start_by_hand(tmp_path, behaviour, PBS_ARRAY_INDEX="1")

    script.communicate(timeout=120)

    assert script.returncode == code


def test_outside_an_array_the_script_says_what_is_missing(tmp_path: Path) -> None:
    script = start_by_hand(tmp_path, "ok")

    _, said = script.communicate(timeout=120)

    assert script.returncode == 72
    assert said.endswith(": not a sub-job of an array: PBS_ARRAY_INDEX is not set\n")


@pytest.mark.parametrize(
    ("dialect", "environment", "seen"),
    [
        (Dialect.TORQUE, {"PBS_GPUFILE": "gpus"}, "1,3"),
        (Dialect.TORQUE, {"PBS_GPUFILE": "gpus", "CUDA_VISIBLE_DEVICES": "0"}, "0"),
        (Dialect.TORQUE, {}, "unset"),
        (Dialect.PRO, {"CUDA_VISIBLE_DEVICES": "GPU-7f3a"}, "GPU-7f3a"),
    ],
)
def test_a_run_sees_the_gpus_that_its_job_was_given(
    tmp_path: Path, dialect: Dialect, environment: Mapping[str, str], seen: str
) -> None:
    (tmp_path / "gpus").write_text("n1-gpu1\nn1-gpu3\n")
    batch = Batch(
        TAG,
        "grid",
        scripted_elements.write_batch(
            tmp_path, f"environment CUDA_VISIBLE_DEVICES {tmp_path / 'seen'}"
        ),
        1,
    )
    script = tmp_path / "job.sh"
    resources = apply(GENERIC, Resources(gpus=2))
    script.write_text(
        render_script(batch, Piece(0, 1), resources, GENERIC, dialect, Start(tmp_path, RUNNER))
    )

    done = subprocess.run(
        ["bash", script], env={"PATH": "/usr/bin:/bin", **environment}, cwd=tmp_path, timeout=120
    )

    assert (done.returncode, (tmp_path / "seen").read_text()) == (0, seen)


@pytest.mark.parametrize("times", [1, 3])
def test_signals_reach_the_program_and_its_code_is_kept_however_often_they_come(
    tmp_path: Path, times: int
) -> None:
    script = start_by_hand(tmp_path, "sleep 200", PBS_ARRAY_INDEX="1")
    wait_until(
        scripted_elements.ready_of(tmp_path / "batch.jsonl", 1).exists, lambda: "it does not start"
    )

    for _ in range(times):
        script.send_signal(signal.SIGTERM)
        time.sleep(0.005)
    script.communicate(timeout=120)

    assert script.returncode == 3


def test_a_signal_before_the_program_began_ends_the_script_without_a_trace(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    profile = write_env_file(tmp_path, "kill -s TERM $$\n")

    script = start_by_hand(
        tmp_path, "sleep 200", profile, PBS_ARRAY_INDEX="1", SCRATCHDIR=str(scratch)
    )
    script.communicate(timeout=120)

    assert script.returncode == 3
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_ctrl_c_by_hand_lets_the_program_save_and_leaves_nothing_running(
    tmp_path: Path, number: int
) -> None:
    """What bash runs in the background ignores SIGINT, and a timer that is left would signal
    the next process with that pid.
    """
    script = start_by_hand(tmp_path, "sleep 200", GENERIC, PBS_ARRAY_INDEX="1")
    wait_until(
        scripted_elements.ready_of(tmp_path / "batch.jsonl", 1).exists, lambda: "it does not start"
    )

    script.send_signal(number)
    script.communicate(timeout=120)

    assert script.returncode == 3
    assert session_of(script.pid) == []


def test_a_warning_whose_time_has_passed_comes_at_once(tmp_path: Path) -> None:
    """Modules, or a slow file system, took longer than there is until the warning."""
    profile = replace(write_env_file(tmp_path, "SECONDS=99999\n"), warn_s=120.0)

    script = start_by_hand(tmp_path, "warned 200", profile, PBS_ARRAY_INDEX="1")
    script.communicate(timeout=120)

    assert script.returncode in (3, 140)  # the program may not have got as far as to listen


@pytest.mark.parametrize(
    ("environment", "is_cleaned"),
    [
        ({"SCRATCHDIR": "scratch", "PBS_ENVIRONMENT": "PBS_BATCH"}, True),
        ({"SCRATCHDIR": "scratch", "PBS_ENVIRONMENT": "PBS_INTERACTIVE"}, False),
        ({"SCRATCHDIR": "scratch"}, False),
        ({"SCRATCHDIR": "", "PBS_ENVIRONMENT": "PBS_BATCH"}, False),
        ({"PBS_ENVIRONMENT": "PBS_BATCH"}, False),
    ],
)
def test_the_sites_clean_up_is_called_in_batch_jobs_with_scratch_alone(
    tmp_path: Path, environment: Mapping[str, str], is_cleaned: bool
) -> None:
    """By hand, in an interactive job perhaps, scratch holds files of the user."""
    (tmp_path / "scratch").mkdir()
    (tmp_path / "scratch" / "precious").touch()
    command = tmp_path / "bin" / "clean_scratch"
    command.parent.mkdir()
    command.write_text(f"#!/bin/sh\ntouch {tmp_path}/cleaned\n")
    command.chmod(0o755)
    profile = replace(GENERIC, clean_scratch="clean_scratch")
    places = {
        name: str(tmp_path / value) if value == "scratch" else value
        for name, value in environment.items()
    }

    path = {"PATH": f"{command.parent}:/usr/bin:/bin"}
    script = start_by_hand(tmp_path, "ok", profile, PBS_ARRAY_INDEX="1", **{**path, **places})
    script.communicate(timeout=120)

    assert script.returncode == 0
    assert (tmp_path / "cleaned").exists() is is_cleaned
    assert [file.name for file in (tmp_path / "scratch").iterdir()] == ["precious"]


@pytest.mark.slow
def test_a_file_of_secrets_that_the_node_does_not_see_is_missed_aloud(tmp_path: Path) -> None:
    profile = replace(GENERIC, env_file=tmp_path / "gone")

    script = start_by_hand(tmp_path, "ok", profile, PBS_ARRAY_INDEX="1")

    assert (
        f"env_file {tmp_path}/gone: cannot be read on this node\n"
        in script.communicate(timeout=120)[1]
    )


def session_of(pid: int) -> list[str]:
    listed = subprocess.run(
        ["ps", "-s", str(pid), "-o", "stat=,args="], capture_output=True, text=True
    ).stdout
    return [line for line in listed.splitlines() if not line.startswith("Z")]


def test_nothing_is_left_of_the_timer_when_the_program_ends(tmp_path: Path) -> None:
    """A sleeping child would keep the job, and its output, open until the limit."""
    path = scripted_elements.write_batch(tmp_path, "ok")
    script = tmp_path / "job.sh"
    script.write_text(
        render_script(
            Batch(TAG, "grid", path, 1),
            Piece(0, 1),
            apply(GENERIC, Resources(walltime_min=123)),
            GENERIC,
            Dialect.PRO,
            Start(tmp_path, RUNNER),
        )
    )
    done = subprocess.Popen(
        ["/bin/bash", str(script)], env={"PATH": "/usr/bin:/bin"}, start_new_session=True
    )

    assert done.wait(timeout=120) == 0
    wait_until(lambda: session_of(done.pid) == [], lambda: f"left: {session_of(done.pid)}")


if __name__ == "__main__":
    for name, script in SCRIPTS.items():
        (GOLDEN / f"{name}.pbs.sh").write_text(script)
    sys.exit(0)
