from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from anlp.console.verbs import verbs_of
from anlp.core.errors import UserError
from anlp.records.folders import GridFolder
from jobs import __main__ as jobs_main
from tests.support.grids import a_spec, submit

VERBS = verbs_of("jobs")


@pytest.mark.parametrize("arguments", [[], ["--help"], ["help"]])
def test_without_a_verb_the_commands_are_listed(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert jobs_main.main(arguments) == 0

    text = capsys.readouterr().out
    assert [verb.name for verb in VERBS if f"python -m {verb.module} " not in text] == []


def test_an_unknown_verb_is_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match="unknown command 'statsu' \\(did you mean 'status'"):
        jobs_main.main(["statsu"])


def test_a_verb_is_passed_its_arguments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ANLP_RUNS", str(tmp_path))
    submit(GridFolder(tmp_path / "demo"), [a_spec()])

    assert jobs_main.main(["status", "demo", "--only", "seed=0"]) == 0
    assert "demo: 1 of 1 run (seed=0)" in capsys.readouterr().out


@pytest.mark.parametrize("verb", [verb.name for verb in VERBS])
def test_every_command_explains_itself_with_examples(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        import_module(f"jobs.{verb}").main(["--help"])

    assert ended.value.code == 0
    assert f"examples:\n  python -m jobs.{verb} " in capsys.readouterr().out


def test_a_mistake_ends_with_code_2_and_one_line() -> None:
    done = subprocess.run([sys.executable, "-m", "jobs", "cancle"], capture_output=True, text=True)

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
