from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from anlp.core.errors import UserError
from anlp.core.spec import RunSpec
from anlp.records.folders import GridFolder
from jobs import explain, logs, status
from jobs.runs import logs as run_logs
from jobs.runs.logs import tail
from jobs.schedulers.base import Cause
from tests.support.grids import (
    GONE,
    a_spec,
    an_error,
    fail,
    finish,
    lose,
    start,
    submit,
    wait_until,
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GridFolder:
    monkeypatch.setenv("ANLP_RUNS", str(tmp_path))
    return GridFolder(tmp_path / "demo")


def write_log(folder: GridFolder, spec: RunSpec, text: str) -> None:
    run = folder.run(spec.run_id)
    run.path.mkdir(parents=True, exist_ok=True)
    with run.log.open("a") as file:
        file.write(text)


def show(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert logs.main(arguments) == 0
    return capsys.readouterr().out


def test_the_last_lines_of_a_run_are_shown(
    folder: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = a_spec()
    submit(folder, [spec])
    write_log(folder, spec, "".join(f"line {number}\n" for number in range(100)))

    assert show(capsys, "demo", spec.run_id, "-n", "2") == "line 98\nline 99\n"
    assert len(show(capsys, "demo", spec.run_id).splitlines()) == 50


def test_a_run_is_found_by_the_beginning_of_its_id_in_any_grid(
    folder: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    specs = [a_spec(seed=seed) for seed in range(3)]
    submit(GridFolder(folder.path.with_name("other")), specs[:2])
    submit(folder, specs[2:])
    write_log(folder, specs[2], "hello\n")

    assert show(capsys, specs[2].run_id[:8]) == "hello\n"


def test_a_run_of_two_grids_must_be_named_with_its_grid(
    folder: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = a_spec()
    for name in ("demo", "other"):
        submit(GridFolder(folder.path.with_name(name)), [spec])

    with pytest.raises(
        UserError,
        match=rf"2 grids have such a run \(demo, other\); say which: .*GRID {spec.run_id}",
    ):
        logs.main([spec.run_id])
    assert "queued and has written nothing" in show(capsys, "other", spec.run_id)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["demo"], "demo is a grid; name a run of it, too"),
        (["zzz"], r"no run in .* has an id that begins so"),
        (["demo", "zzz"], "no run of this grid has an id that begins so"),
        (["demo", ""], "2 runs begin so"),
        (["dmeo", "1"], "did you mean 'demo'"),
        (["dmeo", "--failed"], "did you mean 'demo'"),
    ],
)
def test_a_wrong_name_is_one_sentence(
    folder: GridFolder, arguments: list[str], sentence: str
) -> None:
    submit(folder, [a_spec(seed=0), a_spec(seed=1)])

    with pytest.raises(UserError, match=sentence):
        logs.main(arguments)


@pytest.mark.parametrize(
    "arguments",
    [[], ["a", "b", "c"], ["demo", "x", "--failed"], ["x", "-n", "0"], ["demo", "--failed", "-f"]],
)
def test_a_wrong_command_line_is_a_usage_error(folder: GridFolder, arguments: list[str]) -> None:
    with pytest.raises(UserError, match=r"\(python -m jobs.logs --help lists the options\)$"):
        logs.main(arguments)


def test_a_failed_run_without_a_log_shows_its_traceback(
    folder: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = a_spec()
    fail(folder, spec, submit(folder, [spec]), an_error())

    for _ in range(
        2
    ):  # the second time the grid's state comes from the cache, which has no tracebacks
        text = show(capsys, "demo", spec.run_id)
        assert text.startswith("Traceback (most recent call last):\n")
        assert text.endswith("ValueError: bad shape\n")


def test_failed_shows_one_log_of_each_kind_and_names_the_others(
    folder: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    specs = [a_spec(seed=seed) for seed in range(5)]
    tag = submit(folder, specs)
    for spec in specs[:3]:
        fail(folder, spec, tag, an_error())
        write_log(folder, spec, f"words of {spec.run_id}\n")
    lose(folder, tag, 3, Cause.SIGNAL, "signal 9")
    finish(folder, specs[4], tag)

    text = show(capsys, "demo", "--failed")

    assert "== 3x ValueError: bad shape at epoch 0" in text
    assert text.count("words of") == 1
    assert f"-- 2 alike: {specs[1].run_id} {specs[2].run_id}" in text
    assert f"{specs[3].run_id} is lost (killed by signal 9) and has written nothing" in text
    assert specs[4].run_id not in text


def test_json_has_the_last_lines_of_a_run(
    folder: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = a_spec()
    submit(folder, [spec])
    write_log(folder, spec, "one\ntwo\nthree\n")

    shown = json.loads(show(capsys, "demo", spec.run_id, "--json", "-n", "2"))

    log = str(folder.run(spec.run_id).log)
    assert shown == {"id": spec.run_id, "state": "queued", "log": log, "lines": ["two", "three"]}


def test_failed_takes_a_filter_and_json(
    folder: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    specs = [a_spec(seed=seed) for seed in range(3)]
    tag = submit(folder, specs)
    for spec in specs:
        fail(folder, spec, tag, an_error())
        write_log(folder, spec, f"words of {spec.run_id}\n")

    (group,) = json.loads(show(capsys, "demo", "--failed", "--json", "--only", "seed>=1"))

    assert group["id"] == specs[1].run_id
    assert group["lines"] == [f"words of {specs[1].run_id}"]
    assert group["alike"] == [specs[2].run_id]


@pytest.mark.parametrize("words", [["-f", "--json"], ["-f", "--failed"], ["--only", "seed=1"]])
def test_options_of_logs_that_exclude_each_other_are_refused(
    folder: GridFolder, words: list[str]
) -> None:
    spec = a_spec()
    submit(folder, [spec])

    with pytest.raises(UserError, match=r"exclude|goes with"):
        logs.main(["demo", spec.run_id, *words])


def test_failed_needs_no_grid_where_there_is_only_one(
    folder: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    submit(folder, [a_spec()])

    assert show(capsys, "--failed") == "demo: no run failed or was lost\n"

    submit(GridFolder(folder.path.with_name("other")), [a_spec()])
    with pytest.raises(UserError, match=r"say of which grid: .*grids: demo, other"):
        logs.main(["--failed"])


def test_following_a_run_that_has_ended_ends_at_once(
    folder: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = a_spec()
    finish(folder, spec, submit(folder, [spec]))
    write_log(folder, spec, "all is said\n")

    assert show(capsys, "-f", spec.run_id) == f"all is said\n-- {spec.run_id} is done\n"


@pytest.mark.slow
def test_following_shows_what_is_added_until_the_run_ends(
    folder: GridFolder, tmp_path: Path
) -> None:
    spec = a_spec()
    tag = submit(folder, [spec])
    held = start(folder, spec)
    write_log(folder, spec, "one\n")
    out = tmp_path / "out"
    with out.open("w") as file:
        follower = subprocess.Popen(
            [sys.executable, "-m", "jobs.logs", spec.run_id, "-f"], stdout=file, env=os.environ
        )

    wait_until(out, "one\n")
    write_log(folder, spec, "two\n")
    wait_until(out, "two\n")
    write_log(folder, spec, "three\n")
    finish(folder, spec, tag)
    held.release(ending="done")

    assert follower.wait(timeout=120) == 0
    assert out.read_text() == f"one\ntwo\nthree\n-- {spec.run_id} is done\n"


def test_following_ends_when_the_launcher_is_dead(
    folder: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = a_spec()
    submit(folder, [spec], launcher=GONE)

    assert show(capsys, "-f", spec.run_id).endswith(f"-- {spec.run_id} is interrupted\n")


@pytest.mark.parametrize("block", [1, 7, 1 << 16])
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", []),
        ("a", ["a"]),
        ("a\n", ["a"]),
        ("a\nb\nc\n", ["b", "c"]),
        ("a\nb\nc", ["b", "c"]),
        ("a\n\n\n", ["", ""]),
        ("größe\nprogress 1\rprogress 2\n", ["progress 1", "progress 2"]),
        ("größe\r\nprogress 1\r\rprogress 2\r\n", ["progress 1", "progress 2"]),
        ("a\r\nb\r\n", ["a", "b"]),
    ],
)
def test_the_tail_is_the_same_however_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int, content: str, expected: list[str]
) -> None:
    monkeypatch.setattr(run_logs, "BLOCK", block)
    path = tmp_path / "log.txt"
    path.write_bytes(content.encode())

    assert tail(path, 2) == expected


def test_the_tail_of_no_file_is_empty(tmp_path: Path) -> None:
    assert tail(tmp_path / "none", 5) == []


STEERING = "\x1b[31mred\x1b[0m \x1b]0;title\x07\x1b[2J\x1bPq\x1b\\\x1b[10;10Hat \x9b5n\x08"


def test_only_colours_of_a_log_reach_the_terminal(
    folder: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    finish(folder, a_spec(), submit(folder, [a_spec()]))
    write_log(folder, a_spec(), f"{STEERING}\n")

    text = show(capsys, a_spec().run_id)

    assert text == "\x1b[31mred\x1b[0m at  \x1b[0m\n"


def test_nothing_of_a_log_or_a_message_steers_the_terminal_of_explain_and_status(
    folder: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    tag = submit(folder, [a_spec()])
    fail(folder, a_spec(), tag, an_error(message=STEERING))
    write_log(folder, a_spec(), f"{STEERING}\n")

    for command, arguments in ((explain, [a_spec().run_id]), (status, [folder.name])):
        assert command.main(arguments) == 0
        text = capsys.readouterr().out
        assert "ValueError: red" in text
        assert not set(text) & set("\x1b\x9b\x08\x07")
