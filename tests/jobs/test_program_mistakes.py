"""Programs that do what they should not: one sentence each, and nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from anlp.records.folders import RunFolder
from anlp.records.results import RunResult, read_result
from tests.support.once import build_once
from tests.support.submits import Ended, Place, wait_until

pytestmark = pytest.mark.slow

LOCAL = ("--on", "local", "--device", "cpu", "-y", "--stop-after", "0")
PROGRAM = """
import argparse, json, os, signal, subprocess, sys, time

parser = argparse.ArgumentParser()
parser.add_argument("--do", default="")
args = parser.parse_args()


def log(**row):
    with open(os.environ["ANLP_METRICS"], "a") as file:
        file.write(json.dumps(row) + "\\n")


def with_wandb(**words):
    import wandb

    run = wandb.init(project="mine", **words)
    run.log({"epoch": 1, "val_acc": 0.5})
    run.finish()


if args.do == "other_metric":
    log(epoch=1, accuracy=0.9)
elif args.do == "own_id":
    with_wandb(id="mine-1")
elif args.do == "must_resume":
    with_wandb(resume="must")
elif args.do == "two_runs":
    with_wandb()
    with_wandb(id="second", reinit=True)
elif args.do == "flood":
    log(epoch=1, val_acc=0.5)
    for _ in range(600):
        print("x" * 99_999)
elif args.do == "daemon":
    log(epoch=1, val_acc=0.5)
    subprocess.Popen(["sleep", "600"], start_new_session=True)
elif args.do == "binary":
    log(epoch=1, val_acc=0.5)
    sys.stdout.buffer.write(bytes(range(256)) * 100 + b"\\nend\\n")
elif args.do == "broken_lines":
    log(epoch=1, val_acc=0.5)
    with open(os.environ["ANLP_METRICS"], "a") as file:
        file.write("val_acc 0.5\\n")
elif args.do == "deaf":
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    log(epoch=1, val_acc=0.5)
    while True:
        time.sleep(1)
"""
GRID = """\
program: train.py
grid: {do: [other_metric, own_id, must_resume, two_runs, nothing, flood, daemon, binary, \
broken_lines]}
metrics: {select: val_acc}
wandb: {mode: offline}
"""


@dataclass(frozen=True, slots=True)
class Done:
    """What was left of the run of one mistake."""

    result: RunResult
    log: str


def make_place(folder: Path, grid: str) -> Place:
    project = folder / "project"
    project.mkdir(parents=True)
    (project / "train.py").write_text(PROGRAM)
    (project / "mine.yaml").write_text(grid)
    return Place(project / "mine.yaml", folder / "runs")


def read_done(place: Place) -> dict[str, Done]:
    found = {}
    for path in place.folder.path.glob("*/result.json"):
        run = RunFolder(path.parent)
        result = read_result(run)
        assert result is not None
        name = str(place.states()[run.run_id].values["do"])
        found[name] = Done(result, run.log.read_text(errors="replace"))
    return found


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Done]:
    """Every mistake in one grid, submitted once."""

    def build(folder: Path) -> None:
        make_place(folder, GRID).submit(*LOCAL)

    folder = build_once(tmp_path_factory, "program-mistakes", build)
    return read_done(Place(folder / "project" / "mine.yaml", folder / "runs"))


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "other_metric",
            "the program ended well but logged no val/acc; it logged: run/accuracy",
        ),
        ("nothing", "the program ended well but logged no val/acc; it logged: nothing"),
    ],
)
def test_a_run_that_failed_says_why_in_its_result(
    done: Mapping[str, Done], name: str, sentence: str
) -> None:
    error = done[name].result.error

    assert error is not None
    assert sentence in error.message


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("own_id", "note: the program sets the id of its wandb run itself (mine-1); leave `id`"),
        ("two_runs", "note: the program logged 1 other wandb run as well, which the results"),
        ("flood", "note: the program printed 60,000,0"),
        ("daemon", "note: ended 1 process that the program left behind: sleep"),
        ("broken_lines", "note: 1 line of $ANLP_METRICS that are no JSON objects are left out"),
    ],
)
def test_a_run_that_is_done_has_its_number_and_the_sentence_in_its_log(
    done: Mapping[str, Done], name: str, sentence: str
) -> None:
    assert done[name].result.error is None
    assert done[name].result.metrics["val/acc"] == 0.5
    assert sentence in done[name].log


def test_a_program_that_must_resume_begins_where_wandb_is_offline(
    done: Mapping[str, Done],
) -> None:
    assert done["must_resume"].result.metrics["val/acc"] == 0.5  # online: see test_failure.py


def test_a_flood_of_output_leaves_a_log_of_bounded_size(done: Mapping[str, Done]) -> None:
    assert len(done["flood"].log) < 21_000_000
    assert "are left out of its log" in done["flood"].log


def test_binary_output_does_no_harm_to_a_terminal(done: Mapping[str, Done]) -> None:
    assert done["binary"].result.metrics == {"val/acc": 0.5}
    assert "\nend\n" in done["binary"].log
    assert not {chr(code) for code in range(32)} - set("\n\t\r") & set(done["binary"].log)


def test_a_program_without_wandb_in_its_environment_says_so(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "empty"], check=True)
    place = make_place(
        tmp_path,
        f"program: train.py\nfixed: {{do: own_id}}\ninterpreter: {tmp_path}/empty/bin/python\n",
    )

    place.submit(*LOCAL)

    error = read_done(place)["own_id"].result.error
    assert error is not None
    assert error.type == "ModuleNotFoundError"
    assert error.message == (
        "No module named 'wandb'; install it in the environment that the program runs in"
    )


def test_a_program_that_ignores_signals_is_killed_after_the_grace_period(tmp_path: Path) -> None:
    place = make_place(tmp_path, "program: train.py\nfixed: {do: deaf}\nsnapshot: none\n")
    process = place.start(*LOCAL)
    wait_until(
        lambda: any(run.metrics.exists() for run in place.runs()), lambda: "a number of the program"
    )

    os.kill(process.pid, signal.SIGINT)
    process.communicate(timeout=120)

    (run,) = place.runs()
    (status,) = place.states().values()
    assert process.returncode == 130
    assert "it did not leave within 15 s and was killed" in run.log.read_text()
    assert status.state.value == "interrupted"
    place.wait_until_alone()


@pytest.mark.parametrize(
    ("grid", "sentence"),
    [
        ("program: trainn.py", "trainn.py: no such file (there: broken.py, train.py)"),
        ("program: tool", "tool: it is not executable; chmod +x it, or say how it starts: command"),
        ("program: broken.py", "broken.py:2: not valid Python: expected ':'"),
        (
            "program: train.py\nfixed: {doo: own_id}",
            "mine.yaml:2: fixed: unknown setting 'doo' (did you mean 'do'? known: do)",
        ),
    ],
)
def test_what_is_wrong_at_submit_is_one_sentence(tmp_path: Path, grid: str, sentence: str) -> None:
    place = make_place(tmp_path, grid)
    (tmp_path / "project" / "broken.py").write_text("import os\nif True\n    pass\n")
    (tmp_path / "project" / "tool").write_text("echo\n")

    ended: Ended = place.submit(*LOCAL)

    assert ended.code == 2
    assert ended.is_plain
    assert sentence in ended.err
    assert not place.root.exists()
