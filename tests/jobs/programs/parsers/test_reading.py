"""The arguments of programs: read from the source, or told by the program's own parser."""

from __future__ import annotations

import os
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from anlp.core.errors import UserError
from jobs.programs.parsers import asking, reading
from jobs.programs.parsers.arguments import Argument, arguments_of, refusal
from jobs.programs.parsers.asking import ask
from jobs.programs.parsers.reading import ProgramArguments, read_arguments
from jobs.programs.parsers.source import Source
from jobs.programs.parsers.static_parser import read_source

Read = Callable[..., ProgramArguments]

MNIST = """\
import argparse
import torch

def main():
    parser = argparse.ArgumentParser(description="an example")
    parser.add_argument("--batch-size", type=int, default=64, metavar="N", help="…")
    parser.add_argument("--lr", type=float, default=1, help="…")
    parser.add_argument("--gamma", type=float, default=0.7)
    parser.add_argument("--no-cuda", action="store_true", default=False)
    parser.add_argument("--model", choices=["small", "large"], default="small")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--save-model", action="store_true")
    args = parser.parse_args()
    torch.manual_seed(args.seed)

if __name__ == "__main__":
    main()
"""


class Said(list[str]):
    def __call__(self, sentence: str) -> None:
        self.append(sentence)


@pytest.fixture
def said() -> Said:
    return Said()


@pytest.fixture
def read(tmp_path: Path, said: Said) -> Read:
    def reading(text: str, cache: Path | None = None) -> ProgramArguments:
        program = tmp_path / "train.py"
        program.write_text(textwrap.dedent(text))
        return read_arguments(program, sys.executable, cache, say=said)

    return reading


def one(found: ProgramArguments, name: str) -> Argument:
    return found.arguments[name]


def body(declarations: str) -> str:
    """A program whose parser has these arguments."""
    return (
        "import argparse\nparser = argparse.ArgumentParser()\n"
        + textwrap.dedent(declarations)
        + "\nargs = parser.parse_args()\n"
    )


def test_a_plain_program_is_read_without_being_run(read: Read, said: Said) -> None:
    found = read(MNIST.replace("import torch", "import a_module_that_is_not_there"))

    assert found.how == "static"
    assert found.is_complete
    assert not found.note
    assert not said
    assert list(found.arguments) == [
        "batch_size",
        "lr",
        "gamma",
        "no_cuda",
        "model",
        "seed",
        "save_model",
    ]
    assert one(found, "batch_size") == Argument(
        name="batch_size",
        flag="--batch-size",
        kind=int,
        choices=(),
        default=64,
        has_default=True,
        is_required=False,
        style="value",
        line=6,
    )
    lr, model = one(found, "lr"), one(found, "model")
    assert (lr.kind, lr.default, type(lr.default)) == (float, 1.0, float)
    assert (model.kind, model.choices, model.default) == (str, ("small", "large"), "small")
    assert (one(found, "no_cuda").style, one(found, "no_cuda").default) == ("store_true", False)


# One call each: the kind, default, style and choices of the argument `x` (`None`: no default).
CALLS = [
    ('"--x", type=int, default="3"', int, 3, "value", ()),
    ('"--x", type=float, default=1', float, 1.0, "value", ()),
    ('"--x", default=3', int, 3, "value", ()),
    ('"--x"', str, None, "value", ()),
    ('"-x"', str, None, "value", ()),
    ('"-y", "--x", "--y", type=int', int, None, "value", ()),
    ('"--eks", dest="x"', str, None, "value", ()),
    ('"--x", type=str, default=None', str, None, "value", ()),
    ('"--x", type=int, default=argparse.SUPPRESS', int, None, "value", ()),
    ('"--x", type=float, default=float("inf")', float, None, "value", ()),
    ('"--x", type=int, default=2**10', int, 1024, "value", ()),
    ('"--x", type=float, default=-1e-3', float, -0.001, "value", ()),
    ('"--x", type=int, choices=range(1, 4), default=1', int, 1, "value", (1, 2, 3)),
    ('"--x", choices=("a", "b"), required=True', str, None, "value", ("a", "b")),
    ('"--x", type=int, choices=[1, 2], default=5', int, None, "value", (1, 2)),
    ('"--x", action="store_true"', bool, False, "store_true", ()),
    ('"--x", action="store_false"', bool, True, "store_false", ()),
    ('"--x", action="store_true", default=True', bool, True, "store_true", ()),
    ('"--x", action="store_const", const=7', bool, False, "store_true", ()),
    ('"--x", action="count", default=0', bool, False, "store_true", ()),
    (
        '"--x", action=argparse.BooleanOptionalAction, default=True',
        bool,
        True,
        "optional_boolean",
        (),
    ),
    ('"--x", action=argparse.BooleanOptionalAction', bool, None, "optional_boolean", ()),
    ('"--x", nargs="+", type=int, default=[64, 128]', str, "64 128", "words", ()),
    ('"--x", nargs=2, type=float', str, None, "words", ()),
    ('"--x", nargs="*", default=[]', str, None, "words", ()),
    ('"--x", nargs=argparse.REMAINDER', str, None, "words", ()),
    ('"--x", nargs="?", const="auto", default="no"', str, "no", "value", ()),
    ('"--x", nargs=1, type=int', int, None, "value", ()),
    ('"--x", action="append", type=int, default=[1]', int, None, "value", ()),
    ('"x"', str, None, "positional", ()),
    ('"x", nargs="?", type=int, default=4', int, 4, "positional", ()),
    ('"--x", type=lambda text: int(text), default=4', int, 4, "value", ()),
    ('"--x", type=lambda text: float(text)', float, None, "value", ()),
    ('"--x", type=eval, default=0.5', float, 0.5, "value", ()),
    ('"--x", type=eval, default=5', str, "5", "value", ()),
    ('"--x", type=__import__("pathlib").Path, default="data"', str, "data", "value", ()),
]


@pytest.mark.parametrize(("call", "kind", "default", "style", "choices"), CALLS)
def test_what_a_call_declares(
    read: Read, call: str, kind: type, default: object, style: str, choices: tuple[object, ...]
) -> None:
    argument = one(read(body(f"parser.add_argument({call})")), "x")

    assert (argument.kind, argument.default, argument.style) == (kind, default, style)
    assert type(argument.default) is type(default)
    assert argument.choices == choices
    assert argument.has_default == (default is not None)
    assert argument.is_required == ("required" in call or call == '"x"')
    assert argument.line == 3


def test_the_program_itself_tells_the_same_as_its_source(tmp_path: Path) -> None:
    program = tmp_path / "train.py"
    calls = [
        call.replace('"x"', f'"x{index}"')
        .replace("--x", f"--x{index}")
        .replace("-x", f"-x{index}", call == '"-x"')
        .replace("--eks", f"--eks{index}")
        .replace('"-y", ', "")
        .replace('"--y"', f'"--y{index}"')
        for index, (call, *_) in enumerate(CALLS)
        if "lambda" not in call
    ]
    program.write_text(body("\n".join(f"parser.add_argument({call})" for call in calls[:-1])))

    read = read_source(Source(program.read_bytes(), "train.py"))
    told = ask(program, sys.executable, tmp_path, None)

    assert not told.error
    assert not read.missing
    ours, theirs = arguments_of(read.declarations), arguments_of(told.declarations)
    without_line = {name: (*_facts(argument),) for name, argument in ours.items()}
    assert without_line == {name: (*_facts(argument),) for name, argument in theirs.items()}


def _facts(argument: Argument) -> list[object]:
    names = [name for name in Argument.__slots__ if name != "line"]
    return [getattr(argument, name) for name in names]


@pytest.mark.parametrize(
    ("function", "kind", "booleans"),
    [
        ("lambda s: s.lower() in ('true', '1')", bool, ("true", "false")),
        ("lambda s: s == 'True'", bool, ("True", "False")),
        ("bool", bool, ("True", "")),
        ("str2bool", bool, ("yes", "no")),
        ("json.loads", str, ("true", "false")),
        ("positive_int", int, ("True", "False")),
        ("probability", float, ("True", "False")),
    ],
)
def test_functions_that_convert_are_judged_by_what_they_do(
    read: Read, function: str, kind: type, booleans: tuple[str, str]
) -> None:
    text = f"""\
        import argparse, json
        def str2bool(text):
            if text in ("yes", "y"):
                return True
            if text in ("no", "n"):
                return False
            raise argparse.ArgumentTypeError(text)
        def probability(text):
            number = float(text)
            return number
        parser = argparse.ArgumentParser()
        parser.add_argument("--x", type={function})
        parser.parse_args()
        """

    argument = one(read(text), "x")

    assert (argument.kind, argument.booleans) == (kind, booleans)


def test_an_argument_without_type_and_a_truth_as_default_is_false_when_empty(read: Read) -> None:
    argument = one(read(body('parser.add_argument("--amp", default=False)')), "amp")

    assert (argument.kind, argument.booleans) == (bool, ("True", ""))


def test_groups_functions_parents_constants_and_subclasses_are_followed(
    read: Read, said: Said
) -> None:
    found = read("""\
        from argparse import ArgumentParser as Parser
        LR = 0.1
        SIZES = {"small": 1, "large": object()}
        COMMON = dict()
        SHARED = {"type": int, "default": 5}

        class Own(Parser):
            def __init__(self):
                super().__init__()
                self.add_argument("--own", type=int)

        def add_model(group, prefix=""):
            group.add_argument("--model", choices=list(SIZES.keys()))

        def never_called(parser):
            parser.add_argument("--old")

        base = Parser(add_help=False)
        base.add_argument("--common", type=int, default=1)

        def get_parser():
            parser = Own(parents=[base])
            group = parser.add_argument_group("model")
            add_model(group)
            either = group.add_mutually_exclusive_group(required=True)
            either.add_argument("--lr", type=float, default=LR)
            parser.add_argument_group("more").add_argument("--more", **SHARED)
            parser.set_defaults(lr=0.2, func=print)
            return parser

        if __name__ == "__main__":
            parser = get_parser()
            parser.parse_args()
        """)

    assert (found.how, found.is_complete, said) == ("static", True, [])
    assert set(found.arguments) == {"own", "common", "model", "lr", "more"}
    assert one(found, "model").choices == ("small", "large")
    assert one(found, "lr").default == 0.2
    assert (one(found, "more").kind, one(found, "more").default) == (int, 5)


def test_a_default_that_is_computed_is_not_known(read: Read) -> None:
    found = read("""\
        import argparse, os
        WORKERS = os.cpu_count()
        RATES = [0.1]
        RATES.append(0.2)
        parser = argparse.ArgumentParser()
        parser.add_argument("--workers", type=int, default=WORKERS)
        parser.add_argument("--home", default=os.environ.get("HOME", "x"))
        parser.add_argument("--rates", default=RATES, nargs="+")
        parser.add_argument("--lr", type=float, default=0.1)
        parser.parse_args()
        """)

    assert found.is_complete
    assert [name for name, each in found.arguments.items() if each.has_default] == ["lr"]


def test_defaults_that_a_configuration_file_may_change_are_not_known(read: Read) -> None:
    found = read(
        body("""\
        parser.add_argument("--config")
        parser.add_argument("--lr", type=float, default=0.1)
        known, rest = parser.parse_known_args()
        if known.config:
            parser.set_defaults(**load(known.config))
        """)
    )

    assert not one(found, "lr").has_default
    assert found.is_complete  # the last word has parse_args


def test_switches_that_share_a_dest(read: Read) -> None:
    found = read(
        body("""\
        parser.add_argument("--amp", action="store_true", default=True)
        parser.add_argument("--no-amp", dest="amp", action="store_false")
        parser.add_argument("--adam", dest="optimizer", action="store_const", const="adam")
        parser.add_argument("--sgd", dest="optimizer", action="store_const", const="sgd")
        """)
    )

    assert list(found.arguments) == ["amp", "adam", "sgd"]
    amp = one(found, "amp")
    assert (amp.style, amp.flag, amp.default) == ("optional_boolean", "--amp", True)
    assert one(found, "sgd").style == "store_true"


def test_arguments_of_subcommands_are_known_but_not_all(read: Read) -> None:
    found = read(
        body("""\
        commands = parser.add_subparsers()
        train = commands.add_parser("train")
        train.add_argument("--lr", type=float, default=0.1)
        train.add_argument("--data", required=True)
        test = commands.add_parser("test")
        test.add_argument("--lr", type=float, default=0.2)
        """)
    )

    assert not found.is_complete
    assert "subcommands" in found.note
    assert (one(found, "lr").kind, one(found, "lr").has_default) == (float, False)
    assert not one(found, "data").is_required


def test_a_program_that_ignores_unknown_names_is_not_complete(read: Read) -> None:
    found = read("""\
        import argparse
        parser = argparse.ArgumentParser()
        parser.add_argument("--lr", type=float)
        args, _ = parser.parse_known_args()
        """)

    assert (found.how, found.is_complete) == ("static", False)
    assert found.note == "train.py also takes arguments that its parser does not know"


LOOP = body("""\
    for name in ("lr", "momentum"):
        parser.add_argument(f"--{name}", type=float, default=0.5)
    """)


def test_names_made_in_a_loop_are_told_by_the_program(read: Read, said: Said) -> None:
    found = read(LOOP)

    assert (found.how, found.is_complete, found.note) == ("asked", True, "")
    assert {name: each.default for name, each in found.arguments.items()} == {
        "lr": 0.5,
        "momentum": 0.5,
    }
    assert said == [
        "asking train.py for its arguments, since the name of an argument is computed (line 4): it "
        "runs up to its parser, with its imports, for at most 20 s"
    ]


def test_a_parser_of_another_module_is_told_and_kept_while_both_files_are_the_same(
    read: Read, said: Said, tmp_path: Path
) -> None:
    text = "from options import get_parser\nargs = get_parser().parse_args()\n"
    options = tmp_path / "options.py"
    options.write_text(body('parser.add_argument("--lr", type=float)').replace("args =", "if 0:"))
    options.write_text(
        "import argparse\ndef get_parser():\n    parser = argparse.ArgumentParser()\n"
        '    parser.add_argument("--lr", type=float)\n    return parser\n'
    )
    cache = tmp_path / "cache"

    first = read(text, cache)
    again = read(text, cache)
    options.write_text(options.read_text().replace("--lr", "--rate"))
    changed = read(text, cache)

    assert first == again
    assert (first.how, list(first.arguments)) == ("asked", ["lr"])
    assert list(changed.arguments) == ["rate"]
    assert len(said) == 2
    assert said[0].startswith("asking train.py for its arguments, since its parser comes from opt")
    assert not list(tmp_path.glob("**/__pycache__"))


def test_modules_whose_files_do_not_exist_do_not_matter(read: Read) -> None:
    """torch names some of its modules by files that are not there."""
    found = read(
        "import sys, types\nmade = types.ModuleType('made')\nmade.__file__ = '_ops.py'\n"
        "sys.modules['made'] = made\n" + LOOP
    )

    assert (found.how, found.is_complete) == ("asked", True)


def test_a_function_of_another_module_may_add_arguments(read: Read, tmp_path: Path) -> None:
    (tmp_path / "lib.py").write_text(
        "def add(parser):\n    parser.add_argument('--width', type=int, default=3)\n"
    )

    found = read(
        "import argparse, os\nimport lib\nparser = argparse.ArgumentParser()\n"
        "parser.add_argument('--workers', type=int, default=len(os.sched_getaffinity(0)))\n"
        "lib.add(parser)\nparser.parse_args()\n"
    )

    assert found.how == "asked"
    assert one(found, "width").default == 3
    workers = one(found, "workers")
    assert (workers.has_default, workers.line) == (False, 4)  # another machine has other cores


def test_a_parser_that_makes_arguments_of_dataclasses_is_asked(read: Read, tmp_path: Path) -> None:
    """The shape of Hugging Face's: parse_known_args is called inside of it."""
    (tmp_path / "library.py").write_text(
        "import argparse, dataclasses\n"
        "class HfArgumentParser(argparse.ArgumentParser):\n"
        "    def __init__(self, kinds):\n"
        "        super().__init__()\n"
        "        for field in dataclasses.fields(kinds):\n"
        "            self.add_argument('--' + field.name, type=float, default=field.default)\n"
        "    def parse_args_into_dataclasses(self, args=None, return_remaining_strings=False):\n"
        "        return self.parse_known_args(args=args)\n"
    )
    text = (
        "from dataclasses import dataclass\nfrom library import HfArgumentParser\n"
        "@dataclass\nclass Settings:\n    lr: float = 0.1\n"
        "HfArgumentParser(Settings).parse_args_into_dataclasses({})\n"
    )

    strict, lax = read(text.format("")), read(text.format("return_remaining_strings=True"))

    assert (strict.how, strict.is_complete, one(strict, "lr").default) == ("asked", True, 0.1)
    assert not lax.is_complete


def test_defaults_of_this_machine_are_not_taken_from_an_asked_program(read: Read) -> None:
    found = read(
        "import argparse, datetime, os\nparser = argparse.ArgumentParser()\n"
        "for name, value in {'device': 'cpu', 'use_cuda': False, 'out': os.getcwd() + '/out',\n"
        "        'day': f'{datetime.datetime.now():%Y-%m-%d}', 'lr': 0.1, 'flag': False}.items():\n"
        "    parser.add_argument('--' + name, default=value)\n"
        "parser.parse_args()\n"
    )

    assert [name for name, each in found.arguments.items() if each.has_default] == ["lr", "flag"]


def test_literal_defaults_of_the_source_hold_for_an_asked_program_too(read: Read) -> None:
    found = read(
        "import os\n"
        + LOOP.replace(
            "for name",
            "parser.add_argument('--workers', type=int, default=2)\n"
            "parser.add_argument('--cuda', action='store_true')\n"
            "parser.add_argument('--cpus', type=int, default=os.cpu_count())\nfor name",
        )
    )

    assert found.how == "asked"
    assert one(found, "workers").default == 2
    assert one(found, "cuda").default is False
    assert not one(found, "cpus").has_default


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("print('training')\n", "train.py has no argument parser"),
        ("import sys\nlr = float(sys.argv[1])\n", "train.py reads sys.argv by hand"),
        (
            "import hydra\n@hydra.main(config_path='conf')\ndef main(cfg): ...\nmain()\n",
            "train.py is a Hydra app: use command: "
            '[python, "${program}", "${args_no_hyphens}"] for values as `name=value`',
        ),
        (
            "from lightning.pytorch.cli import LightningCLI\nLightningCLI()\n",
            "train.py uses LightningCLI: use command: "
            '[python, "${program}", fit, "${args}"] with names such as model.lr',
        ),
        ("import click\n@click.command()\ndef main(): ...\nmain()\n", "reads its options with c"),
        ("import typer\napp = typer.Typer()\napp()\n", "reads its options with typer"),
        ("from absl import app, flags\n", "reads its flags with absl"),
    ],
)
def test_other_ways_to_read_a_command_line_are_named(
    read: Read, said: Said, text: str, note: str
) -> None:
    found = read(text)

    assert (found.how, found.is_complete, dict(found.arguments)) == ("none", False, {})
    assert note in found.note
    assert not said  # a program without a parser would train instead of answering


@pytest.mark.parametrize(
    ("start", "reason"),
    [
        ("import not_there_at_all\n", "ModuleNotFoundError: No module named 'not_there_at_all'"),
        ("raise SystemExit('no data')\n", "it ended with exit code 'no data' before it read"),
        ("import os\nos._exit(7)\n", "it ended with exit code 7 before it read its arguments"),
        ("import os\nos.kill(os.getpid(), 9)\n", "it ended with exit code -9 before"),
    ],
)
def test_a_program_that_cannot_be_asked_is_known_in_part(
    read: Read, tmp_path: Path, start: str, reason: str
) -> None:
    cache = tmp_path / "cache"

    found = read(start + LOOP.replace("for", 'parser.add_argument("--seed")\nfor', 1), cache)

    assert (found.how, found.is_complete, list(found.arguments)) == ("static", False, ["seed"])
    assert found.note.startswith("train.py cannot be asked for its arguments: ")
    assert reason in found.note
    assert not cache.exists()  # the next try may do better


def test_a_program_that_takes_too_long_is_ended_with_all_that_it_started(
    read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "LIMIT_S", 1.0)
    found = read(
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "open('child.pid', 'w').write(str(child.pid))\ntime.sleep(60)\n" + LOOP
    )

    assert (found.how, found.is_complete) == ("none", False)
    assert "it did not read its arguments within 1 s" in found.note
    child = int((tmp_path / "child.pid").read_text())
    assert _ends(child)


def _ends(process: int) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


def test_a_process_that_the_program_forked_does_not_hold_up_the_answer(read: Read) -> None:
    began = time.monotonic()
    found = read("import os, time\nif os.fork() == 0:\n    time.sleep(60)\n" + LOOP)

    assert found.how == "asked"
    assert time.monotonic() - began < 10


def test_the_asked_program_sees_no_gpu_no_wandb_and_leaves_nothing(
    read: Read, tmp_path: Path
) -> None:
    before = {"train.py", "lib.py"}
    (tmp_path / "lib.py").write_text("import argparse\nArgumentParser = argparse.ArgumentParser\n")
    found = read(
        "import os, sys, tempfile, lib\n"
        "tempfile.mkstemp()\nprint('loud' * 100000)\nsys.stdin.read()\n"
        "parser = lib.ArgumentParser()\n"
        "for name in ('CUDA_VISIBLE_DEVICES', 'WANDB_MODE'):\n"
        "    parser.add_argument('--x' + name, default=os.environ[name])\n"
        "parser.add_argument('--argv', default=' '.join(sys.argv[1:]) or 'none')\n"
        "parser.parse_args()\nopen('trained', 'w')\n"
    )

    defaults = {name: each.default for name, each in found.arguments.items()}
    assert defaults == {"xCUDA_VISIBLE_DEVICES": "", "xWANDB_MODE": "disabled", "argv": "none"}
    assert set(os.listdir(tmp_path)) == before


def test_a_library_that_parses_a_text_of_its_own_is_not_the_answer(read: Read) -> None:
    found = read(
        "import argparse\nown = argparse.ArgumentParser()\nown.add_argument('--a')\n"
        "own.parse_args(['--a', '1'])\n" + LOOP.replace("import argparse\n", "")
    )

    assert list(found.arguments) == ["lr", "momentum"]


def test_a_first_parser_that_is_lax_does_not_hide_the_second(read: Read) -> None:
    found = read(
        "import argparse\nfirst = argparse.ArgumentParser(add_help=False)\n"
        "first.add_argument('--config')\nknown, rest = first.parse_known_args()\n" + LOOP
    )

    assert (found.how, found.is_complete) == ("asked", False)
    assert "config" in found.arguments


@pytest.mark.parametrize(
    ("text", "line"), [("x = 1\nfor:\n", 2), ("x = 1\n\nx = (1,\n", 3), ("\tx = 1\n  y\n", 1)]
)
def test_a_syntax_error_is_one_sentence_with_its_line(
    read: Read, tmp_path: Path, text: str, line: int
) -> None:
    with pytest.raises(UserError) as refused:
        read(text)

    assert str(refused.value).startswith(f"{tmp_path / 'train.py'}:{line}: not valid Python: ")
    assert "\n" not in str(refused.value)


def test_syntax_that_only_the_interpreter_of_the_program_knows_is_asked(
    tmp_path: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for an older Python here: parsing is refused, the interpreter accepts."""
    program, other = tmp_path / "train.py", tmp_path / "python"
    program.write_text(body('parser.add_argument("--lr", type=float)'))
    other.symlink_to(sys.executable)

    def refuse(content: bytes, name: str) -> Source:
        raise SyntaxError("invalid syntax", (name, 1, 1, "", 1, 1))

    monkeypatch.setattr(reading, "Source", refuse)
    found = read_arguments(program, str(other), None, say=said)

    assert (found.how, list(found.arguments)) == ("asked", ["lr"])
    program.write_text("x = 1\nfor:\n")
    with pytest.raises(UserError, match=r"train\.py:1: not valid Python: invalid syntax"):
        read_arguments(program, str(other), None, say=said)


def test_a_file_that_is_no_text_and_one_that_is_missing_are_refused(
    tmp_path: Path, said: Said
) -> None:
    binary = tmp_path / "train.py"
    binary.write_bytes(b"\x7fELF\x00\x00")

    with pytest.raises(UserError, match=r"train\.py: expected a program in Python: "):
        read_arguments(binary, sys.executable, None, say=said)
    with pytest.raises(UserError, match=r"missing\.py: cannot be read: No such file"):
        read_arguments(tmp_path / "missing.py", sys.executable, None, say=said)


def test_an_interpreter_that_is_not_there_is_a_note(tmp_path: Path, said: Said) -> None:
    program = tmp_path / "train.py"
    program.write_text(LOOP)

    found = read_arguments(program, "/nowhere/python", None, say=said)

    assert found.how == "none"
    assert "/nowhere/python cannot be started: No such file or directory" in found.note


def test_warnings_of_the_source_are_not_ours(read: Read) -> None:
    assert read(MNIST.replace("…", "\\d")).how == "static"


def test_what_a_switch_cannot_be_told_is_said(read: Read) -> None:
    found = read(
        body("""\
        parser.add_argument("--amp", action="store_true", default=True)
        parser.add_argument("--ema", action="store_true")
        parser.add_argument("--no-bar", dest="bar", action="store_false")
        parser.add_argument("--gpu", action="store_true", default=has_gpu())
        """)
    )

    assert refusal(one(found, "amp"), False) == (
        "--amp (action='store_true') can only set amp to true, which is its default, so "
        "false cannot be passed"
    )
    assert not refusal(one(found, "amp"), True)
    assert not refusal(one(found, "ema"), True)
    assert not refusal(one(found, "ema"), False)
    assert not refusal(one(found, "bar"), False)
    assert not refusal(one(found, "gpu"), False)
