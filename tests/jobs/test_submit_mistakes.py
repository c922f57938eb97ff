"""`jobs.submit` where something is wrong: the command line, the disk, the data."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from anlp.core.errors import UserError
from anlp.datasets import catalogue
from anlp.records.files import read_jsonl
from anlp.records.folders import GridFolder
from anlp.records.results import RunState
from jobs import submit
from jobs.runs.status import read_states
from jobs.schedulers import registry
from jobs.submission import stages
from tests.support.quick_runner import call_submit
from tests.support.small_study import GRID, counts, make_folder, make_quick_place, start_quick  # noqa: F401 - fixtures
from tests.support.submits import Place, make_place


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nope.yaml"], "nope.yaml: no such file"),
        (["."], ".: expected a grid file, got a directory"),
        (["study.yaml", "--only", "foo=1"], "filter 'foo=1': unknown name 'foo'"),
        (["study.yaml", "--only", "lr="], "filter 'lr=': expected NAME=VALUE"),
        (["study.yaml", "--only", "lr=9"], "study.yaml: no runs are left"),
        (["study.yaml", "--set", "lr=fast"], "--set lr=fast: expected a number > 0"),
        (
            ["study.yaml", "--on", "mainframe"],
            "--on: no scheduler 'mainframe' (known: auto, local, lsf, pbs, slurm)",
        ),
        (["study.yaml", "--json"], "--json: shows a plan only"),
        (["study.yaml", "--per", "model"], "--per: goes with --confirm"),
        (
            ["study.yaml", "--confirm", "0"],
            "--confirm: expected a whole number from 1 to 1,000,000, got '0'",
        ),
        (
            ["study.yaml", "--gpus", "²"],
            "--gpus: expected a whole number from 0 to 1,000,000, got '²'",
        ),
        (
            ["study.yaml", "--cpus", "9" * 5000],
            "--cpus: expected a whole number from 1 to 1,000,000, got '999",
        ),
        (
            ["study.yaml", "--pack", "1001"],
            "--pack: expected a whole number from 1 to 1,000, got '1001'",
        ),
        (
            ["study.yaml", "--retries", "101"],
            "--retries: expected a whole number from 0 to 100, got '101'",
        ),
        (
            ["study.yaml", "--epochs", "3"],
            "unrecognized arguments: --epochs 3 (did you mean '--set epochs=3'? python -m",
        ),
        (["study.yaml", "--mem", "9" * 400], "--mem: expected an amount of memory"),
        (["study.yaml", "--time", "9" * 400], "--time: expected a time"),
        (["study.yaml", "--mem", "lots"], "--mem: expected an amount of memory"),
        (["study.yaml", "--name", "../up"], "--name: expected a name of letters"),
        (["study.yaml", "--name", "a; touch x $(touch x)\n"], "--name: expected a name of letters"),
        (["study.yaml", "--name", "x" * 300], "--name: expected a name of letters"),
        (["none.yaml"], "none.yaml:3: grid.lr: expected at least one value, got an empty list"),
        (["empty.yaml"], "empty.yaml:1: expected a mapping"),
        (["absurd.yaml"], "absurd.yaml: 1,009,989,900 combinations"),
        (["huge.yaml"], "Submit 10,100 runs? There is no terminal"),
    ],
)
def test_mistakes_are_one_sentence_and_leave_nothing(
    folder: GridFolder,
    words: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stages, "MOST_RUNS", 15_000)  # instead of 200,000, for the sake of time
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


@pytest.mark.slow
def test_values_with_shell_characters_reach_no_shell(folder: GridFolder, tmp_path: Path) -> None:
    tag = "$(touch hacked); touch hacked\nü`touch hacked`"
    text = GRID.replace(
        "disabled}", f'disabled, tags: [{json.dumps(tag)}], project: "p$(touch hacked)"}}'
    )
    Path("study.yaml").write_text(text)

    assert call_submit("study.yaml", "--only", "lr=0.1") == 0

    assert not list(tmp_path.rglob("hacked"))
    line = next(read_jsonl(folder.batches / "1.jsonl"))
    assert line["options"]["wandb"]["tags"] == [tag]


@pytest.mark.parametrize("root", ["file", "/proc/nowhere"])
def test_a_root_that_cannot_be_written_is_one_sentence(
    folder: GridFolder,
    root: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
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


@pytest.mark.slow
def test_a_full_disk_loses_runs_but_no_words(
    folder: GridFolder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
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


@pytest.mark.slow
def test_a_disk_that_fills_up_meanwhile_interrupts_runs_that_any_submit_continues(
    folder: GridFolder, quick_place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_disk(tmp_path / "disk", "40k") as disk:
        root = disk / "runs"
        process = start_quick(replace(quick_place, root=root))
        said = process.communicate(timeout=120)[0]
        assert process.returncode == 1, said
        assert re.search(r"^study: .*[0-9]+ interrupted$", said, re.MULTILINE), said
        assert re.search(
            r"[0-9]+ runs?: its folder could not be written: (a full disk|\S+: No space left on "
            r"device; free space on that disk).*; any submit of this grid goes on",
            said,
        ), said
        subprocess.run(["mount", "-o", "remount,size=4m", str(disk)], check=True)
        monkeypatch.setenv("ANLP_RUNS", str(root))

        assert call_submit("study.yaml") == 0

        assert counts(GridFolder(root / "study")) == {"done": 6}


@pytest.mark.slow
def test_data_that_is_missing_is_an_error_or_loudly_replaced(
    folder: GridFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(name: str, where: Path) -> None:
        raise UserError(catalogue.where_to_put(name, where))

    monkeypatch.setattr(catalogue, "stage", refuse)
    monkeypatch.setenv("ANLP_DATA", "nothing-here")
    Path("real.yaml").write_text(GRID.replace("data: digits, ", ""))
    Path("loud.yaml").write_text(GRID.replace("data: digits, ", "") + "fallback: digits\n")

    assert call_submit("real.yaml") == 2
    assert "train-images-idx3-ubyte" in capsys.readouterr().err
    assert call_submit("loud.yaml", "--only", "lr=0.1") == 0

    assert "ITS RUNS USE digits INSTEAD" in capsys.readouterr().err
    loud = read_states(GridFolder(folder.path.parent / "loud"), registry.states)
    assert {status.values["data"] for status in loud.values()} == {"digits"}


def test_a_dry_run_downloads_nothing(folder: GridFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted: list[str] = []
    monkeypatch.setattr(catalogue, "stage", lambda name, where: wanted.append(name))
    monkeypatch.setenv("ANLP_DATA", "nothing-here")
    Path("real.yaml").write_text(GRID.replace("data: digits, ", ""))

    assert call_submit("real.yaml", "-n") == 0

    assert wanted == []
    assert not Path("nothing-here").exists()


@pytest.mark.slow
def test_runs_that_read_broken_data_fail_in_words(tmp_path: Path) -> None:
    data = tmp_path / "data" / "mnist"
    data.mkdir(parents=True)
    for name in catalogue.CATALOGUE["mnist"].digests:
        (data / name).write_text("no images")
    text = (
        "task: mnist\nfixed: {epochs: 1, hidden: 8}\ngrid: "
        "{lr: [0.1, 0.01]}\nwandb: {mode: disabled}\n"
    )
    place = make_place(tmp_path, text, ANLP_DATA=str(data.parent))

    ended = place.submit()

    assert ended.code == 1
    assert ended.is_plain
    assert "not a readable idx file" in ended.err
    assert place.counts() == {RunState.FAILED: 2}


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["--lr", "0.1"], "did you mean '--set lr=0.1'?"),
        (["--batch-size=32"], "did you mean '--set batch_size=32'?"),
        (["--learning-rate", "0.1"], "did you mean '--set lr=0.1'?"),
        (["--see", "3"], "did you mean '--seeds'?"),
    ],
)
def test_a_setting_given_as_an_option_is_what_set_is_for(words: list[str], hint: str) -> None:
    with pytest.raises(UserError) as caught:
        submit.main(["demo", *words])

    assert hint in str(caught.value)


def test_a_shipped_grid_is_found_by_its_name_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANLP_RUNS", str(tmp_path / "runs"))

    assert submit.main(["demo", "--dry-run", "--time", "2 hours", "--on", "local"]) == 0
    assert capsys.readouterr().out.startswith("demo: ")
