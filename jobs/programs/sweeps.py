"""Translate a wandb sweep file to the grid file that it means."""

from __future__ import annotations

import math
import os
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anlp.core.errors import did_you_mean
from anlp.records.folders import make_grid_name
from jobs.config.fields import Key, one_of, text, texts, whole
from jobs.config.yaml_tree import Faults, Items, Table, Tree, join, parse_yaml, show, with_lines
from jobs.programs.sweep_parameters import Parameter, SweepReader
from jobs.programs.yaml_text import yaml_key, yaml_list, yaml_scalar

SEED = "seed"
MOST_RUNS = 1_000_000
MOST_SEEDS = 1000
_WIDTH = 92  # of comments
_DEFAULT_COMMANDS = (
    ["${env}", "${interpreter}", "${program}", "${args}"],
    ["${interpreter}", "${program}", "${args}"],
    ["${env}", "python", "${program}", "${args}"],
    ["python", "${program}", "${args}"],
)
_KEYS: Mapping[str, Key] = {
    "program": Key("program", text),
    "command": Key("command", texts),
    "method": Key("method", one_of("grid", "random", "bayes")),
    "name": Key("name", text),
    "project": Key("project", text),
    "entity": Key("entity", text),
    "description": Key("description", text),
    "run_cap": Key("run_cap", whole(1, MOST_RUNS)),
}
_OTHER_KEYS = ("parameters", "metric", "early_terminate", "controller")
_METRIC_KEYS: Mapping[str, Key] = {
    "name": Key("name", text),
    "goal": Key("goal", one_of("minimize", "maximize")),
}
_METRIC_LEFT_OUT = ("target", "impute", "impute_while_running")
_EARLY = (
    "early_terminate is left out: every run here trains to its end. Instead, draw more points with "
    "fewer epochs, and repeat the best with --confirm"
)
_GRID_NEEDS = (
    "method: grid needs values, a whole min and max, or q_uniform; draws need method: random"
)
_BAYES = (
    "bayes chooses a point by the results of earlier runs, and the runs of a grid are submitted "
    "together; use method: random with run_cap: as many points, drawn at once"
)


_Line = tuple[str, int]  # of the grid file, and the line of the sweep file that it is of


@dataclass(slots=True)
class _Sweep:
    """A sweep file as it was read.

    Args:
        path: of the sweep file.
        folder: of the grid file.
    """

    path: Path
    folder: Path
    values: dict[str, Any] = field(default_factory=dict)  # of `_KEYS`
    metric: dict[str, str] = field(default_factory=dict)
    parameters: list[Parameter] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    lines: dict[str, int] = field(default_factory=dict)  # of the keys at its top

    @property
    def is_random(self) -> bool:
        return self.values.get("method") == "random"


def is_sweep(tree: object) -> bool:
    """Return whether a YAML file is a sweep of wandb: it has `method` and `parameters`."""
    names = tree.entries if isinstance(tree, Table) else tree
    return isinstance(names, Mapping) and "method" in names and "parameters" in names


def grid_of_sweep(
    content: str, path: Path, *, samples: int | None = None, folder: Path | None = None
) -> str:
    """Return the text of the grid file that a sweep file means.

    What a grid does otherwise is said in comments at its top.

    Args:
        content: of the sweep file.
        path: of the sweep file, for messages and the place of the program.
        samples: how many points `method: random` draws, over `run_cap`.
        folder: where the grid file will be; None: beside the sweep file.

    Raises:
        SpecError: every fault of the sweep file, by line.
    """
    faults = Faults(path)
    lines = _translated(parse_yaml(content, faults), path, faults, samples, folder)
    return _joined(lines)


def read_sweep(tree: Table, path: Path) -> tuple[str, Tree | None]:
    """Return the text of the grid file that a sweep means, and its tree with the sweep's lines.

    Raises:
        SpecError: every fault of the sweep file, by line.
    """
    faults = Faults(path)
    lines = _translated(tree, path, faults, None, None)
    text = _joined(lines)
    grid = parse_yaml(text, faults)
    faults.raise_if_any()
    return text, None if grid is None else with_lines(grid, [line for _, line in lines])


def _translated(
    tree: Tree | None, path: Path, faults: Faults, samples: int | None, folder: Path | None
) -> list[_Line]:
    if not isinstance(tree, Table):
        if not faults.found:
            got = "an empty file" if tree is None else show(tree)
            faults.add(1, "", f"expected a sweep with program, method and parameters, got {got}")
        faults.raise_if_any()
        raise AssertionError("a tree that is no table has a fault")
    sweep = _read(tree, _Sweep(path, folder or path.parent), faults)
    if samples is not None:
        sweep.values["run_cap"] = samples
    parts = _parts(sweep, tree, faults)
    faults.raise_if_any()
    return list(_lines(sweep, parts))


def _read(top: Table, sweep: _Sweep, faults: Faults) -> _Sweep:
    sweep.lines = {name: entry.line for name, entry in top.entries.items()}
    reader = SweepReader(faults, sweep.notes)
    known = (*_KEYS, *_OTHER_KEYS)
    for name, entry in top.entries.items():
        if name in _KEYS:
            try:
                sweep.values[name] = _KEYS[name].parse(entry.tree)
            except ValueError as fault:
                faults.add(entry.tree.line, name, str(fault))
        elif name not in known:
            faults.add(entry.line, "", f"unknown key {name!r}{did_you_mean(name, known)}")
    if sweep.values.get("method") == "bayes":
        faults.add(top.entries["method"].tree.line, "method", _BAYES)
    if "early_terminate" in top.entries:
        sweep.notes.append(_EARLY)
    if "controller" in top.entries:
        sweep.notes.append("controller is left out: no process chooses points while runs execute")
    _read_metric(sweep, top, faults)
    _read_parameters(sweep, top, reader)
    _find_program(sweep, top, faults)
    return sweep


def _read_metric(sweep: _Sweep, top: Table, faults: Faults) -> None:
    if "metric" not in top.entries:
        return
    tree = top.entries["metric"].tree
    if not isinstance(tree, Table):
        faults.add(
            tree.line,
            "metric",
            f"expected a mapping such as {{name: val_loss, goal: minimize}}, got {show(tree)}",
        )
        return
    known = (*_METRIC_KEYS, *_METRIC_LEFT_OUT)
    for name, entry in tree.entries.items():
        if name in _METRIC_LEFT_OUT:
            sweep.notes.append(f"metric.{name} is left out: all runs of a grid are executed")
        elif name not in known:
            faults.add(entry.line, "metric", f"unknown key {name!r}{did_you_mean(name, known)}")
        else:
            try:
                sweep.metric[name] = _METRIC_KEYS[name].parse(entry.tree)
            except ValueError as fault:
                faults.add(entry.tree.line, join("metric", name), str(fault))
    if "name" not in tree.entries:
        faults.add(tree.line, "metric", "expected the key 'name'")


def _read_parameters(sweep: _Sweep, top: Table, reader: SweepReader) -> None:
    for key in ("method", "parameters"):
        if key not in top.entries:
            reader.faults.add(1, "", f"expected the key {key!r}")
    if "parameters" not in top.entries:
        return
    tree = top.entries["parameters"].tree
    if isinstance(tree, Table) and tree.entries:
        sweep.parameters += reader.parameters(tree, "parameters")
        lines: dict[str, int] = {}
        for found in sweep.parameters:
            first = lines.setdefault(found.name, found.line)
            if first != found.line:
                sentence = f"{found.name} is also given on line {first}; keep one of the two"
                reader.faults.add(found.line, found.path, sentence)
    else:
        reader.faults.add(
            tree.line,
            "parameters",
            f"expected parameters such as lr: {{values: [0.1, 0.01]}}, got {show(tree)}",
        )


def _find_program(sweep: _Sweep, top: Table, faults: Faults) -> None:
    """Take the program from `command` where only that names it; its path is from the sweep file."""
    command = list(sweep.values.get("command", ()))
    if "command" in top.entries and not isinstance(top.entries["command"].tree, Items):
        faults.add(top.entries["command"].line, "command", "expected a list of words")
    if "program" not in top.entries:
        scripts = [word for word in command if word.endswith(".py")]
        if not scripts:
            faults.add(1, "", "expected the key 'program', the file to run")
            return
        sweep.values["program"] = scripts[0]
        sweep.values["command"] = ["${program}" if word == scripts[0] else word for word in command]
    program = str(sweep.values.get("program", ""))
    found = sweep.path.parent / program
    if program and not found.exists() and Path(program).exists():
        found = Path(program)
    if found.exists() and found != sweep.folder / program:
        sweep.values["program"] = os.path.relpath(found, sweep.folder)


@dataclass(slots=True)
class _Parts:
    """The settings of a grid file, rendered."""

    fixed: dict[str, str] = field(default_factory=dict)
    grid: dict[str, str] = field(default_factory=dict)
    random: dict[str, str] = field(default_factory=dict)
    seeds: tuple[int, ...] = ()


def _parts(sweep: _Sweep, top: Table, faults: Faults) -> _Parts:
    parts = _Parts()
    combinations = 1
    for parameter in sweep.parameters:
        if parameter.name == SEED:
            parts.seeds = _seeds(sweep, parameter, faults)
            combinations *= max(1, len(parts.seeds))
        elif parameter.kind == "value":
            parts.fixed[parameter.name] = yaml_scalar(parameter.values[0])
        elif sweep.is_random:
            parts.random[parameter.name] = _drawn(parameter)
        else:
            axis, size = _axis(parameter, faults)
            parts.grid[parameter.name] = axis
            combinations *= size
    cap = sweep.values.get("run_cap")
    if sweep.is_random:
        _add_samples(sweep, parts, top, faults)
    elif cap is not None and cap < combinations:
        faults.add(
            top.entries["run_cap"].line if "run_cap" in top.entries else 1,
            "run_cap",
            f"the grid has {combinations:,} combinations, and all of them would run; list fewer "
            f"values, or use method: random to draw {cap:,} points",
        )
    return parts


def _add_samples(sweep: _Sweep, parts: _Parts, top: Table, faults: Faults) -> None:
    if not parts.random:
        sweep.notes.append("no parameter is drawn, so there is one combination")
        return
    cap = sweep.values.get("run_cap")
    if cap is None:
        line = top.entries["method"].line if "method" in top.entries else 1
        faults.add(
            line,
            "method",
            "random needs the number of points: write run_cap: 50 (wandb would draw until it is "
            "stopped)",
        )
        return
    samples = max(1, cap // max(1, len(parts.seeds)))
    parts.random = {"samples": str(samples), **parts.random}
    if len(parts.seeds) > 1:
        sweep.notes.append(
            f"seed: each of the {samples} points is run with every seed, {samples} x "
            f"{len(parts.seeds)} = {samples * len(parts.seeds)} runs"
        )


def _seeds(sweep: _Sweep, parameter: Parameter, faults: Faults) -> tuple[int, ...]:
    """Return the seeds of a parameter of that name: a grid has them beside its settings."""
    values: Sequence[Any] = parameter.values
    if parameter.kind == "draw" and sweep.is_random:
        sweep.notes.append("seed: every point has the seed 0; `seeds: 5` repeats each one")
        return ()
    if parameter.rule == "int":
        values = range(int(parameter.arguments[0]), int(parameter.arguments[1]) + 1)
    elif parameter.kind == "draw":
        faults.add(parameter.line, parameter.path, _GRID_NEEDS)
        return ()
    if len(values) > MOST_SEEDS or not all(type(value) is int and value >= 0 for value in values):
        faults.add(
            parameter.line,
            parameter.path,
            f"expected at most {MOST_SEEDS:,} seeds that are whole numbers >= 0",
        )
        return ()
    return tuple(dict.fromkeys(values))


def _drawn(parameter: Parameter) -> str:
    if parameter.kind == "values":
        listed = yaml_list(parameter.values)
        if not parameter.weights:
            return f"{{choice: {listed}}}"
        return f"{{choice: {listed}, weights: {yaml_list(parameter.weights)}}}"
    return f"{{{parameter.rule}: {yaml_list(parameter.arguments)}}}"


def _axis(parameter: Parameter, faults: Faults) -> tuple[str, int]:
    """Return the axis of a parameter of `method: grid`, and how many values it has."""
    if parameter.kind == "values" and not parameter.weights:
        return yaml_list(parameter.values), len(set(map(repr, parameter.values)))
    if parameter.rule == "int":
        first, last = (int(bound) for bound in parameter.arguments)
        return f"{{range: [{first}, {last + 1}]}}", last + 1 - first
    if parameter.rule == "quniform":
        first_value, stop, step = parameter.arguments
        count = math.ceil((stop - first_value) / step - 1e-9)
        return f"{{range: {yaml_list(parameter.arguments)}}}", count
    faults.add(parameter.line, parameter.path, _GRID_NEEDS)
    return "", 1


def _joined(lines: Iterable[_Line]) -> str:
    return "".join(f"{text}\n" for text, _ in lines)


def _lines(sweep: _Sweep, parts: _Parts) -> Iterator[_Line]:
    values, at = sweep.values, sweep.lines
    name = str(values.get("name", ""))
    slug = make_grid_name(name)
    comments = [f"The grid of {sweep.path.name}, a sweep of wandb."]
    comments += [values["description"]] if "description" in values else []
    comments += sweep.notes
    comments += [f"name: {name}"] if slug != name else []
    for comment in comments:
        for line in textwrap.wrap(
            " ".join(comment.split()), _WIDTH, initial_indent="# ", subsequent_indent="#   "
        ):
            yield line, 1
    yield f"program: {yaml_scalar(values['program'])}", at.get("program", at.get("command", 1))
    command = list(values.get("command", ()))
    if command and command not in _DEFAULT_COMMANDS:
        yield f"command: {yaml_list(command)}", at["command"]
    if slug:
        yield f"name: {yaml_scalar(slug)}", at["name"]
    yield from _sections(sweep, parts)
    if parts.seeds:
        yield f"seeds: {yaml_list(parts.seeds)}", _line_of(sweep, SEED)
    if "name" in sweep.metric:
        goal = sweep.metric.get("goal", "minimize")  # as wandb has it
        chosen = f"select: {yaml_scalar(sweep.metric['name'])}, goal: {goal}"
        yield f"metrics: {{{chosen}}}", at["metric"]
    site = [key for key in ("project", "entity") if key in values]
    if site:
        given = [f"{key}: {yaml_scalar(values[key])}" for key in site]
        yield f"wandb: {{{', '.join(given)}}}", at[site[0]]


def _sections(sweep: _Sweep, parts: _Parts) -> Iterator[_Line]:
    for section in ("fixed", "grid", "random"):
        entries: dict[str, str] = getattr(parts, section)
        if entries:
            yield f"{section}:", sweep.lines["parameters"]
            for name, text in entries.items():
                yield f"  {yaml_key(name)}: {text}", _line_of(sweep, name)


def _line_of(sweep: _Sweep, name: str) -> int:
    """Return the line of a parameter; `samples` comes from `run_cap`."""
    for parameter in sweep.parameters:
        if parameter.name == name:
            return parameter.line
    return sweep.lines.get("run_cap", sweep.lines["method"])
