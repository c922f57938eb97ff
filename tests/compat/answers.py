"""Gives the commands of `commands.txt` and keeps what they answer: python answers.py PACKAGE RUNS
OUT.

All commands of a package run in one process, which imports pandas and matplotlib once. `record.sh`
runs this with the
code of then, the test with the code of now.
"""

from __future__ import annotations

import contextlib
import io
import runpy
import sys
import warnings
from pathlib import Path

COMMANDS = Path(__file__).with_name("commands.txt")


def read_commands(package: str) -> list[tuple[str, list[str]]]:
    """The name of the answer and the words of each command of a package."""
    lines = [
        line for line in COMMANDS.read_text().splitlines() if line and not line.startswith("#")
    ]
    named = [line.split("\t") for line in lines]
    return [(name, words.split()) for name, words in named if words.startswith(f"{package}.")]


def answer(name: str, words: list[str], runs: Path, out: Path) -> int:
    """Runs one command as `python -m` does and returns its exit code; its answer is in `out / name`
    then.
    """
    stem = str((out / name).with_suffix(""))
    module, *arguments = [word.replace("RUNS", str(runs)).replace("STEM", stem) for word in words]
    sys.argv = [module, *arguments]
    printed = io.StringIO()
    code: object = 0
    with contextlib.redirect_stdout(printed), warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", RuntimeWarning
        )  # a command that another one imports is run once more
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        except SystemExit as ending:
            code = ending.code
    if not any("STEM" in word for word in words):
        (out / name).write_text(printed.getvalue())
    return int(str(code or 0))


def main(package: str, runs: Path, out: Path) -> int:
    """The number of commands that did not end well."""
    out.mkdir(parents=True, exist_ok=True)
    failed = 0
    for name, words in read_commands(package):
        if code := answer(name, words, runs, out):
            print(f"{' '.join(words)}: exit code {code}", file=sys.stderr)
            failed += 1
    return failed


if __name__ == "__main__":
    sys.path[0] = str(Path.cwd())  # as `python -m` has it
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])))
