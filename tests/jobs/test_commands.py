"""The edge of every command, of jobs and of analysis, and of `anlp`, which holds them all."""

from __future__ import annotations

import argparse
import ast
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import anlp
from anlp import __main__ as anlp_main
from anlp.console import debug_log
from anlp.console.command import run_command
from anlp.console.verbs import Verb, called_as, list_package, verbs_of
from anlp.core.errors import UserError
from jobs.common import external

VERBS = verbs_of()
NEED_NO_GRID = ("claims", "plot", "logs", "explain", "status")  # or name it in another way
OF_A_GRID = [verb for verb in VERBS if verb.name not in NEED_NO_GRID]
SHARED = ("--version", "--verbose")
COMPLETE = (
    "COMP_WORDS=({}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - "
    '1)); _shtab_anlp; echo "${{COMPREPLY[@]}}"'
)
each_verb = pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)


def call(verb: Verb, *words: str) -> int:
    return run_command(lambda: anlp_main.main([verb.name, *words]))


def arguments_of(verb: Verb) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = import_module(verb.module).make_arguments()
    return made


def options_of(verb: Verb) -> dict[str, argparse.Action]:
    return {
        name: action for action in arguments_of(verb)._actions for name in action.option_strings
    }


@pytest.fixture
def log() -> Iterator[logging.Logger]:
    """The logger of the debug log, quiet again behind the test."""
    logger = logging.getLogger(debug_log.ROOT)
    yield logger
    logger.handlers.clear()
    logger.setLevel(logging.NOTSET)
    logger.propagate = True


@each_verb
def test_every_help_has_examples_under_the_name_that_was_called(
    verb: Verb, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        anlp_main.main([verb.name, "--help"])

    text = capsys.readouterr().out
    assert ended.value.code == 0
    assert text.startswith(f"usage: anlp {verb.name} ")
    assert f"examples:\n  anlp {verb.name} " in text
    assert f"python -m {verb.module}" not in text

    with pytest.raises(SystemExit):
        import_module(verb.module).main(["--help"])
    text = capsys.readouterr().out
    assert text.startswith(f"usage: python -m {verb.module} ")
    assert f"examples:\n  python -m {verb.module} " in text


@pytest.mark.parametrize("verb", OF_A_GRID, ids=lambda verb: verb.name)
def test_a_missing_grid_is_one_sentence(verb: Verb, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(verb) == 2

    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"name a grid, as in `anlp {verb.name} GRID`: ")
    assert said.err.count("\n") == 1


@each_verb
def test_an_unknown_option_is_one_sentence(verb: Verb, capsys: pytest.CaptureFixture[str]) -> None:
    words = _positional_words(arguments_of(verb))

    assert call(verb, *words, "--frobnicate") == 2

    said = capsys.readouterr()
    assert said.out == ""
    assert "--frobnicate" in said.err
    assert f"anlp {verb.name} --help" in said.err
    assert said.err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--jsn"], "--jsn (did you mean '--json'? anlp status --help lists the options)"),
        (["--onyl=x"], "--onyl=x (did you mean '--only'? anlp status --help lists the options)"),
        (["--frobnicate"], "--frobnicate (anlp status --help lists the options)"),
    ],
)
def test_a_mistyped_option_is_answered_with_the_nearest(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(lambda: anlp_main.main(["status", "demo", *words])) == 2
    assert capsys.readouterr().err == f"unrecognized arguments: {said}\n"


def _positional_words(parser: argparse.ArgumentParser) -> list[str]:
    """A word for each positional argument."""
    words: list[str] = []
    for action in parser._get_positional_actions():
        if isinstance(action.choices, dict):  # parsers of kinds, as `plot` has them
            kind, of_kind = next(iter(action.choices.items()))
            words += [kind, *_positional_words(of_kind)]
        else:
            words.append("nothing")
    return words


@each_verb
def test_every_command_says_its_version(verb: Verb, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        import_module(verb.module).main(["--version"])

    assert ended.value.code == 0
    assert capsys.readouterr().out == f"anlp {anlp.__version__}\n"


@each_verb
def test_options_have_one_spelling(verb: Verb) -> None:
    options = options_of(verb)

    assert set(SHARED) <= set(options)
    assert [name for name in ("-o", "--out") if (name in options) != ("--out" in options)] == []
    if "--output" in options:
        assert options["--output"].help == argparse.SUPPRESS or "--out" in options
    if "--only" in options:
        assert (options["--only"].default, options["--only"].metavar) == ("", "FILTER")
    if "--yes" in options:
        assert options["--yes"] is options["-y"]


@each_verb
def test_every_module_has_the_entry_points(verb: Verb) -> None:
    module = import_module(verb.module)

    assert isinstance(module.make_arguments(), argparse.ArgumentParser)
    assert callable(module.main)
    assert callable(module.cli)


@pytest.mark.parametrize("words", [[], ["--help"], ["help"]])
def test_anlp_lists_its_verbs_by_stage(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert anlp_main.main(words) == 0

    text = capsys.readouterr().out
    lines = text.splitlines()
    assert [verb.name for verb in VERBS if f"  {verb.name} " not in text] == []
    assert [line for line in lines if line.endswith(":")] == [
        "train:",
        "watch:",
        "evaluate:",
        "draw:",
        "export:",
    ]
    assert max(map(len, lines)) < 100


def test_both_packages_list_their_own_verbs() -> None:
    assert "python -m jobs.status" in list_package("jobs")
    assert "python -m analysis.tables" in list_package("analysis")
    assert "analysis" not in list_package("jobs")


def test_an_unknown_verb_is_answered_with_the_nearest() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "anlp", "tabels"], capture_output=True, text=True, timeout=300
    )

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "unknown command 'tabels' (did you mean 'tables'?" in done.stderr


def test_an_option_before_the_verb_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(lambda: anlp_main.main(["--only", "x"])) == 2
    assert capsys.readouterr().err == (
        "--only: unknown option; name a verb first (anlp --help lists them)\n"
    )


def test_the_version_loads_nothing_heavy() -> None:
    code = (
        "import sys; from anlp.__main__ import main; main(['--version']); "
        "print(sorted({'torch', 'pandas', 'pydantic', 'yaml', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300
    )

    assert done.stdout == f"anlp {anlp.__version__}\n[]\n"


@pytest.mark.parametrize("shell", anlp_main.SHELLS)
def test_a_completion_script_knows_verbs_and_options(shell: str) -> None:
    pytest.importorskip("shtab", reason="pip install 'anlp[completion]'")

    script = anlp_main.completion_script(shell)

    assert [verb.name for verb in VERBS if verb.name not in script] == []
    assert "dry-run" in script


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("anlp stat", "status"),
        ("anlp status mn", "mnist-wide"),
        ("anlp tables mn", "mnist-wide"),
        ("anlp submit --dry", "--dry-run"),
    ],
)
def test_bash_completes_verbs_grids_and_options(tmp_path: Path, words: str, found: str) -> None:
    pytest.importorskip("shtab", reason="pip install 'anlp[completion]'")
    (tmp_path / "runs" / "mnist-wide").mkdir(parents=True)
    script = tmp_path / "anlp.bash"
    script.write_text(anlp_main.completion_script("bash"))

    done = subprocess.run(
        ["bash", "-c", f"source {script}; {COMPLETE.format(words)}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )

    assert (done.stdout, done.stderr) == (f"{found}\n", "")


@pytest.mark.parametrize("words", [[], ["fish"]])
def test_an_unknown_shell_is_one_sentence(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(lambda: anlp_main.main([anlp_main.COMPLETION, *words])) == 2
    assert "expected one of bash, zsh, tcsh" in capsys.readouterr().err


def test_a_missing_shtab_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)

    assert run_command(lambda: anlp_main.main([anlp_main.COMPLETION, "bash"])) == 2
    assert capsys.readouterr().err == (
        "--print-completion: shtab is not installed; pip install 'anlp[completion]'\n"
    )


def test_hints_name_the_verbs_of_the_command_that_was_called(tmp_path: Path) -> None:
    (tmp_path / "runs" / "g").mkdir(parents=True)
    nothing_yet = "g: nothing was submitted to this grid yet:"

    with pytest.raises(UserError) as under_one:
        anlp_main.main(["status", str(tmp_path / "runs" / "g")])
    with pytest.raises(UserError) as under_module:
        import_module("jobs.status").main([str(tmp_path / "runs" / "g")])

    assert str(under_one.value) == f"{nothing_yet} anlp submit FILE.yaml"
    assert str(under_module.value) == f"{nothing_yet} python -m jobs.submit FILE.yaml"


def test_no_module_writes_the_name_of_a_command_by_itself() -> None:
    """Examples of help are left, which `make_parser` renames, and docstrings."""
    modules = "|".join(verb.module for verb in verbs_of())
    spelled = re.compile(rf"python -m ({modules})\b")
    found = []
    for package in ("jobs", "anlp", "analysis"):
        for path in sorted(Path(package).rglob("*.py")):
            texts = printed_texts(ast.parse(path.read_text()))
            found += [f"{path}: {text[:60]}" for text in texts if spelled.search(text)]

    assert found == []


def printed_texts(tree: ast.Module) -> Iterator[str]:
    left = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) or (
            isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "EXAMPLES"
        ):
            left.add(id(node.value))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in left:
            yield node.value


def test_a_name_holds_only_while_it_is_called() -> None:
    with called_as("anlp"):
        assert import_module("jobs.status").make_arguments().prog == "anlp status"
    assert import_module("jobs.status").make_arguments().prog == "python -m jobs.status"


@pytest.mark.parametrize(
    ("words", "value", "is_on"),
    [([], "", False), ([], "0", False), ([], "1", True), (["-v"], "", True)],
)
def test_the_debug_log_is_on_where_it_is_asked_for(
    words: list[str],
    value: str,
    is_on: bool,
    monkeypatch: pytest.MonkeyPatch,
    log: logging.Logger,
) -> None:
    monkeypatch.setenv("ANLP_DEBUG", value)

    import_module("jobs.status").make_arguments().parse_args(["mnist", *words])

    assert log.isEnabledFor(logging.DEBUG) == is_on
    assert len(log.handlers) == is_on


def test_the_debug_log_hides_secrets(
    monkeypatch: pytest.MonkeyPatch, log: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef")
    debug_log.start()
    debug_log.start()

    log.debug("sent %s with api_key=%s and 'password': 'hunter2'", "0123456789abcdef", "short")

    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "sent *** with api_key=*** and 'password': ***" in said


def test_every_external_command_is_logged_with_its_time_and_answer(
    log: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    external.run(["echo", "quiet"])
    assert capsys.readouterr().err == ""
    debug_log.start()

    external.run(["sh", "-c", "echo 4711; echo held >&2; exit 3"])
    external.run(["no-such-program"])

    said = capsys.readouterr().err
    assert "sh -c 'echo 4711; echo held >&2; exit 3': exit code 3 after 0." in said
    assert "\n  out: 4711\n  err: held\n" in said
    assert "no-such-program: exit code 127 after 0." in said
