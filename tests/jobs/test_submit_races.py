"""Several submits of one grid at the same time, and submits that are stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from anlp.records.folders import GridFolder
from anlp.records.results import RunState
from tests.support.grids import GONE, a_spec
from tests.support.grids import submit as made_submit
from tests.support.once import build_once
from tests.support.quick_runner import call_submit
from tests.support.small_study import attempts, counts, make_folder, make_quick_place, start_quick  # noqa: F401 - fixtures
from tests.support.submits import Place, make_place, numbers_of, wait_until


@pytest.mark.slow
def test_a_run_that_another_process_trains_is_left_to_it(
    folder: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = a_spec(0, lr=0.1, epochs=2)
    made_submit(folder, [spec])  # by this process, which is alive and has not begun

    assert call_submit("study.yaml") == 0

    assert counts(folder) == {"queued": 1, "done": 5}
    assert call_submit("study.yaml") == 0
    assert "the queued and running ones were submitted before" in capsys.readouterr().out


@pytest.mark.slow
def test_runs_that_leave_after_their_submit_was_killed_are_waited_for(
    quick_place: Place,
) -> None:
    spec = a_spec(0, lr=0.1, epochs=2)
    made_submit(quick_place.folder, [spec], launcher=GONE)
    holder = hold_claim(quick_place.folder, spec.run_id)

    submit = start_quick(quick_place)
    assert submit.stdout is not None
    said = submit.stdout.readline()
    while "waiting for" not in said and submit.poll() is None:
        said += submit.stdout.readline()
    holder.kill()
    holder.wait()
    said += submit.communicate(timeout=120)[0]

    assert "waiting for 1 runs of a submit that was killed" in said
    assert (submit.returncode, counts(quick_place.folder)) == (0, {"done": 6})


def hold_claim(folder: GridFolder, run_id: str) -> subprocess.Popen[str]:
    """A process that holds the claim of a run until it is killed."""
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom anlp.core import lease\n"
        "lease.acquire(Path(sys.argv[1]))\nprint('held', flush=True)\ntime.sleep(600)\n"
    )
    argv = [sys.executable, "-c", code, str(folder.run(run_id).attempts)]
    holder = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    holder.stdout.close()
    return holder


@pytest.mark.slow
def test_two_submits_at_once_train_each_run_once(quick_place: Place) -> None:
    for number in range(10):
        grid = ("--name", f"round-{number}")
        both = [start_quick(quick_place, *grid) for _ in range(2)]
        said = [process.communicate(timeout=120)[0] for process in both]

        assert [process.returncode for process in both] == [0, 0], said
        place = GridFolder(quick_place.root / grid[1])
        assert (attempts(place), counts(place)) == (6, {"done": 6}), said
        assert len(list(place.batches.glob("*.jsonl"))) == 1, said
        assert sum("nothing to submit" in words for words in said) == 1, said


@pytest.mark.slow
def test_a_larger_grid_beside_a_running_one_takes_only_what_is_new(
    quick_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUICK_SLEEP", "0.1 0.2 0.3")
    first = start_quick(quick_place)
    wait_until(lambda: attempts(quick_place.folder) == 2, lambda: "nothing began")
    monkeypatch.delenv("QUICK_SLEEP")

    second = start_quick(quick_place, "--set", "lr=0.1,0.2,0.3,0.4,0.5")
    said = second.communicate(timeout=120)[0]
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=120)

    assert second.returncode == 0, said
    assert "to submit         4" in said
    assert first.returncode == 130
    assert counts(quick_place.folder) == {"interrupted": 6, "done": 4}


STOPPED = """\
task: mnist
fixed: {data: digits, dropout: 0.2, hidden: 32, epochs: 120}
grid: {lr: [0.1, 0.01, 0.003]}
wandb: {mode: disabled}
"""


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """An undisturbed grid."""

    def train(folder: Path) -> None:
        assert make_place(folder, STOPPED).submit("--slots", "2").code == 0

    folder = build_once(tmp_path_factory, "undisturbed", train)
    return Place(folder / "tiny.yaml", folder / "runs")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stopped_submit_continues_to_the_same_numbers(
    tmp_path: Path, calm: Place, number: int
) -> None:
    place = make_place(tmp_path, STOPPED)
    process = place.start("--slots", "2")
    wait_until(
        lambda: sum(run.metrics.exists() for run in place.runs()) == 2, lambda: "no run began"
    )
    os.killpg(process.pid, number)
    out, err = process.communicate(timeout=120)

    assert process.returncode == 130, err
    assert "stopped: any submit of this grid continues" in out
    assert place.counts() == {RunState.INTERRUPTED: 3}
    place.wait_until_alone()
    assert sum(run.checkpoint.exists() for run in place.runs()) == 2
    assert place.submit("--slots", "2").code == 0
    assert numbers_of(place) == numbers_of(calm)
