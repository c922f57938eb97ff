"""Every command prints in any encoding, at any width, into pipes and on plain terminals."""

from __future__ import annotations

import codecs
import io
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from anlp.console import stdio
from anlp.console.command import run_command
from anlp.console.verbs import verbs_of
from anlp.records.folders import GridFolder
from tests.support.quick_runner import call_submit
from tests.support.small_study import make_folder  # noqa: F401 - a fixture
from tests.support.submits import PATIENCE_S

COMMANDS = (
    ("jobs.submit", "study.yaml", "-n"),
    ("jobs.status", "study"),
    ("jobs.status", "study", "--all"),
    ("jobs.logs", "study", "RUN"),
    ("jobs.explain", "study", "RUN"),
    ("jobs.retry", "study", "-n"),
    ("jobs.cancel", "study", "-y"),
    ("analysis.tables", "study", "--format", "text"),
    ("analysis.tables", "study"),
    ("analysis.convergence", "study", "--chance", "0.1", "--samples", "100"),
    ("analysis.importance", "study"),
    ("analysis.parallel", "study"),
    ("anlp.__main__",),
    ("jobs.__main__",),
    ("analysis.__main__",),
)


class Terminal(io.TextIOWrapper):
    """A terminal whose screen is its buffer."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def study(folder: GridFolder, monkeypatch: pytest.MonkeyPatch) -> GridFolder:
    monkeypatch.setenv("QUICK_FAIL", "0.3")
    assert call_submit("study.yaml", "-q") == 1
    log = next(folder.path.glob("*/log.txt"))
    log.write_text("loss 0.5 ± 0.1 → schön ∎ 語学\n", encoding="utf-8")
    return folder


def call(stream: io.TextIOWrapper, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a command with this stdout; return what it printed."""
    module, *arguments = words
    main = import_module(module).main
    stream.reconfigure(errors="strict")
    before, said_as_bytes = sys.stdout, io.BytesIO()
    errors = io.TextIOWrapper(said_as_bytes, encoding=stream.encoding)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        patch.setattr(sys, "stderr", errors)
        code = run_command(lambda: int(main(arguments)))
        assert sys.stdout is stream
        stream.flush()
    assert sys.stdout is before
    errors.flush()
    said = said_as_bytes.getvalue().decode(stream.encoding)
    assert code in (0, 1), (words, said)
    assert "Traceback" not in said
    printed: str = stream.buffer.getvalue().decode(stream.encoding)  # type: ignore[attr-defined]  # BytesIO
    return printed


def with_run(words: tuple[str, ...], folder: GridFolder) -> tuple[str, ...]:
    run = next(folder.path.glob("*/log.txt")).parent.name
    return tuple(run if word == "RUN" else word for word in words)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_every_command_prints_in_any_encoding(
    encoding: str, study: GridFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for words in COMMANDS:
        stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        assert call(stream, with_run(words, study), monkeypatch).strip(), words
    for verb in verbs_of():
        text = import_module(verb.module).make_arguments().format_help()
        codecs.lookup(encoding).encode(text.translate(stdio._SPELLINGS), stdio.PLAIN)


def test_what_an_encoding_has_not_got_is_spelled_out(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)

    assert run_command(lambda: print("2 × 0.9 ± 0.1 → schön, \udcff") or 0) == 0

    stream.flush()
    assert stream.buffer.getvalue() == b"2 x 0.9 +- 0.1 -> sch?n, ?\n"


@pytest.mark.parametrize("columns", [1, 20, 300])
def test_every_command_prints_at_any_width(
    columns: int, study: GridFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    for words in COMMANDS:
        stream = Terminal(io.BytesIO(), encoding="utf-8")
        assert call(stream, with_run(words, study), monkeypatch).strip(), words


@pytest.mark.parametrize(
    ("variable", "value", "escapes"),
    [("TERM", "dumb", ()), ("TERM", "", ()), ("NO_COLOR", "1", ("\x1b[1m", "\x1b[0m"))],
)
def test_a_terminal_without_escapes_or_colour_gets_none(
    variable: str,
    value: str,
    escapes: tuple[str, ...],
    study: GridFolder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv(variable, value)
    for words in COMMANDS:
        stream = Terminal(io.BytesIO(), encoding="utf-8")
        text = call(stream, with_run(words, study), monkeypatch)
        for escape in escapes:
            text = text.replace(escape, "")
        assert "\x1b" not in text, words


@pytest.mark.slow
def test_a_closed_stdout_and_a_locale_without_utf8_change_nothing(study: GridFolder) -> None:
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for shell in ("exec {} >&-", "exec {} >&- 2>&- <&-", "{} | head -n 1", "exec {}"):
        for module in ("jobs.status", "analysis.tables"):
            command = shell.format(f"{sys.executable} -m {module} study")
            done = subprocess.run(
                ["sh", "-c", command],
                env=environment,
                capture_output=True,
                timeout=PATIENCE_S,
            )
            assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr


def test_the_plan_is_in_a_pipe_before_the_progress(study: GridFolder, tmp_path: Path) -> None:
    code = (
        "import sys; from anlp.console.command import run_command\n"
        "def main():\n  print('plan'); print('progress', file=sys.stderr); return 0\n"
        "sys.exit(run_command(main, outlives_reader=True))"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )

    assert done.stdout == "plan\nprogress\n"
