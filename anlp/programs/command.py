"""Renders the command of a run from a template with macros: a list of words, never a shell's text.

The words of the macros are those of wandb's sweeps, with the run's own beside them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from anlp.core.spec import Scalar
from anlp.records.program import Program

# each of these is several words, so that it has to stand alone
LISTS = (
    *("args", "args_no_equals", "args_no_hyphens", "args_no_boolean_flags"),
    *("args_append_hydra", "args_override_hydra"),
)
# those that pass a setting by the flag of the program's parser
BY_FLAG = frozenset({"args", "args_no_equals", "args_no_boolean_flags"})
SINGLE = ("program", "interpreter", "env", "args_json", "args_json_file")
OF_THE_RUN = ("seed", "run_id", "run_dir", "gpus")
MACROS = (*LISTS, *SINGLE, *OF_THE_RUN)
ENV = "/usr/bin/env"
ENVVAR = "envvar:"  # before the name of an environment variable

_MACRO = re.compile(r"\$(\$?)\{([^{}]*)\}")


@dataclass(frozen=True, slots=True)
class RunValues:
    """What a command needs to know of its run.

    Args:
        settings: all of them, resolved.
        seed: of the run.
        run_id: of the run.
        program: the path of the program, or its name on PATH.
        run_dir: the folder that it may write to.
        json_file: where `${args_json_file}` is.
        environment: of the program, for `${envvar:NAME}`.
    """

    settings: Mapping[str, Scalar]
    seed: int
    run_id: str
    program: str
    run_dir: Path
    json_file: Path
    environment: Mapping[str, str] = field(default_factory=dict)


def macros_in(word: str) -> list[str]:
    """Return the names of the macros in a word of a template.

    >>> macros_in("--config=${args_json_file}"), macros_in("$${HOME}")
    (['args_json_file'], [])
    """
    return [name for escape, name in _MACRO.findall(word) if not escape]


def render_command(program: Program, run: RunValues) -> list[str]:
    """Return the words that start a run."""
    named = {name for word in program.command for name in macros_in(word)}
    passed = [
        (name, value)
        for name, value in run.settings.items()
        if name not in named and not _is_default(program, name, value)
    ]
    seed_flag = "" if "seed" in named else program.seed_flag
    words: list[str] = []
    for word in program.command:
        macro = _MACRO.fullmatch(word)
        if macro is not None and not macro[1] and macro[2] in LISTS:
            words += _LISTS[macro[2]](program, passed, seed_flag, run.seed)
        else:
            words.append(_filled(word, program, run, dict(passed), seed_flag))
    return words


def args_json(settings: Mapping[str, Scalar], seed_flag: str, seed: int) -> str:
    """Return the settings as a JSON object, with the seed where the program takes one.

    >>> args_json({"lr": 0.1}, "--seed", 3)
    '{"lr": 0.1, "seed": 3}'
    """
    taken = {seed_flag.lstrip("-"): seed} if seed_flag else {}
    return json.dumps({**settings, **taken})


def _filled(
    word: str,
    program: Program,
    run: RunValues,
    passed: Mapping[str, Scalar],
    seed_flag: str,
) -> str:
    """Return a word with its macros replaced; `$${x}` stands for the text `${x}`."""

    def value(match: re.Match[str]) -> str:
        escape, name = match.groups()
        if escape:
            return f"${{{name}}}"
        if name == "args_json":
            return args_json(passed, seed_flag, run.seed)
        if name.startswith(ENVVAR):  # a variable that is not set is its own name, as in wandb
            variable = name.removeprefix(ENVVAR)
            return run.environment.get(variable, variable)
        known: Mapping[str, object] = {
            "program": run.program,
            "interpreter": program.interpreter,
            "env": ENV,
            "args_json_file": run.json_file,
            "seed": run.seed,
            "run_id": run.run_id,
            "run_dir": run.run_dir,
            "gpus": program.gpus,
        }
        return str(known[name]) if name in known else _text(run.settings[name])

    return _MACRO.sub(value, word)


def _is_default(program: Program, name: str, value: Scalar) -> bool:
    """Tell whether the program takes this value without being told."""
    if name not in program.defaults:
        return False
    default = program.defaults[name]
    return type(default) is type(value) and default == value


Passed = Sequence[tuple[str, Scalar]]


def _args(program: Program, passed: Passed, seed_flag: str, seed: int) -> list[str]:
    """`--lr 0.1`, with flags as the program's parser declares them."""
    return [*_options(program, passed, bare=False), *_option(seed_flag, seed)]


def _args_no_boolean_flags(
    program: Program, passed: Passed, seed_flag: str, seed: int
) -> list[str]:
    """Return the words with `--flag` for true and nothing for false."""
    return [*_options(program, passed, bare=True), *_option(seed_flag, seed)]


def _args_no_hyphens(program: Program, passed: Passed, seed_flag: str, seed: int) -> list[str]:
    """`lr=0.1`, as Hydra takes it."""
    del program
    words = [f"{name}={_text(value)}" for name, value in passed]
    return [*words, f"{seed_flag.lstrip('-')}={seed}"] if seed_flag else words


def _args_append_hydra(program: Program, passed: Passed, seed_flag: str, seed: int) -> list[str]:
    """`+lr=0.1`: Hydra adds what its config does not have."""
    return [f"+{word}" for word in _args_no_hyphens(program, passed, seed_flag, seed)]


def _args_override_hydra(program: Program, passed: Passed, seed_flag: str, seed: int) -> list[str]:
    """`++lr=0.1`: Hydra adds it, or changes what its config has."""
    return [f"++{word}" for word in _args_no_hyphens(program, passed, seed_flag, seed)]


_LISTS = {
    "args": _args,
    "args_no_equals": _args,  # wandb passes `--lr=0.1` for the one and `--lr 0.1` for the other
    "args_no_boolean_flags": _args_no_boolean_flags,
    "args_no_hyphens": _args_no_hyphens,
    "args_append_hydra": _args_append_hydra,
    "args_override_hydra": _args_override_hydra,
}


def _options(program: Program, passed: Passed, *, bare: bool) -> Iterator[str]:
    """Yield the words of every setting; positional ones first, in the order of the parser."""
    given = dict(passed)
    positional = [name for name, flag in program.flags.items() if not flag and name in given]
    for name in positional:
        yield from _words(program, name, given[name])
    for name, value in passed:
        if name not in positional:
            yield from _named(program, name, value, bare=bare)


def _named(program: Program, name: str, value: Scalar, *, bare: bool) -> Iterator[str]:
    """Yield the words of one setting with its flag."""
    flag = program.flags.get(name) or f"--{name}"
    style = program.styles.get(name, "")
    if isinstance(value, bool) and (style or bare) and style != "words":
        yield from _switch(flag, style, value=value)
    elif style == "words":
        yield flag
        yield from _words(program, name, value)
    else:
        yield from _option(flag, _value(program, name, value))


def _switch(flag: str, style: str, *, value: bool) -> Iterator[str]:
    """Yield the word of a flag that takes no value, if it is to be given."""
    if style == "optional_boolean":
        yield flag if value else f"--no-{flag.removeprefix('--')}"
    elif value != (style == "store_false"):
        yield flag


def _words(program: Program, name: str, value: Scalar) -> list[str]:
    """Return the words of a setting that takes several: the text, split at blanks."""
    text = _value(program, name, value)
    return text.split() if program.styles.get(name) == "words" else [text]


def _value(program: Program, name: str, value: Scalar) -> str:
    if isinstance(value, bool) and name in program.truths:
        true, false = program.truths[name]
        return true if value else false
    return _text(value)


def _option(flag: str, value: Scalar) -> list[str]:
    """Return `--lr 0.1`; `--lr=-1e-05` where the value would be taken for an option."""
    if not flag:
        return []
    text = _text(value)
    return [f"{flag}={text}"] if text.startswith("-") else [flag, text]


def _text(value: Scalar) -> str:
    """Return a value as Python writes it: `True`, `0.1`, `1e-05`."""
    return str(value)
