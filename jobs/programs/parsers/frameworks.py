"""Recognise programs that read their command line without argparse, and where a parser may be."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from jobs.programs.parsers.source import Source

MOST_FILES = 50  # of the program's own modules that are searched for a parser
_PARSER = re.compile(r"\bArgumentParser\b|\bargparse\b")
# libraries that make parsers of argparse out of classes or functions
_ON_ARGPARSE = ("jsonargparse", "configargparse", "simple_parsing", "tap", "datargs")
_HYDRA = (
    'is a Hydra app: use command: [python, "${program}", "${args_no_hyphens}"] for values as '
    "`name=value`"
)
_LIGHTNING = (
    'uses LightningCLI: use command: [python, "${program}", fit, "${args}"] with names such as '
    "model.lr"
)
_OF_LIBRARY = {
    "click": "reads its options with click",
    "typer": "reads its options with typer",
    "fire": "reads its arguments with fire",
    "docopt": "reads its arguments with docopt",
    "absl.flags": "reads its flags with absl",
    "absl.app": "reads its flags with absl",
    "tyro": "reads its arguments with tyro",
    "plac": "reads its arguments with plac",
    "ml_collections": "reads its flags with ml_collections",
}


def other_framework(source: Source) -> str:
    """Return how the program reads its command line where argparse has no part in it; else ""."""
    decorators = [
        decorator.func if hasattr(decorator, "func") else decorator
        for function in source.functions.values()
        for decorator in function.decorator_list
    ]
    if any(source.resolve(node) == "hydra.main" for node in decorators):
        return _HYDRA
    called = {source.resolve(call.func) for call in source.calls}
    if any(name.rpartition(".")[2] == "LightningCLI" for name in called):
        return _LIGHTNING
    if source.makes_parser:
        return ""
    used = {*source.modules, *source.imports.values()}
    for library, sentence in _OF_LIBRARY.items():
        if any(name == library or name.startswith(f"{library}.") for name in used):
            return sentence
    return ""


def parser_elsewhere(source: Source, folder: Path) -> str:
    """Return the name of the library or own module that seems to make the parser, "" for none.

    Args:
        source: of the program, which makes no parser itself.
        folder: the program's folder, where its own modules are.
    """
    for call in source.foreign_parsers():
        return source.resolve(call.func)
    for module in sorted(source.modules):
        if module.partition(".")[0] in _ON_ARGPARSE:
            return module
    for path in _own_files(source, folder):
        if _PARSER.search(_text(path)):
            return str(path.relative_to(folder))
    return ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _own_files(source: Source, folder: Path) -> Iterator[Path]:
    """Yield the files beside the program that it imports, and those that they import."""
    waiting = [*_files_of(source, folder, folder)]
    seen: set[Path] = set()
    while waiting and len(seen) < MOST_FILES:
        path = waiting.pop(0)
        if path in seen:
            continue
        seen.add(path)
        yield path
        with contextlib.suppress(OSError, SyntaxError, ValueError):
            waiting += _files_of(Source(path.read_bytes(), str(path)), folder, path.parent)


def _files_of(source: Source, folder: Path, here: Path) -> Iterator[Path]:
    for name in sorted({*source.modules, *source.imports.values()}):
        base = here if name.startswith(".") else folder
        parts = [part for part in name.split(".") if part.isidentifier()]
        for path in (
            base.joinpath(*parts).with_suffix(".py"),
            base.joinpath(*parts, "__init__.py"),
        ):
            if parts and path.is_file():
                yield path
