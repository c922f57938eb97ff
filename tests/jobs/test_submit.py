from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_grids import GONE, a_spec, finish, lose
from made_grids import submit as made_submit
from quick_runner import call_submit, use_quick_runner
from submits import Place, attempts_of, make_place, numbers_of, tree_of, wait_until

from anlp import staging
from anlp.errors import UserError
from anlp.record import GridFolder, RunState, read_jsonl, read_result
from anlp.settings import spec_from_json
from jobs import submit
from jobs.journal import Journal
from jobs.schedulers import choose
from jobs.schedulers.base import Cause
from jobs.state import RunStatus, read_states

GRID = """\
task: mnist
fixed: {data: digits, epochs: 2}
grid: {lr: [0.1, 0.2, 0.3]}
seeds: 2
wandb: {mode: disabled}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GridFolder:
    use_quick_runner(monkeypatch, tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    Path("study.yaml").write_text(GRID)
    return GridFolder(tmp_path / "runs" / "study")


def counts(folder: GridFolder) -> dict[str, int]:
    states = [status.state.value for status in read_states(folder, choose.states, remember=False).values()]
    return {state: states.count(state) for state in states}


def runs_by_lr(folder: GridFolder, lr: float) -> list[RunStatus]:
    states = read_states(folder, choose.states, remember=False).values()
    return [status for status in states if status.values["lr"] == lr]


def attempts(folder: GridFolder) -> int:
    return sum(len(attempts_of(folder.run(path.parent.name))) for path in folder.path.glob("*/attempts"))


# --- what is submitted


def test_a_grid_is_trained_once_and_then_there_is_nothing_to_do(
    folder: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call_submit("study.yaml") == 0
    before = tree_of(folder.path)
    capsys.readouterr()

    assert call_submit("study.yaml") == 0

    assert "nothing to submit: 6 done" in capsys.readouterr().out
    assert {name for name in tree_of(folder.path) if "finished" not in name} == {
        n for n in before if "finished" not in n
    }
    assert (counts(folder), attempts(folder)) == ({"done": 6}, 6)


def test_a_dry_run_writes_nothing_at_all(
    folder: GridFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call_submit("study.yaml", "-n") == 0
    assert not (tmp_path / "runs").exists()
    call_submit("study.yaml", "--only", "lr=0.1")
    folder.finished.unlink(missing_ok=True)  # a look at the states would write it
    before = tree_of(tmp_path)

    assert call_submit("study.yaml", "--dry-run") == 0

    assert tree_of(tmp_path) == before
    listed = [line.split()[1] for line in capsys.readouterr().out.splitlines() if len(line.split()[0]) == 12]
    assert (listed.count("new"), listed.count("done")) == (10, 2)


def test_the_plan_as_json_is_the_same_each_time(folder: GridFolder, capsys: pytest.CaptureFixture[str]) -> None:
    call_submit("study.yaml", "--only", "lr=0.1")
    capsys.readouterr()
    plans = []
    for _ in range(2):
        assert call_submit("study.yaml", "-n", "--json") == 0
        plans.append(capsys.readouterr().out)

    plan = json.loads(plans[0])
    assert plans[0] == plans[1]
    assert (plan["grid"], plan["counts"], plan["submit"]) == ("study", {"new": 4, "done": 2}, 4)
    assert [run["submit"] for run in plan["runs"]] == [False, False, True, True, True, True]
    assert {"run_id", "task", "settings", "seed", "state"} <= plan["runs"][0].keys()


def test_an_edited_grid_adds_only_its_new_runs(folder: GridFolder, capsys: pytest.CaptureFixture[str]) -> None:
    call_submit("study.yaml")
    Path("study.yaml").write_text(GRID.replace("0.3]", "0.4, 0.5]"))
    capsys.readouterr()

    assert call_submit("study.yaml") == 0

    said = capsys.readouterr().out
    assert "to submit         4" in said
    assert "note: 2 other runs" in said
    assert attempts(folder) == 10
    assert len(list(folder.path.glob("grid*.yaml"))) == 2


def test_more_seeds_extend_a_grid(folder: GridFolder) -> None:
    call_submit("study.yaml")

    assert call_submit("study.yaml", "--seeds", "3") == 0

    assert attempts(folder) == 9
    assert sorted(status.values["seed"] for status in runs_by_lr(folder, 0.1)) == [0, 1, 2]


def test_only_and_set_restrict_and_replace(folder: GridFolder) -> None:
    assert call_submit("study.yaml", "--only", "lr<0.25 seed=1", "--set", "epochs=7") == 0

    found = read_states(folder, choose.states).values()
    assert {(s.values["lr"], s.values["seed"], s.values["epochs"]) for s in found} == {(0.1, 1, 7), (0.2, 1, 7)}


def test_the_estimate_appears_with_history(folder: GridFolder, capsys: pytest.CaptureFixture[str]) -> None:
    call_submit("study.yaml", "-n")
    assert "about" not in capsys.readouterr().out
    call_submit("study.yaml", "--only", "lr=0.1")

    call_submit("study.yaml", "-n", "--set", "epochs=30", "--slots", "2")

    assert "about 3 min" in capsys.readouterr().out.replace("6 runs", "")  # 6 runs of 30 epochs of 2 s, two at a time


def test_names_are_taken_for_folders_and_files_with_blanks_need_one(
    folder: GridFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("my grid.yaml").write_text(GRID + "name: my-grid.v2\n")

    assert call_submit("my grid.yaml", "--only", "lr=0.1") == 0
    assert call_submit("study.yaml", "--name", "other", "--only", "lr=0.1") == 0

    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["my-grid.v2", "other"]


# --- failed, lost, replaced


def test_failed_and_lost_runs_are_repeated_by_retry_only(
    folder: GridFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("QUICK_FAIL", "0.1")
    monkeypatch.setenv("QUICK_DIE", "0.2")
    monkeypatch.setenv("QUICK_DIVERGE", "0.3")
    assert call_submit("study.yaml") == 1
    assert counts(folder) == {"failed": 2, "lost": 2, "diverged": 2}
    for name in ("QUICK_FAIL", "QUICK_DIE", "QUICK_DIVERGE"):
        monkeypatch.delenv(name)
    capsys.readouterr()

    assert call_submit("study.yaml") == 0
    assert "repeated by --retry" in capsys.readouterr().out
    assert attempts(folder) == 6
    assert call_submit("study.yaml", "--retry") == 0

    assert counts(folder) == {"done": 4, "diverged": 2}
    assert attempts(folder) == 10


def test_replace_asks_and_redoes_everything(folder: GridFolder, capsys: pytest.CaptureFixture[str]) -> None:
    call_submit("study.yaml")

    assert call_submit("study.yaml", "--replace") == 2
    assert "Throw away the results of 6 finished runs" in capsys.readouterr().err
    assert attempts(folder) == 6
    assert call_submit("study.yaml", "--replace", "--yes") == 0

    assert (counts(folder), attempts(folder)) == ({"done": 6}, 12)


def test_a_replacement_that_was_stopped_before_a_run_is_carried_out_by_any_submit(folder: GridFolder) -> None:
    call_submit("study.yaml")
    old = runs_by_lr(folder, 0.3)[0]
    made_submit(folder, [spec_from_json(old.form)], redo="all", launcher=GONE)
    assert counts(folder) == {"done": 5, "interrupted": 1}

    assert call_submit("study.yaml") == 0

    new = runs_by_lr(folder, 0.3)[0]
    assert old.result is not None
    assert new.result is not None
    assert new.result.provenance["batch"] != old.result.provenance["batch"]
    assert (counts(folder), attempts(folder)) == ({"done": 6}, 7)


def test_results_without_journal_are_not_thrown_away_unasked(
    folder: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    call_submit("study.yaml")
    folder.journal.unlink()

    assert call_submit("study.yaml", "--replace") == 2

    assert "Throw away the results of 6 finished runs" in capsys.readouterr().err


# --- confirming


def test_confirm_runs_the_best_of_each_value_with_fresh_seeds_once(folder: GridFolder) -> None:
    call_submit("study.yaml", "--set", "optimizer=sgd,adam")

    for _ in range(2):
        words = ("--set", "optimizer=sgd,adam", "--confirm", "1", "--per", "optimizer", "--seeds", "3")
        assert call_submit("study.yaml", *words) == 0

    confirmed = [s for s in read_states(folder, choose.states).values() if s.purpose == "confirm"]
    assert sorted((s.values["optimizer"], s.values["lr"], s.values["seed"]) for s in confirmed) == [
        (optimizer, 0.3, seed) for optimizer in ("adam", "sgd") for seed in (1000, 1001, 1002)
    ]
    assert attempts(folder) == 18
    assert call_submit("study.yaml", "--confirm", "1", "--seeds", "²") == 2


def test_confirming_before_anything_has_finished_says_so(
    folder: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call_submit("study.yaml", "--confirm", "2") == 2

    assert capsys.readouterr().err.startswith("--confirm: no run of this grid has finished yet")


# --- mistakes


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nope.yaml"], "nope.yaml: no such file"),
        (["."], ".: expected a grid file, got a directory"),
        (["study.yaml", "--only", "foo=1"], "filter 'foo=1': unknown name 'foo'"),
        (["study.yaml", "--only", "lr="], "filter 'lr=': expected NAME=VALUE"),
        (["study.yaml", "--only", "lr=9"], "study.yaml: no runs are left"),
        (["study.yaml", "--set", "lr=fast"], "--set lr=fast: expected a number > 0"),
        (["study.yaml", "--on", "mainframe"], "--on: no scheduler 'mainframe' (known: auto, local, pbs, slurm)"),
        (["study.yaml", "--json"], "--json: shows a plan only"),
        (["study.yaml", "--per", "model"], "--per: goes with --confirm"),
        (["study.yaml", "--confirm", "0"], "--confirm: expected a whole number from 1 to 1,000,000, got '0'"),
        (["study.yaml", "--gpus", "²"], "--gpus: expected a whole number from 0 to 1,000,000, got '²'"),
        (["study.yaml", "--cpus", "9" * 5000], "--cpus: expected a whole number from 1 to 1,000,000, got '999"),
        (["study.yaml", "--pack", "1001"], "--pack: expected a whole number from 1 to 1,000, got '1001'"),
        (["study.yaml", "--retries", "101"], "--retries: expected a whole number from 0 to 100, got '101'"),
        (["study.yaml", "--epochs", "3"], "unrecognized arguments: --epochs 3 (python -m jobs.submit --help lists"),
        (["study.yaml", "--mem", "9" * 400], "--mem: expected an amount of memory"),
        (["study.yaml", "--time", "9" * 400], "--time: expected a time"),
        (["study.yaml", "--mem", "lots"], "--mem: expected an amount of memory"),
        (["study.yaml", "--name", "../up"], "--name: expected a name of letters"),
        (["study.yaml", "--name", "a; touch x $(touch x)\n"], "--name: expected a name of letters"),
        (["study.yaml", "--name", "x" * 300], "--name: expected a name of letters"),
        (["none.yaml"], "none.yaml:3: grid.lr: expected at least one value, got an empty list"),
        (["empty.yaml"], "empty.yaml:1: expected a mapping"),
        (["absurd.yaml"], "absurd.yaml: more than 15,000 runs: shorten the lists"),
        (["huge.yaml"], "Submit 10,100 runs? Nobody to ask here"),
    ],
)
def test_mistakes_are_one_sentence_and_leave_nothing(
    folder: GridFolder,
    words: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(submit, "MOST_RUNS", 15_000)  # instead of 200,000, for the sake of time
    Path("none.yaml").write_text("task: mnist\nfixed: {data: digits}\ngrid: {lr: []}\n")
    Path("empty.yaml").touch()
    axes = "grid: {lr: {logspace: [0.001, 0.1, 101]}, dropout: {linspace: [0, 0.5, 100]}}\n"
    Path("huge.yaml").write_text("task: mnist\nfixed: {data: digits}\n" + axes)
    endless = axes.replace("}}", "}, hidden: {range: [1, 100000]}}")
    Path("absurd.yaml").write_text("task: mnist\nfixed: {data: digits}\n" + endless)

    assert call_submit(*words) == 2

    error = capsys.readouterr().err
    assert error.startswith(said)
    assert error.count("\n") == 1
    assert not folder.path.parent.exists()


def test_values_with_shell_characters_reach_no_shell(folder: GridFolder, tmp_path: Path) -> None:
    tag = "$(touch hacked); touch hacked\nü`touch hacked`"
    text = GRID.replace("disabled}", f'disabled, tags: [{json.dumps(tag)}], project: "p$(touch hacked)"}}')
    Path("study.yaml").write_text(text)

    assert call_submit("study.yaml", "--only", "lr=0.1") == 0

    assert not list(tmp_path.rglob("hacked"))
    line = next(read_jsonl(folder.batches / "1.jsonl"))
    assert line["options"]["wandb"]["tags"] == [tag]


@pytest.mark.parametrize("root", ["file", "/proc/nowhere"])
def test_a_root_that_cannot_be_written_is_one_sentence(
    folder: GridFolder, root: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("file").touch()
    monkeypatch.setenv("ANLP_RUNS", root)

    assert call_submit("study.yaml") == 2

    assert "study: cannot be written (" in capsys.readouterr().err


@contextmanager
def small_disk(path: Path, size: str) -> Iterator[Path]:
    """A file system of its own, if we may mount one."""
    path.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)], capture_output=True
    ).returncode:
        pytest.skip("needs the right to mount a tmpfs (root)")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def test_a_full_disk_loses_runs_but_no_words(
    folder: GridFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with small_disk(tmp_path / "disk", "1m") as disk:
        monkeypatch.setenv("ANLP_RUNS", str(disk / "runs"))
        assert call_submit("study.yaml", "--only", "lr=0.1") == 0
        filler = disk / "filler"
        with pytest.raises(OSError, match="No space"):
            filler.write_bytes(bytes(1 << 20))

        assert call_submit("study.yaml") == 2
        assert "study: cannot be written (No space left on device)" in capsys.readouterr().err
        filler.unlink()
        assert call_submit("study.yaml") == 0
        assert counts(GridFolder(disk / "runs" / "study")) == {"done": 6}


def test_a_disk_that_fills_up_meanwhile_interrupts_runs_that_any_submit_continues(
    folder: GridFolder, quick_place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_disk(tmp_path / "disk", "40k") as disk:
        root = disk / "runs"
        process = start_quick(replace(quick_place, root=root))
        said = process.communicate(timeout=60)[0]
        assert process.returncode == 1, said
        assert re.search(r"^study: .*[0-9]+ interrupted$", said, re.MULTILINE), said
        assert re.search(r"[0-9]+ runs? could not write to a folder: make room, then any submit", said), said
        subprocess.run(["mount", "-o", "remount,size=4m", str(disk)], check=True)
        monkeypatch.setenv("ANLP_RUNS", str(root))

        assert call_submit("study.yaml") == 0

        assert counts(GridFolder(root / "study")) == {"done": 6}


def test_data_that_is_missing_is_an_error_or_loudly_replaced(
    folder: GridFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(name: str, where: Path) -> None:
        raise UserError(staging.where_to_put(name, where))

    monkeypatch.setattr(staging, "stage", refuse)
    monkeypatch.setenv("ANLP_DATA", "nothing-here")
    Path("real.yaml").write_text(GRID.replace("data: digits, ", ""))
    Path("loud.yaml").write_text(GRID.replace("data: digits, ", "") + "fallback: digits\n")

    assert call_submit("real.yaml") == 2
    assert "train-images-idx3-ubyte" in capsys.readouterr().err
    assert call_submit("loud.yaml", "--only", "lr=0.1") == 0

    assert "ITS RUNS USE digits INSTEAD" in capsys.readouterr().err
    loud = read_states(GridFolder(folder.path.parent / "loud"), choose.states)
    assert {status.values["data"] for status in loud.values()} == {"digits"}


def test_a_dry_run_downloads_nothing(folder: GridFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted: list[str] = []
    monkeypatch.setattr(staging, "stage", lambda name, where: wanted.append(name))
    monkeypatch.setenv("ANLP_DATA", "nothing-here")
    Path("real.yaml").write_text(GRID.replace("data: digits, ", ""))

    assert call_submit("real.yaml", "-n") == 0

    assert wanted == []
    assert not Path("nothing-here").exists()


# --- damage


def spoil_journal(folder: GridFolder) -> None:
    lines = folder.journal.read_bytes().splitlines(keepends=True)
    folder.journal.write_bytes(b'\xff{"event"\n[1]\n{"event": "intent", "tag": "x"}\n' + b"".join(lines) + b'{"torn')


def spoil_finished(folder: GridFolder) -> None:
    folder.finished.write_bytes(b'{"run_id": 1}\n\x00\x00\n{}\n{"run_id": "x", "metrics": 3}\nnull\n')


def spoil_batch(folder: GridFolder) -> None:
    path = folder.batches / "1.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], b"garbage\n", b'{"options": {}}\n', *lines[3:]]))


def delete_batches(folder: GridFolder) -> None:
    for path in folder.batches.iterdir():
        path.unlink()
    folder.batches.rmdir()


def clutter(folder: GridFolder) -> None:
    (folder.batches / "notes.jsonl").write_text("mine\n")
    (folder.path / "a file").touch()
    (folder.path / "lock" / "readme").touch()


@pytest.mark.parametrize("spoil", [spoil_journal, spoil_finished, spoil_batch, delete_batches, clutter])
def test_damaged_files_cost_no_finished_run(folder: GridFolder, spoil: Callable[[GridFolder], None]) -> None:
    call_submit("study.yaml", "--only", "lr<0.25")
    before = {path: path.read_bytes() for path in folder.path.glob("*/result.json")}
    spoil(folder)

    assert call_submit("study.yaml") == 0

    assert len(before) == 4
    assert {path: path.read_bytes() for path in before} == before
    assert len(list(folder.path.glob("*/result.json"))) == 6
    assert call_submit("study.yaml") == 0
    assert counts(folder) == {"done": 6}


def test_a_batch_file_of_another_submission_is_not_taken_for_the_deleted_one(folder: GridFolder) -> None:
    made_submit(folder, [a_spec(0)], launcher=GONE)
    delete_batches(folder)
    Journal(folder).refused(made_submit(folder, [a_spec(1)], answered=False), "no")

    assert counts(folder) == {}


def test_a_damaged_line_of_a_batch_file_moves_no_other(folder: GridFolder) -> None:
    specs = [a_spec(seed) for seed in range(3)]
    tag = made_submit(folder, specs, launcher=GONE)
    lose(folder, tag, 2, Cause.TIMEOUT)
    lines = (folder.batches / "1.jsonl").read_bytes().splitlines(keepends=True)
    (folder.batches / "1.jsonl").write_bytes(b"".join([lines[0], b"garbage\n", lines[2]]))

    states = read_states(folder, choose.states)

    assert {run_id: status.state for run_id, status in states.items()} == {
        specs[0].run_id: RunState.INTERRUPTED,
        specs[2].run_id: RunState.LOST,
    }


def test_a_deleted_run_folder_is_trained_again(folder: GridFolder, quick_place: Place) -> None:
    start_quick(quick_place).communicate(timeout=60)  # it is gone then, and responsible for nothing any more
    call_submit("study.yaml")  # remembers what is finished
    victim = runs_by_lr(folder, 0.1)[0].folder
    for path in sorted(victim.path.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    victim.path.rmdir()

    assert call_submit("study.yaml") == 0

    assert read_result(victim) is not None
    assert attempts(folder) == 6


def test_a_result_whose_attempt_was_not_ended_is_not_repeated(folder: GridFolder) -> None:
    call_submit("study.yaml")
    for path in folder.path.glob("*/attempts/*.json"):  # as if all had been killed right after their result
        record = json.loads(path.read_text())
        path.write_text(json.dumps({name: record[name] for name in ("host", "boot", "pid", "started", "since")}))

    assert call_submit("study.yaml", "--retry") == 0

    assert (counts(folder), attempts(folder)) == ({"done": 6}, 6)


# --- several submits, and stopping them


def test_a_run_that_another_process_trains_is_left_to_it(
    folder: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = a_spec(0, lr=0.1, epochs=2)
    made_submit(folder, [spec])  # by this process, which is alive and has not begun

    assert call_submit("study.yaml") == 0

    assert counts(folder) == {"queued": 1, "done": 5}
    assert call_submit("study.yaml") == 0
    assert "the queued and running ones were submitted before" in capsys.readouterr().out


def test_runs_that_leave_after_their_submit_was_killed_are_waited_for(
    folder: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = a_spec(0, lr=0.1, epochs=2)
    made_submit(folder, [spec], launcher=GONE)
    holder = hold_claim_for(folder, spec.run_id, seconds=1.0)

    assert call_submit("study.yaml") == 0

    holder.wait()
    assert "waiting for 1 runs of a submit that was killed" in capsys.readouterr().err
    assert counts(folder) == {"done": 6}


def hold_claim_for(folder: GridFolder, run_id: str, seconds: float) -> subprocess.Popen[str]:
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom anlp import claim\n"
        "claim.acquire(Path(sys.argv[1]))\nprint('held', flush=True)\ntime.sleep(float(sys.argv[2]))\n"
    )
    argv = [sys.executable, "-c", code, str(folder.run(run_id).attempts), str(seconds)]
    holder = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    holder.stdout.close()
    return holder


@pytest.fixture
def quick_place(folder: GridFolder, tmp_path: Path) -> Place:
    """The same grid for submits in processes of their own."""
    return Place(tmp_path / "study.yaml", tmp_path / "runs")


def start_quick(place: Place, *words: str) -> subprocess.Popen[str]:
    code = (
        "import sys, functools\nfrom quick_runner import QUICK, call_submit\nfrom jobs.schedulers import choose\n"
        "choose.LocalScheduler = functools.partial(choose.LocalScheduler, pool=QUICK)\n"
        "sys.exit(call_submit(*sys.argv[1:]))\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, str(place.file), *words],
        env=place.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )


@pytest.mark.slow
def test_two_submits_at_once_train_each_run_once(quick_place: Place) -> None:
    for number in range(10):
        grid = ("--name", f"round-{number}")
        both = [start_quick(quick_place, *grid) for _ in range(2)]
        said = [process.communicate(timeout=60)[0] for process in both]

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
    said = second.communicate(timeout=60)[0]
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=60)

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
    """A grid that nobody disturbed."""
    place = make_place(tmp_path_factory.mktemp("calm"), STOPPED)
    assert place.submit("--slots", "2").code == 0
    return place


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stopped_submit_continues_to_the_same_numbers(tmp_path: Path, calm: Place, number: int) -> None:
    place = make_place(tmp_path, STOPPED)
    process = place.start("--slots", "2")
    wait_until(lambda: sum(run.metrics.exists() for run in place.runs()) == 2, lambda: "no run began")
    os.killpg(process.pid, number)
    out, err = process.communicate(timeout=60)

    assert process.returncode == 130, err
    assert "stopped: any submit of this grid continues" in out
    assert place.counts() == {RunState.INTERRUPTED: 3}
    place.wait_until_alone()
    assert sum(run.checkpoint.exists() for run in place.runs()) == 2
    assert place.submit("--slots", "2").code == 0
    assert numbers_of(place) == numbers_of(calm)


@pytest.mark.slow
def test_runs_that_read_broken_data_fail_in_words(tmp_path: Path) -> None:
    data = tmp_path / "data" / "mnist"
    data.mkdir(parents=True)
    for name in staging.CATALOGUE["mnist"].digests:
        (data / name).write_text("no images")
    text = "task: mnist\nfixed: {epochs: 1, hidden: 8}\ngrid: {lr: [0.1, 0.01]}\nwandb: {mode: disabled}\n"
    place = make_place(tmp_path, text, ANLP_DATA=str(data.parent))

    ended = place.submit()

    assert ended.code == 1
    assert ended.is_plain
    assert "not a readable idx file" in ended.err
    assert place.counts() == {RunState.FAILED: 2}


@pytest.mark.slow
def test_ten_thousand_runs_are_planned_in_three_seconds(tmp_path: Path) -> None:
    axes = "grid: {lr: {logspace: [0.001, 0.1, 100]}, dropout: {linspace: [0, 0.5, 100]}}\n"
    place = make_place(tmp_path, "task: mnist\nfixed: {data: digits}\n" + axes)
    code = (
        "import sys, time, resource\nbegan = time.monotonic()\nfrom jobs.submit import main\n"
        "main([sys.argv[1], '-n'])\n"
        "assert 'torch' not in sys.modules\n"
        "mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
        "print(f'{time.monotonic() - began:.2f} s {mib:.0f} MiB', file=sys.stderr)\n"
    )
    best: tuple[float, str] = min(_measured(place, code) for _ in range(3))

    print(best[1])
    assert best[0] < 3.0


def _measured(place: Place, code: str) -> tuple[float, str]:
    argv = [sys.executable, "-c", code, str(place.file)]
    done: Any = subprocess.run(argv, env=place.environment, capture_output=True, text=True, check=True)
    return float(done.stderr.split()[-4]), done.stderr


def test_the_command_imports_no_torch() -> None:
    code = "import sys, jobs.submit\nsys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_history_that_nobody_asked_for_is_told_and_left_alone(
    folder: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    other = a_spec(0, lr=0.9)
    finish(folder, other, made_submit(folder, [other]))

    call_submit("study.yaml", "-n")

    assert "note: 1 other runs" in capsys.readouterr().out
