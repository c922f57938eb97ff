"""Programs in an image of the user's own: the program is inside, and all else stays outside."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from anlp.core.errors import EXIT_INTERRUPTED, EXIT_USAGE
from anlp.records.files import read_json, read_metrics
from anlp.records.program import Program, read_programs
from anlp.records.results import RunState
from tests.support.schedulers.slurm import fake_slurm
from tests.support.submits import Place, attempts_of, make_place, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("as_this_user")]
HERE = ("--on", "local", "-q", "--slots", "2")
TRAIN = """
import argparse, json, os, sys

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.1)
parser.add_argument("--name", default="")
parser.add_argument("--how", default="")
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()
told = {"argv": sys.argv, "python": sys.executable, "cwd": os.getcwd(), "env": dict(os.environ)}
told["marker"] = open("/opt/own/marker").read().strip()
told["beside"] = os.path.exists("beside.txt")
with open(os.path.join(os.environ["ANLP_RUN_DIR"], "told.json"), "w") as file:
    json.dump(told, file)
for epoch in range(3):
    with open(os.environ["ANLP_METRICS"], "a") as file:
        file.write(json.dumps({"epoch": epoch, "val_acc": epoch * args.lr}) + "\\n")
if args.how == "raise":
    raise ValueError("shapes 3 and 4")
if args.how == "kill":
    os.kill(os.getpid(), 9)
if args.how.isdigit():
    sys.exit(int(args.how))
"""
STOPPABLE = """
import os, signal, sys, time

folder = os.environ["ANLP_RUN_DIR"] + "/checkpoints"
os.makedirs(folder, exist_ok=True)
first = not os.listdir(folder)

def save(number, frame):
    import decimal, statistics, xml.dom.minidom  # read from the image only now
    with open(os.environ["ANLP_RUN_DIR"] + "/signals", "a") as file:
        print(number, file=file)
    time.sleep(0.3)
    open(folder + "/last", "w").close()
    sys.exit(3)

signal.signal(signal.SIGTERM, save)
signal.signal(signal.SIGUSR2, save)
with open(os.environ["ANLP_METRICS"], "a") as file:
    print('{"epoch": %d, "val_acc": 0.5}' % (0 if first else 1), file=file)
while first:
    time.sleep(0.1)
"""


@pytest.fixture
def grid(tmp_path: Path, own_image: Path) -> str:
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "beside.txt").touch()
    return f"program: train.py\ncontainer: {own_image}\nwandb: {{mode: disabled}}\n"


def told(place: Place) -> list[Mapping[str, Any]]:
    return [json.loads((run.files / "told.json").read_text()) for run in place.runs()]


def record(place: Place) -> Program:
    return read_programs(place.folder)[-1]


def test_a_program_is_trained_with_the_python_of_its_image(
    tmp_path: Path, grid: str, own_image: Path
) -> None:
    place = make_place(tmp_path, f"{grid}grid: {{lr: [0.1, 0.2]}}\n")

    ended = place.submit(*HERE)

    assert (ended.code, place.counts()) == (0, {RunState.DONE: 2}), ended
    for found in told(place):
        assert found["python"] in ("/usr/bin/python", "/usr/bin/python3.11")
        assert found["marker"] == "of the image"
        assert (found["cwd"], found["beside"]) == (str(tmp_path), True)
        assert found["argv"][0].startswith(str(place.folder.path))  # the copy of the code
    results = [read_json(run.result) or {} for run in place.runs()]
    assert sorted(result["metrics"]["val/acc"] for result in results) == [0.2, 0.4]
    assert {result["provenance"]["container"]["image"] for result in results} == {str(own_image)}
    place.wait_until_alone()


def test_values_reach_the_inside_as_they_are_and_nothing_else_does(
    tmp_path: Path, grid: str
) -> None:
    trap = tmp_path / "executed"
    hostile = f"a,b \"q\" 'q' $(touch {trap}) `touch {trap}` ${{HOME}} \\ ü"
    place = make_place(
        tmp_path,
        f"{grid}fixed: {{name: {json.dumps(hostile)}}}\n",
        SLURM_JOB_ID="3",
        PBS_JOBID="4[1].head",
        WANDB_API_KEY=hostile,
        OTHER="x",
        PYTHONPATH=os.environ.get("PYTHONPATH", str(tmp_path)),
    )

    ended = place.submit(*HERE)

    assert ended.code == 0, ended
    (found,) = told(place)
    inside = found["env"]
    assert hostile in found["argv"]
    assert [inside.get(name) for name in ("SLURM_JOB_ID", "PBS_JOBID", "WANDB_API_KEY")] == [
        *("3", "4[1].head", hostile),
    ]
    assert (inside.get("OTHER"), inside.get("PYTHONPATH")) == (None, None)
    assert (inside["OWN_IMAGE"], inside["PYTHONUNBUFFERED"]) == ("yes", "1")
    assert inside["ANLP_RUN_ID"] == place.runs()[0].run_id
    assert str(tmp_path) not in inside["PATH"]
    assert ".venv" not in inside["PATH"]
    assert not trap.exists()
    assert hostile not in json.dumps(record(place).to_json())


@pytest.mark.parametrize(
    ("how", "state", "said"),
    [
        ("raise", RunState.FAILED, "ValueError: shapes 3 and 4"),
        ("7", RunState.FAILED, "exit code 7"),
        ("255", RunState.FAILED, "exit code 255"),
        ("kill", RunState.LOST, "killed by a signal"),
    ],
)
def test_exit_codes_keep_their_meaning(
    tmp_path: Path, grid: str, how: str, state: RunState, said: str
) -> None:
    place = make_place(tmp_path, f"{grid}fixed: {{how: '{how}'}}\n")

    assert place.submit(*HERE).code == 1

    (status,) = place.states().values()
    assert status.state is state
    (run,) = place.runs()
    error = (read_json(run.result) or {}).get("error") or {}
    cause = attempts_of(run)[-1].get("cause")
    assert said in f"{error.get('type')}: {error.get('message')} {cause}"


def test_a_command_that_is_not_in_the_image_is_refused_at_submit(tmp_path: Path, grid: str) -> None:
    place = make_place(
        tmp_path, f'{grid}command: [torchrun, "${{program}}", "${{args}}"]\nfixed: {{lr: 0.1}}\n'
    )

    ended = place.submit(*HERE)

    assert (ended.code, ended.is_plain) == (EXIT_USAGE, True)
    assert "there is no torchrun in it that can be executed" in ended.err
    assert not place.runs()


def test_a_command_that_the_image_on_the_node_lacks_is_told_with_apptainers_sentence(
    tmp_path: Path, grid: str
) -> None:
    text = f"{grid}command: [nosuch, '${{program}}', '${{args}}']\nfixed: {{lr: 0.1}}\n"
    place = make_place(tmp_path, text, ANLP_IMAGE_CHECK="off")

    assert place.submit(*HERE).code == 1

    (run,) = place.runs()
    error = (read_json(run.result) or {})["error"]
    assert error["type"] == "NotStarted"
    assert error["message"].startswith('in its image: "nosuch": executable file not found')


def test_an_image_that_is_gone_on_the_node_is_a_run_that_never_started(
    tmp_path: Path, grid: str, own_image: Path
) -> None:
    image = tmp_path / "gone.sif"
    image.write_bytes(own_image.read_bytes())
    command = tmp_path / "bin" / "apptainer"
    command.parent.mkdir()
    command.write_text(
        f'#!/bin/sh\n[ "$2" = exec ] && rm -f {image}\nexec {shutil.which("apptainer")} "$@"\n'
    )
    command.chmod(0o755)
    path = f"{command.parent}:{os.environ['PATH']}"
    text = f"{grid.replace(str(own_image), str(image))}fixed: {{lr: 0.1}}\n"
    place = make_place(tmp_path, text, ANLP_IMAGE_CHECK="off", PATH=path)

    assert place.submit(*HERE).code == 1

    (run,) = place.runs()
    last = attempts_of(run)[-1]
    assert last["cause"] == "never started"
    assert last["detail"].startswith("its image did not start: ")
    assert place.counts() == {RunState.LOST: 1}


def test_ctrl_c_reaches_the_program_once_and_the_next_submit_continues_it(
    tmp_path: Path, grid: str
) -> None:
    place = make_place(tmp_path, f"{grid}resume: {{exit_code: 3}}\nfixed: {{}}\n")
    (tmp_path / "train.py").write_text(STOPPABLE)
    submit = place.start(*HERE)
    wait_until(
        lambda: any(read_metrics(run.metrics) for run in place.runs()), lambda: "it does not train"
    )

    submit.send_signal(signal.SIGINT)
    submit.communicate(timeout=60)
    place.wait_until_alone()

    assert submit.returncode == EXIT_INTERRUPTED
    (run,) = place.runs()
    assert (run.files / "signals").read_text() == "15\n"
    assert (run.files / "checkpoints" / "last").exists()
    assert place.submit(*HERE).code == 0
    assert place.counts() == {RunState.DONE: 1}
    assert [row["epoch"] for row in read_metrics(run.metrics)] == [0, 1]


def test_nothing_outlives_a_runner_that_is_killed(tmp_path: Path, grid: str) -> None:
    place = make_place(tmp_path, f"{grid}fixed: {{}}\n")
    (tmp_path / "train.py").write_text(STOPPABLE)
    submit = place.start(*HERE)
    wait_until(
        lambda: any(read_metrics(run.metrics) for run in place.runs()), lambda: "it does not train"
    )
    (run,) = place.runs()

    for pid in place.processes():
        if str(attempts_of(run)[-1]["pid"]) == str(pid):
            os.kill(pid, signal.SIGKILL)
    submit.communicate(timeout=120)

    place.wait_until_alone()
    assert place.counts() == {RunState.LOST: 1}


def test_the_same_grid_without_the_container_runs_on_the_machine_itself(
    tmp_path: Path, grid: str
) -> None:
    (tmp_path / "train.py").write_text(TRAIN.replace("/opt/own/marker", "beside.txt"))
    place = make_place(tmp_path, f"{grid}fixed: {{lr: 0.1}}\n")

    ended = place.submit(*HERE, "--no-container")

    assert ended.code == 0, ended
    assert record(place).container == ()
    assert told(place)[0]["python"] != "/usr/bin/python"
    assert "container" not in (read_json(place.runs()[0].result) or {})["provenance"]


def test_a_retry_takes_the_image_again(tmp_path: Path, grid: str, own_image: Path) -> None:
    place = make_place(tmp_path, f"{grid}fixed: {{how: raise}}\n")
    assert place.submit(*HERE).code == 1
    (tmp_path / "train.py").write_text(TRAIN.replace('"raise"', '"never"'))

    ended = place.submit("-q", "--on", "local", "-y", module="jobs.retry")

    assert ended.code == 0, ended
    assert record(place).container[-1] == str(own_image)
    assert told(place)[0]["marker"] == "of the image"


def test_live_is_refused(tmp_path: Path, grid: str) -> None:
    place = make_place(tmp_path, f"{grid}fixed: {{lr: 0.1}}\n")

    ended = place.submit(*HERE, "--live")

    assert (ended.code, ended.is_plain) == (EXIT_USAGE, True)
    assert "--live: a program of your own executes its own code" in ended.err


def test_a_command_of_the_image_alone_is_a_program(tmp_path: Path, own_image: Path) -> None:
    text = (
        f"program: python3.11\ncontainer: {own_image}\nwandb: {{mode: disabled}}\n"
        "command: ['${program}', -c, 'print(\"val_acc: 0.5\")']\nfixed: {x: 1}\n"
    )
    place = make_place(tmp_path, text, PATH=f"{Path(subprocess.__file__).parent}:/usr/bin:/bin")

    ended = place.submit(*HERE)

    assert ended.code == 0, ended
    assert (read_json(place.runs()[0].result) or {})["metrics"] == {"val/acc": 0.5}


def test_a_job_of_slurm_is_not_in_the_image_and_its_runner_starts_the_program_there(
    tmp_path: Path, grid: str
) -> None:
    path = f"{fake_slurm.install(tmp_path / 'slurm')}:{os.environ['PATH']}"
    place = make_place(tmp_path, f"{grid}fixed: {{lr: 0.5}}\n", PATH=path)

    ended = place.submit("--on", "slurm")

    assert ended.code == 0, ended
    scripts = [file for file in place.folder.path.rglob("*.sh") if "code" not in file.parts]
    assert scripts
    assert not any("apptainer" in file.read_text().lower() for file in scripts)
    batch = place.folder.batches / "1.jsonl"
    words = ("-m", "anlp.run", "--batch", str(batch), "--index", "0")
    environment = {**place.environment, "SLURM_JOB_ID": "4711"}
    assert subprocess.run([sys.executable, *words], env=environment).returncode == 0
    assert told(place)[0]["env"]["SLURM_JOB_ID"] == "4711"
    assert (read_json(place.runs()[0].result) or {})["metrics"] == {"val/acc": 1.0}
