from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from anlp.core import lease
from anlp.core.errors import UserError
from anlp.records.folders import GridFolder
from jobs import cancel, explain
from jobs.schedulers.base import Cause, JobHandle, parse_signal, signal_name
from tests.support.grids import a_spec, an_error, fail, finish, log_epochs, lose, start, submit


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GridFolder:
    monkeypatch.setenv("ANLP_RUNS", str(tmp_path))
    return GridFolder(tmp_path / "demo")


def show(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert explain.main(arguments) == 0
    return capsys.readouterr().out


def test_a_failed_run_is_explained_by_its_exception_and_log(
    folder: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    specs = [a_spec(lr=0.1), a_spec(lr=0.2)]
    tag = submit(folder, specs)
    run = fail(folder, specs[0], tag, an_error(epoch=3))
    start(folder, specs[0]).release(ending="failed")
    run.log.write_text("epoch 3\nsomething odd\n")

    for _ in range(2):  # from its folder, then through the cache
        text = show(capsys, specs[0].run_id)
        assert (
            f"{specs[0].run_id} of demo: failed, ValueError: "
            "bad shape at epoch 3 in loop.py:88, step" in text
        )
    assert f"python -m jobs.retry demo --only id={specs[0].run_id}" in text
    assert "settings that vary in the grid\n  lr=0.1\n" in text
    assert f"process {os.getpid()} on {lease.Process.this().host}" in text
    assert text.endswith("last lines of its log\n  epoch 3\n  something odd\n")


def test_a_queued_run_says_what_is_before_it(
    folder: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    specs = [a_spec(seed=seed) for seed in range(5)]
    tag = submit(folder, specs)
    submit(folder, [a_spec(seed=9)])
    finish(folder, specs[0], tag)
    start(folder, specs[1])

    assert "queued, the next of its submission; 1 run under way" in show(
        capsys, "demo", specs[2].run_id
    )
    assert "queued, behind 2 queued runs of its submission; 1 run under way" in show(
        capsys, "demo", specs[4].run_id
    )


def test_a_queued_run_that_was_cancelled_says_so(
    folder: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = a_spec()
    submit(folder, [spec])
    cancel.main(["demo"])

    assert "queued, it was cancelled" in show(capsys, spec.run_id)


def test_a_submission_without_an_answer_is_mentioned(
    folder: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = a_spec()
    submit(folder, [spec], answered=False)

    assert "the scheduler has not confirmed the submission yet" in show(capsys, spec.run_id)


@pytest.mark.parametrize(
    ("cause", "detail", "head", "advice"),
    [
        (
            Cause.OUT_OF_MEMORY,
            "used 2.1 of 2.0 GiB",
            "lost, out of memory: used 2.1 of 2.0 GiB",
            "--mem",
        ),
        (Cause.TIMEOUT, "", "lost, time limit", "--time"),
        (
            Cause.SIGNAL,
            "signal 9 (SIGKILL)",
            "lost, killed by signal 9 (SIGKILL)",
            "out-of-memory killer",
        ),
        (Cause.SIGNAL, "SIGUSR1", "lost, killed by SIGUSR1", "sent it SIGUSR1"),
        (Cause.NODE, "node7", "lost, node failure: node7", "Its node failed"),
        (Cause.EXIT, "exit code 70", "lost, exit code 70", "last lines of its log"),
        (Cause.UNKNOWN, "", "lost, unknown", "There is no record"),
        (Cause.CANCELLED, "", "interrupted, cancelled", "It was cancelled"),
        (Cause.LAUNCHER, "", "interrupted, its launcher ended", "Ctrl-C"),
        (Cause.CONTINUE, "", "interrupted, asked to be continued", "saved a checkpoint"),
    ],
)
def test_what_ended_a_run_comes_with_what_to_do(
    folder: GridFolder,
    capsys: pytest.CaptureFixture[str],
    cause: Cause,
    detail: str,
    head: str,
    advice: str,
) -> None:
    spec = a_spec()
    lose(folder, submit(folder, [spec]), 0, cause, detail)

    text = show(capsys, spec.run_id)

    assert f"{spec.run_id} of demo: {head}\n" in text
    assert advice in text
    assert ("python -m jobs.retry" in text) == ("lost" in head)


@pytest.mark.parametrize(
    ("kind", "message", "advice"),
    [
        ("OutOfMemoryError", "CUDA out of memory. Tried", "Lower batch_size"),
        ("FileNotFoundError", "no data", "A file was missing"),
        ("KeyError", "'x'", "It raised an exception"),
    ],
)
def test_advice_on_a_failure_follows_its_type(
    folder: GridFolder, capsys: pytest.CaptureFixture[str], kind: str, message: str, advice: str
) -> None:
    spec = a_spec()
    fail(folder, spec, submit(folder, [spec]), an_error(kind, message))

    assert advice in show(capsys, spec.run_id)


def test_attempts_are_listed_with_their_ends(
    folder: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = a_spec()
    submit(folder, [spec])
    start(folder, spec).release(ending="interrupted")
    killed = start(folder, spec)
    killed.path.write_text(
        json.dumps({**killed.record, "started": 1})
    )  # its process is another one by now
    log_epochs(folder, spec, [0.1, 0.2])
    folder.run(spec.run_id).checkpoint.write_text("")
    start(folder, spec)

    form = json.loads(show(capsys, spec.run_id, "--json"))
    text = show(capsys, spec.run_id)

    assert [(attempt["number"], attempt["ending"]) for attempt in form["attempts"]] == [
        (1, "interrupted"),
        (2, "killed"),
        (3, "running"),
    ]
    assert "checkpoint  saved: the next attempt continues from it" in text
    assert "epoch=1 val/acc=0.2" in text


def test_json_says_the_same_for_programs(
    folder: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = a_spec()
    fail(folder, spec, submit(folder, [spec]), an_error())

    form = json.loads(show(capsys, "demo", spec.run_id, "--json"))

    assert (form["id"], form["grid"], form["state"]) == (spec.run_id, "demo", "failed")
    assert form["arose"] == "loop.py:88 in step"
    assert form["wandb"] == {"mode": "auto", "project": "anlp", "group": ""}
    assert form["command"].startswith("python -m jobs.retry demo")
    assert form["log"][-1] == "ValueError: bad shape"


def test_a_finished_run_needs_no_advice(
    folder: GridFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = a_spec()
    finish(folder, spec, submit(folder, [spec]), **{"val/acc": 0.123456789})

    text = show(capsys, spec.run_id)

    assert text.startswith(f"{spec.run_id} of demo: done\n\n")
    assert "val/acc=0.12346" in text
    assert "retry" not in text


def test_a_wrong_name_is_one_sentence(folder: GridFolder) -> None:
    submit(folder, [a_spec()])

    with pytest.raises(UserError, match=r"no run in .* has an id that begins so"):
        explain.main(["zzz"])
    with pytest.raises(UserError, match="lists the options"):
        explain.main(["a", "b", "c"])


@pytest.mark.parametrize(
    ("detail", "number", "name"),
    [
        ("signal 9 (SIGKILL)", 9, "SIGKILL"),
        ("SIGSEGV", 11, "SIGSEGV"),
        ("signal 250", 250, "a signal"),
        ("", None, "a signal"),
    ],
)
def test_signals_are_read_from_what_a_scheduler_says(
    detail: str, number: int | None, name: str
) -> None:
    assert parse_signal(detail) == number
    assert signal_name(number) == name


def test_a_job_is_named_as_its_scheduler_names_it() -> None:
    assert explain.render_handle(JobHandle("slurm", "4711", 3)) == "slurm, job 4711, element 3"
