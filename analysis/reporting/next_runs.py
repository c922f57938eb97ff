"""Next runs: beyond an axis with its best at the edge, seeds for open ties, longer training."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import yaml
from pydantic import ValidationError
from pydantic_core import PydanticUndefined

from analysis.data.frames import setting_columns
from analysis.reporting.blocks import Block, Code, Points, Section, Text
from analysis.reporting.discussion import best_row
from analysis.reporting.findings import Findings, Missing
from analysis.reporting.own_code import find_own_code, own_code_keys
from analysis.reporting.question import read_grid_file
from analysis.results.configurations import Configuration
from analysis.results.margin import render_difference
from analysis.stats.power import seeds_for_power
from analysis.text.levels import is_missing, render_level
from analysis.verdicts.judge import CONVERGENT
from anlp.console.verbs import command_name
from anlp.core.units import render_duration
from anlp.records.program import Program
from anlp.tasks import TASKS
from anlp.tasks.user_code import is_user_code

KEPT = (
    "resources",
    "wandb",
    "checkpoints",
    "predictions",
    "container",
    "fallback",
    "retries",
    "stop_after",
    "pack",
    "chain",
)
FEW_LEVELS = 12  # that axes of a grid have; drawn settings have more, and no next value
MONITOR = "monitor"  # of the user's own code, this column is no setting
BUDGETS = ("epochs", "train_samples")  # less of them is cheaper, never better
DECADES = 10.0  # over which positive levels are multiplied, not added; no step is larger
WHOLE_STEP = 2.0  # likewise of whole numbers, unless all steps were of one size
STEPS = 2  # new values beyond an edge
SEEDS, MAX_SEEDS = 5, 20
TIED = 4  # configurations that fresh seeds are to tell apart
MOST = 0.5  # of the runs that learned
NAME = 90  # characters
CONFIRM_SELECTS = "val/acc"  # unless it is told otherwise


@dataclass(frozen=True, slots=True)
class Proposal:
    """Runs that would answer something, with the reason in words."""

    reason: str
    points: tuple[Mapping[str, Any], ...]  # resolved settings, defaults left out


@dataclass(frozen=True, slots=True)
class Advice:
    """What to run next."""

    task: str
    proposals: tuple[Proposal, ...]
    remarks: tuple[str, ...]  # advice that is no grid
    seeds: tuple[int, ...]  # fresh ones

    @property
    def n_runs(self) -> int:
        """Return how many runs the grid file has."""
        points = {
            tuple(sorted(point.items())) for proposal in self.proposals for point in proposal.points
        }
        return len(points) * len(self.seeds)


def advise(findings: Findings) -> Advice:
    """Return the advice that the numbers give."""
    known = [one for one in findings.ranked if not math.isnan(one.selected_by)]
    remarks = _confirmation(findings) if known else ()
    if not known:
        return Advice("", (), ("Look at why no run has finished before running more.",), ())
    best = _best(findings, known)
    task = str(best.runs[0]["task"])
    if task not in TASKS:
        return Advice(task, (), remarks, ())
    ties, count = _ties(findings, best)
    proposals = [*ties, *_extensions(findings, best), *_longer(findings, best)]
    if proposals and not ties:  # what is new needs something to be compared with
        reason = "The best so far, for comparison with the same fresh seeds."
        proposals.insert(0, Proposal(reason, (point_of(findings, best),)))
    first = int(findings.runs["seed"].max()) + 1
    return Advice(task, tuple(proposals), remarks, tuple(range(first, first + count)))


def render_grid(advice: Advice, findings: Findings) -> str:
    """Return the grid file, ready to submit; empty where nothing is proposed."""
    if not advice.proposals:
        return ""
    name = next_file(findings.name)
    lines = [
        f"# What to run next after {_plain(findings.name)}: "
        f"{advice.n_runs} runs, all with fresh seeds.",
        "#",
    ]
    lines += [f"#   {command_name('jobs.submit')} {name}", ""]
    common, own = _shared([point for proposal in advice.proposals for point in proposal.points])
    lines += [
        *(_line(key, value) for key, value in _code_keys(advice, findings).items()),
        _line("fixed", common),
        _line("seeds", list(advice.seeds)),
        "",
        "union:",
    ]
    points = iter(own)
    for proposal in advice.proposals:
        lines.append(f"  # {_plain(proposal.reason)}")
        lines += [f"  - fixed: {_flow(next(points))}" for _ in proposal.points]
    kept = _kept(findings)
    return "\n".join(
        [*lines, *([""] if kept else []), *(_line(key, value) for key, value in kept.items()), ""]
    )


def next_file(grid: str) -> str:
    """Return the grid file's name, which is that of a grid: folders and projects may have any."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", grid)[:NAME].strip("-._")
    return f"{plain or 'grid'}-next.yaml"


def next_section(findings: Findings, advice: Advice, grid: str) -> Section:
    """Return the section; the grid file is the text that is written beside the report."""
    reasons = tuple(
        f"{one.reason} ({_runs(len(one.points) * len(advice.seeds))})" for one in advice.proposals
    )
    blocks: list[Block] = [Points((*reasons, *advice.remarks))] if reasons or advice.remarks else []
    if grid:
        seconds = _seconds(findings)
        cost = (
            f", about {render_duration(seconds * advice.n_runs)} at {seconds:.3g} s a run"
            if seconds
            else ""
        )
        blocks += [
            Text(
                f"As a grid file, {next_file(findings.name)} beside this page: "
                f"{_runs(advice.n_runs)}{cost}."
            ),
            Code(grid, "yaml"),
        ]
    return Section(
        "next", "What to run next", tuple(blocks or [Text("Nothing that these numbers call for.")])
    )


def point_of(findings: Findings, configuration: Configuration, **changed: Any) -> dict[str, Any]:
    """Return the settings of a configuration that differ from the task's defaults."""
    run = configuration.runs[0]
    task = str(run["task"])
    if is_user_code(task):
        return _own_point(findings, run, find_own_code(findings.folder, task), changed)
    fields = TASKS[task].settings.model_fields
    point = {}
    for name in setting_columns(findings.runs):
        value, default = (
            changed.get(name, run[name]),
            fields[name].default if name in fields else PydanticUndefined,
        )
        if name not in fields or is_missing(value):
            continue
        plain = _typed(value, default)
        if default is PydanticUndefined or plain != default:
            point[name] = plain
    return point


def _own_point(
    findings: Findings, run: Mapping[str, Any], program: Program | None, changed: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the settings of a run of the user's own code that are not its defaults."""
    defaults = {} if program is None else program.defaults
    point = {}
    for name in setting_columns(findings.runs):
        value = changed.get(name, run[name])
        default = defaults.get(name)
        if name != MONITOR and not is_missing(value) and value != default:
            point[name] = _typed(value, default)
    return point


def _typed(value: Any, default: Any) -> Any:
    """Return a number as its setting takes it: a column that lacks some has floats only."""
    plain = value.item() if isinstance(value, np.generic) else value
    is_whole = isinstance(default, int) and not isinstance(default, bool)
    return int(plain) if is_whole and isinstance(plain, float) and plain.is_integer() else plain


def _best(findings: Findings, known: Sequence[Configuration]) -> Configuration:
    """Return the one that the table marks, else the first by the selecting metric."""
    row = None if isinstance(findings.best, Missing) else best_row(findings.best)
    return next(
        (one for one in known if row is not None and one.config_id == row.config_id), known[0]
    )


def _ties(findings: Findings, best: Configuration) -> tuple[list[Proposal], int]:
    """Return the configurations not distinguished from the best, with seeds to tell them apart."""
    table = findings.best
    if (
        isinstance(table, Missing)
        or not table.ties
        or table.n_configurations < 2
        or table.ties[0].method is None
    ):
        return [], SEEDS
    top = set(table.ties[0].top)
    tied = [
        one for one in findings.ranked if one.config_id in top and not math.isnan(one.selected_by)
    ]
    if len(tied) < 2:
        return [], SEEDS
    chosen = [best, *(one for one in tied if one.config_id != best.config_id)][:TIED]
    count, words = _needed(findings, chosen)
    more = f" ({len(tied)} in all)" if len(tied) > len(chosen) else ""
    reason = f"{len(chosen)} configurations not distinguished from the best{more}: {words}."
    return [Proposal(reason, tuple(point_of(findings, one) for one in chosen))], count


def _needed(findings: Findings, chosen: Sequence[Configuration]) -> tuple[int, str]:
    """Return the seeds that would show a difference as large as the margin, and that in words.

    The difference that was seen says nothing about it: it was chosen by the data.
    """
    scores = [
        [float(run[findings.report]) for run in one.runs if run["outcome"] == "ok"]
        for one in chosen
    ]
    finite = [[score for score in group if math.isfinite(score)] for group in scores]
    several = [np.var(group, ddof=1) for group in finite if len(group) > 1]
    sd = math.sqrt(float(np.mean(several))) if several else 0.0
    margin = None if isinstance(findings.best, Missing) else findings.best.ties[0].margin
    if margin is None or not margin.value or not sd:
        return SEEDS, f"{SEEDS} fresh seeds each show how much seeds vary"
    size = render_difference(findings.report, margin.value)
    needed = seeds_for_power(margin.value / sd, len(chosen) - 1)
    if needed > MAX_SEEDS:
        return (
            SEEDS,
            f"{needed:,} seeds each would show a difference of {size} (power 80 %), more than the "
            f"{MAX_SEEDS} that are proposed at most; {SEEDS} fresh seeds confirm them",
        )
    count = max(needed, SEEDS)
    return count, f"{count} fresh seeds each would show a difference of {size} (power 80 %)"


def _extensions(findings: Findings, best: Configuration) -> list[Proposal]:
    found = []
    for name in setting_columns(findings.runs):
        levels = _levels(findings.runs, name)
        value = best.runs[0][name]
        if (
            not 2 <= len(levels) <= FEW_LEVELS
            or value not in (levels[0], levels[-1])
            or (value == 0 and levels[0] == 0)
        ):
            continue
        end, way = ("largest", 1) if value == levels[-1] else ("smallest", -1)
        if way < 0 and name in BUDGETS:
            continue
        new = [level for level in beyond(levels, way) if _is_valid(findings, best, name, level)]
        if new:
            texts = ", ".join(map(render_level, new))
            edge = (
                f"{name}: the best configuration has the {end} value tried, {render_level(value)}"
            )
            reason = f"{edge}; {texts} would show what lies beyond."
            found.append(
                Proposal(reason, tuple(point_of(findings, best, **{name: level}) for level in new))
            )
    return found


def beyond(levels: Sequence[float], way: int) -> list[float]:
    """Return the next values of an axis: by the last factor for rates, else by the last step.

    Args:
        levels: ascending, at least two.
        way: 1 for larger ones, -1 for smaller ones.
    """
    last, before = (levels[-1], levels[-2]) if way > 0 else (levels[0], levels[1])
    is_whole = all(isinstance(level, int) for level in levels)
    ratios = {round(b / a, 6) for a, b in pairwise(levels)} if levels[0] > 0 else set()
    is_steady = len(levels) > 2 and len(ratios) == 1
    if is_steady or (ratios and (is_whole or levels[-1] / levels[0] >= DECADES)):
        most = WHOLE_STEP if is_whole and not is_steady else DECADES
        factor = min(max(last / before, 1 / most), most)
        new = [last * factor**k for k in range(1, STEPS + 1)]
    else:
        new = [last + k * (last - before) for k in range(1, STEPS + 1)]
    if is_whole:
        return [round(level) for level in new if round(level) not in levels]
    return [float(f"{level:.12g}") for level in new]


def _levels(runs: pd.DataFrame, name: str) -> list[float]:
    found = {value for value in runs[name].tolist() if not is_missing(value)}
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in found):
        return []
    whole = all(float(value).is_integer() for value in found)
    return sorted(int(value) if whole else value for value in found)


def _is_valid(findings: Findings, best: Configuration, name: str, level: float) -> bool:
    try:
        TASKS[str(best.runs[0]["task"])].settings.model_validate(
            point_of(findings, best, **{name: level})
        )
    except ValidationError:
        return False
    return True


def _longer(findings: Findings, best: Configuration) -> list[Proposal]:
    """Twice the epochs, where most of the runs that learned would have gone on."""
    found = findings.breakdown
    if isinstance(found, Missing) or "epochs" not in setting_columns(findings.runs):
        return []
    learned = found.judged.of(CONVERGENT)
    improving = int((learned["verdict"] == "improving").sum())
    epochs = best.runs[0]["epochs"]
    if not len(learned) or improving <= MOST * len(learned) or is_missing(epochs) or not epochs:
        return []
    doubled = 2 * int(epochs)
    share = f"{improving:,} of {len(learned):,} runs that learned were still improving"
    reason = f"{share}: {doubled} epochs instead of {int(epochs)}."
    return [Proposal(reason, (point_of(findings, best, epochs=doubled),))]


def _confirmation(findings: Findings) -> tuple[str, ...]:
    """Return how to confirm the winners; nothing where a filter has left some of them out."""
    row = None if isinstance(findings.best, Missing) else best_row(findings.best)
    is_confirmed = row is not None and row.purpose == "confirm"
    is_single = findings.runs["config_id"].nunique() < 2
    if findings.left_out.only or is_confirmed or is_single:
        return ()
    select = [] if findings.select == CONFIRM_SELECTS else ["--select", findings.select]
    words = [f"{findings.folder.name}.yaml", "--confirm", "2", "--seeds", "5", *select]
    typed = f"{command_name('jobs.submit')} {shlex.join(words)}"
    return (f"The best is not confirmed yet: {typed} repeats the winners with fresh seeds.",)


def _code_keys(advice: Advice, findings: Findings) -> dict[str, Any]:
    """Return the keys that name the task."""
    if is_user_code(advice.task):
        program = find_own_code(findings.folder, advice.task)
        if program is not None:
            return own_code_keys(program, _grid_file(findings))
    return {"task": advice.task}


def _kept(findings: Findings) -> dict[str, Any]:
    """Return how the runs were carried out, from the grid file."""
    form = _grid_file(findings)
    return {key: form[key] for key in KEPT if key in form}


def _grid_file(findings: Findings) -> dict[str, Any]:
    """Return the content of the grid file; empty where it cannot be read."""
    try:
        form = yaml.safe_load(read_grid_file(findings.folder) or "")
    except yaml.YAMLError:
        return {}
    return form if isinstance(form, dict) else {}


def _shared(points: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return what all points share, and the rest of each."""
    common = {
        name: value
        for name, value in points[0].items()
        if all(name in p and p[name] == value for p in points)
    }
    return common, [
        {name: value for name, value in point.items() if name not in common} for point in points
    ]


def _line(key: str, value: Any) -> str:
    return f"{key}: {_flow(value)}"


def _flow(value: Any) -> str:
    text: str = yaml.safe_dump(
        value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=math.inf
    )
    return text.removesuffix("...\n").strip()


def _plain(text: str) -> str:
    """Fit for a comment."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count:,} runs"


def _seconds(findings: Findings) -> float:
    known = findings.runs["seconds"].dropna()
    return float(known.median()) if len(known) else 0.0
