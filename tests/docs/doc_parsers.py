"""Finds the argparse parser of a command, and checks command lines and option names against it."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.util
import io
import re
import shlex
from collections.abc import Iterator
from functools import cache
from typing import Any, NoReturn
from unittest import mock

SEPARATORS = frozenset({"|", ">", ">>", "&&", ";", "&", "||", "2>&1"})
ASSIGNMENT = re.compile(r"[A-Z_]+=.*")
# Names that the parser knows nothing of: the command `anlp` itself answers them.
OF_ANLP = frozenset({"--version", "--print-completion", "--help", "-h", "help"})


class _Found(BaseException):
    """Carries a parser out of a command before the command does anything."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        super().__init__()
        self.parser = parser


@cache
def parser_of(module: str) -> argparse.ArgumentParser | None:
    """The parser that the command builds, None for a command that only lists others.

    Raises:
        ModuleNotFoundError: there is no such module.
    """
    main = importlib.import_module(module).main

    def stop(self: argparse.ArgumentParser, *_: Any, **__: Any) -> NoReturn:
        raise _Found(self)

    try:
        patched = mock.patch.object(argparse.ArgumentParser, "parse_args", stop)
        with patched, contextlib.redirect_stdout(io.StringIO()):
            main([])
    except _Found as found:
        return found.parser
    return None


def split_line(text: str) -> Iterator[list[str]]:
    """The simple commands of a line of bash, without environment, redirections and comments."""
    words: list[str] = []
    tokens = shlex.split(text, comments=True)
    skips = False
    for token in [*tokens, ";"]:
        if token in SEPARATORS:
            while words and ASSIGNMENT.fullmatch(words[0]):
                words.pop(0)
            if words:
                yield words
            words = []
            skips = token in (">", ">>")
        elif not skips:
            words.append(token.removesuffix(";"))


def resolve(words: list[str]) -> tuple[str, list[str]] | None:
    """The module and the arguments of a command of this suite, None for any other program."""
    if words[:2] == ["python", "-m"] and re.match(r"(jobs|analysis|anlp|benchmarks)\b", words[2]):
        module, arguments = words[2], words[3:]
        if module not in ("jobs", "analysis") or not arguments or arguments[0] in OF_ANLP:
            return (f"{module}.__main__" if "." not in module else module), arguments
        return f"{module}.{arguments[0]}", arguments[1:]
    if words[0] == "anlp" and len(words) > 1 and words[1] not in OF_ANLP:
        for package in ("jobs", "analysis"):
            if importlib.util.find_spec(f"{package}.{words[1]}"):
                return f"{package}.{words[1]}", words[2:]
        raise ModuleNotFoundError(f"no command {words[1]}")
    return None


def render_fault(words: list[str]) -> str:
    """Why the command line is refused by its parser; empty where it is accepted or not one of the
    suite's.
    """
    try:
        found = resolve(words)
        parser = parser_of(found[0]) if found else None
    except ModuleNotFoundError as error:
        return str(error)
    if found is None or parser is None or "--help" in words:
        return ""
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            parser.parse_args(found[1])
    except SystemExit:
        return errors.getvalue()
    except Exception as error:  # the suite's parsers raise their own error
        return str(error)
    return ""


def options_of(parser: argparse.ArgumentParser) -> set[str]:
    """Every option of a parser and of its subcommands."""
    options = set(parser._option_string_actions)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                options |= options_of(below)
    return options
