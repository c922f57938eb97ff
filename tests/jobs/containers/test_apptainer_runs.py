"""Grids in a real image on this machine: what is executed, what reaches it, what does not, and how
it ends.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from anlp.core.errors import EXIT_CONTINUE, EXIT_INTERRUPTED, EXIT_USAGE
from anlp.core.version import __version__
from anlp.records.elements import Element
from anlp.records.files import read_json, read_metrics, write_jsonl
from anlp.records.folders import GridFolder, RunFolder
from anlp.records.options import RunOptions, WandbOptions
from anlp.records.results import RunState
from anlp.tasks import make_spec
from jobs.config.resources import Resources
from jobs.containers.apptainer import Container, binds_of
from jobs.containers.image import choose_image, inspect_image, warnings
from jobs.schedulers.base import Batch
from jobs.schedulers.batch import Piece
from jobs.schedulers.pbs.script import Start, render_script
from jobs.schedulers.pbs.validate import Dialect
from jobs.schedulers.site import apply
from tests.support.schedulers.pbs.sites import pbs_profile
from tests.support.submits import Place, attempts_of, make_place, numbers_of, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("as_this_user")]
TWO = """\
task: mnist
fixed: {data: digits, hidden: 16, epochs: 2}
grid: {lr: [0.1, 0.01]}
wandb: {mode: disabled}
"""
LONG = TWO.replace("epochs: 2", "epochs: 60, dropout: 0.2")
HERE = ("--on", "local", "-q")
MOST_MB = 400


@pytest.fixture
def place(tmp_path: Path, image: Path) -> Place:
    return make_place(tmp_path, f"{TWO}container: {image}\n")


def provenance(place: Place) -> list[Mapping[str, Any]]:
    return [(read_json(run.result) or {})["provenance"] for run in place.runs()]


def start(
    container: Container, *command: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    argv = container.exec_argv(*command)
    return subprocess.run(
        argv,
        env=container.environment({**os.environ, **environment}),
        capture_output=True,
        text=True,
    )


def test_the_image_says_what_it_is_and_passes_its_own_test(image: Path) -> None:
    labels = inspect_image(choose_image(str(image))).labels
    tested = subprocess.run(["apptainer", "test", image], capture_output=True, text=True)
    helped = subprocess.run(["apptainer", "run-help", image], capture_output=True, text=True).stdout

    assert {"anlp.commit", "anlp.lock", "anlp.variant"} <= set(labels)
    assert labels["anlp.version"] == __version__
    assert (tested.returncode, "1 training step" in tested.stdout) == (0, True), tested.stderr
    assert "python -m jobs.submit" in helped
    assert image.stat().st_size < MOST_MB * 1e6


def test_a_grid_is_trained_in_the_image_and_its_runs_say_so(place: Place, image: Path) -> None:
    ended = place.submit(*HERE)

    assert (ended.code, place.counts()) == (0, {RunState.DONE: 2}), ended
    facts = inspect_image(choose_image(str(image))).for_options()
    for found in provenance(place):
        assert found["container"] == {**facts.to_json(), "mode": "baked"}
        assert found["job"].startswith("local:")
    place.wait_until_alone()


def test_without_the_container_the_same_grid_runs_bare(place: Place) -> None:
    assert place.submit(*HERE, "--no-container").code == 0

    assert all("container" not in found for found in provenance(place))


def test_live_executes_this_checkout(place: Place) -> None:
    ended = place.submit(*HERE, "--live")

    assert ended.code == 0, ended
    assert [found["container"]["mode"] for found in provenance(place)] == ["live", "live"]
    assert [bool(found["commit"]) for found in provenance(place)] == [True, True]


def test_ctrl_c_saves_and_the_next_submit_ends_with_the_numbers_of_an_undisturbed_one(
    tmp_path: Path, image: Path
) -> None:
    calm = make_place(tmp_path / "calm", f"{LONG}container: {image}\n")
    disturbed = make_place(tmp_path / "disturbed", f"{LONG}container: {image}\n")

    assert calm.submit(*HERE).code == 0
    submit = disturbed.start(*HERE)
    wait_until(
        lambda: any(len(read_metrics(run.metrics)) > 2 for run in disturbed.runs()),
        lambda: "it does not train",
    )
    submit.send_signal(signal.SIGINT)
    submit.communicate(timeout=120)
    disturbed.wait_until_alone()

    assert submit.returncode == EXIT_INTERRUPTED
    assert all(run.checkpoint.exists() for run in disturbed.runs())
    assert disturbed.submit(*HERE).code == 0
    assert numbers_of(disturbed) == numbers_of(calm)
    assert [attempt["ending"] for attempt in attempts_of(disturbed.runs()[0])] == [
        "interrupted",
        "done",
    ]


def by_hand(place: Place, image: Path, *words: str) -> subprocess.CompletedProcess[str]:
    argv: Sequence[str | Path] = ["apptainer", "run", "--bind", place.root, image, *words]
    return subprocess.run(argv, capture_output=True, text=True)


def test_one_element_by_hand_is_all_that_a_node_needs(place: Place, image: Path) -> None:
    place.submit(*HERE, "--no-container")
    run = place.runs()[0]
    run.result.unlink()

    batch = str(place.folder.batches / "1.jsonl")
    codes = [
        by_hand(place, image, "--batch", batch, "--index", index).returncode
        for index in ("0", "1", "9")
    ]

    assert codes == [0, 0, EXIT_USAGE]
    assert run.result.exists()


def test_values_reach_the_inside_as_they_are_and_nothing_else_does(
    image: Path, tmp_path: Path
) -> None:
    trap = tmp_path / "executed"
    hostile = f"a,b \"q\" 'q' $(touch {trap}) `touch {trap}` ${{HOME}} \\ ü\nz"
    container = Container(image, binds=binds_of([tmp_path]), cwd=tmp_path)
    container = container.passing(("SLURM_", "PBS_"))
    passed = {
        "WANDB_API_KEY": hostile,
        "CUDA_VISIBLE_DEVICES": "0,1",
        "SLURM_JOB_ID": "3",
        "PBS_JOBID": "4[1].head",
    }
    shadows = {"PYTHONPATH": str(tmp_path), "PYTHONHOME": "/nowhere", "OTHER": "x"}
    (tmp_path / "torch.py").write_text("raise SystemExit('a stranger')")
    ask = "import json, os, torch; print(json.dumps(dict(os.environ)), flush=True)"

    inside = json.loads(start(container, "python", "-c", ask, **passed, **shadows).stdout)

    assert {name: inside.get(name) for name in passed} == passed
    assert (inside.get("OTHER"), inside["PYTHONPATH"], inside["PWD"]) == (
        None,
        "/opt/live",
        str(tmp_path),
    )
    assert not trap.exists()


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (("sh", "-c", "exit 3"), 3, ""),
        (("sh", "-c", "kill -KILL $$"), -signal.SIGKILL, ""),
        (("no-such-command",), 255, "FATAL:"),
    ],
)
def test_exit_codes_keep_their_meaning(
    image: Path, command: Sequence[str], code: int, said: str
) -> None:
    done = start(Container(image), *command)

    assert done.returncode == code
    assert said in done.stderr


def test_a_folder_that_cannot_be_bound_is_refused_before_anything_starts(
    place: Place, tmp_path: Path
) -> None:
    hostile = replace(place, root=tmp_path / "runs:$(touch x),y")

    ended = hostile.submit(*HERE)

    assert (ended.code, ended.is_plain) == (EXIT_USAGE, True)
    assert "cannot be bound: expected an absolute path without comma, colon" in ended.err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no such image; containers/build.sh builds one"),
        ("text", "not an image that apptainer can read"),
        ("half", "so it was not copied to its end"),
    ],
)
def test_what_is_no_image_is_refused_in_a_sentence(
    place: Place, image: Path, tmp_path: Path, content: str | None, said: str
) -> None:
    path = tmp_path / "other.sif"
    if content == "half":
        with image.open("rb") as whole:
            path.write_bytes(whole.read(image.stat().st_size // 2))
    elif content:
        path.write_text(content)

    ended = place.submit(*HERE, "--container", str(path))

    assert (ended.code, ended.is_plain, said in ended.err) == (EXIT_USAGE, True, True), ended
    assert not place.runs()


def test_an_image_of_another_commit_is_warned_of(image: Path) -> None:
    facts = inspect_image(choose_image(str(image)))

    (text,) = warnings(facts, "c0ffee" * 6, has_gpus=False, leaves_machine=False)

    assert f"holds commit {facts.labels['anlp.commit'][:12]}" in text
    assert "this checkout is at c0ffeec0ffee" in text


def script_of_pbs(root: Path, image: Path) -> tuple[Path, RunFolder]:
    """The script of a batch of one run, as it would be handed to qsub, and the run's folder."""
    spec = make_spec(
        "mnist", {"data": "digits", "hidden": 64, "batch_size": 32, "dropout": 0.2, "epochs": 60}, 0
    )
    folder = GridFolder(root / "runs" / "study")
    folder.batches.mkdir(parents=True)
    options = RunOptions(batch="3f2a9c0d1e4b", wandb=WandbOptions(mode="disabled"))
    write_jsonl(folder.batches / "1.jsonl", [Element((spec,), options).to_json()])
    batch = Batch(options.batch, "study", folder.batches / "1.jsonl", 1)
    profile = pbs_profile("generic-pbs")
    container = Container(image, binds=binds_of([folder.path]), cwd=folder.path)
    start_of = Start(root, container=container)
    path = root / "job.sh"
    resources = apply(profile, Resources(walltime_min=60))
    path.write_text(render_script(batch, Piece(0, 1), resources, profile, Dialect.PRO, start_of))
    return path, folder.run(spec.run_id)


def place_of(script: Path) -> Place:
    return Place(script.with_name("study.yaml"), script.with_name("runs"))


def test_a_job_of_pbs_hands_the_warning_on_to_the_run_in_the_image_and_continues_it(
    image: Path, tmp_path: Path
) -> None:
    calm, _ = script_of_pbs(tmp_path / "calm", image)
    disturbed, run = script_of_pbs(tmp_path / "disturbed", image)

    assert subprocess.run(["bash", calm]).returncode == 0
    job = subprocess.Popen(["bash", disturbed], env={**os.environ, "PBS_JOBID": "12.head"})
    wait_until(lambda: len(read_metrics(run.metrics)) > 2, lambda: "it does not train")
    job.send_signal(signal.SIGUSR2)

    assert (job.wait(120), run.checkpoint.exists()) == (EXIT_CONTINUE, True)
    assert subprocess.run(["bash", disturbed]).returncode == 0
    assert numbers_of(place_of(disturbed)) == numbers_of(place_of(calm))
    assert attempts_of(run)[0]["job"] == "12.head"
