"""Expands the blocks of a grid to runs: lazily, in a stable order, each run once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from anlp.core.errors import SpecError
from anlp.core.spec import RunSpec, Scalar, TaskSettings
from anlp.records.options import WandbOptions
from jobs.config.resources import Resources
from jobs.gridfile.blocks import SEED, Block, Exclude, Values, When
from jobs.gridfile.settings import Vocabulary
from jobs.programs.program import ProgramBlock

MAX_REFUSED = 10_000  # combinations, then the expansion ends: there may be billions


TRIED_FOR_A_RUN = 10  # combinations for each run that a grid may have: trying them takes time
SHORTEN = "shorten the lists, or draw from them with random and samples"


@dataclass(slots=True)
class _Refusal:
    """Combinations that the settings model refuses for one reason."""

    block: Block
    first: str
    count: int = 0


@dataclass(frozen=True, slots=True)
class Expansion:
    """All runs of a grid, and what the expansion left out."""

    runs: tuple[RunSpec, ...]
    notes: tuple[str, ...]  # what may be a mistake in the grid
    combinations: int  # with seeds, before anything is left out
    excluded: int
    duplicates: int  # combinations that give a run which another one gave before


class _Expander:
    """One pass over the runs of a grid; its counts and notes are complete when it has ended.

    Iterating raises `SpecError` after the last combination if the task's settings refuse any, or
    if no run is left; after the first refused combination it yields no more runs.
    """

    def __init__(self, grid: GridSpec, most: int | None = None) -> None:
        self.combinations = 0
        self._most = most  # combinations
        self.excluded = 0
        self.duplicates = 0
        self.runs = 0
        self._grid = grid
        self._words = grid.words
        self._seen: set[str] = set()
        self._refusals: dict[str, _Refusal] = {}
        self._excludes = list(
            dict.fromkeys(rule for block in grid.blocks for rule in block.excludes)
        )
        self._idle_excludes = set(self._excludes)
        self._fitted: set[When] = set()
        self._without_effect = {name for block in grid.blocks for name in block.named()} & set(
            self._words.model.only_for
        )

    def __iter__(self) -> Iterator[RunSpec]:
        for block in self._grid.blocks:
            yield from self._runs_of(block)
        self._raise_faults()

    def _runs_of(self, block: Block) -> Iterator[RunSpec]:
        by_point = [rule for rule in block.excludes if not rule.asks_seed]
        by_seed = [rule for rule in block.excludes if rule.asks_seed]
        for values, may_be_excluded in block.points(self._words.defaults, self._fitted):
            self.combinations += len(block.seeds)
            if self._most is not None and self.combinations > self._most:
                raise SpecError(_too_many(self._grid, self.combinations, self._most))
            if may_be_excluded and self._is_excluded(by_point, values):
                self.excluded += len(block.seeds)
                continue
            settings = self._settings(block, values)
            for seed in block.seeds:
                if (
                    may_be_excluded
                    and by_seed
                    and self._is_excluded(by_seed, {**values, SEED: seed})
                ):
                    self.excluded += 1
                elif settings is not None:
                    yield from self._once(RunSpec(self._grid.task, settings, seed))

    def _is_excluded(self, rules: list[Exclude], values: Values) -> bool:
        found = [rule for rule in rules if rule.rule.matches(values)]
        self._idle_excludes.difference_update(found)
        return bool(found)

    def _settings(self, block: Block, values: Values) -> TaskSettings | None:
        """Return the typed settings, None where they are refused or were refused before."""
        try:
            settings = self._words.model.model_validate(values)
        except ValidationError as error:
            for reason in _reasons(error):
                if reason not in self._refusals:
                    self._refusals[reason] = _Refusal(block, _described(values, block, self._grid))
                self._refusals[reason].count += 1
            if sum(refusal.count for refusal in self._refusals.values()) >= MAX_REFUSED:
                self._raise_faults()
            return None
        if self._without_effect:
            self._without_effect = {
                name for name in self._without_effect if not settings.applies(name)
            }
        return settings

    def _once(self, run: RunSpec) -> Iterator[RunSpec]:
        if run.run_id in self._seen:
            self.duplicates += 1
            return
        self._seen.add(run.run_id)
        self.runs += 1
        if not self._refusals:
            yield run

    def _raise_faults(self) -> None:
        if self._refusals:
            raise SpecError(
                [self._refused(reason, refusal) for reason, refusal in self._refusals.items()]
            )
        if not self.runs:
            line = self._grid.blocks[0].line
            raise SpecError(
                f"{self._grid.source}:{line}: no run is left: "
                f"exclude takes all {self.combinations:,} combinations"
            )

    def _refused(self, reason: str, refusal: _Refusal) -> str:
        where = f"{refusal.block.path}: " if refusal.block.path else ""
        number = "1 combination is" if refusal.count == 1 else f"{refusal.count:,} combinations are"
        if refusal.count >= MAX_REFUSED:
            number = f"{refusal.count:,} combinations or more are"
        return (
            f"{self._grid.source}:{refusal.block.line}: {where}{reason}; {number} refused, "
            f"the first: {refusal.first} "
            "(leave them out with exclude, or put the axis under when)"
        )

    def notes(self) -> tuple[str, ...]:
        """Return what may be a mistake in the grid, the notes of reading it first."""
        return tuple(dict.fromkeys((*self._grid.notes, *self._own_notes())))

    def _own_notes(self) -> Iterator[str]:
        source, rules = self._grid.source, self._words.model.only_for
        whens = [
            when for block in self._grid.blocks for when in block.whens if when not in self._fitted
        ]
        excludes = [rule for rule in self._excludes if rule in self._idle_excludes]
        yield from (
            f"{source}:{when.line}: {when.path}: its `if` fits no combination" for when in whens
        )
        yield from (
            f"{source}:{rule.line}: exclude {rule.text} matches no combination" for rule in excludes
        )
        for name in sorted(self._without_effect):
            where = f"{rules[name].setting} is {' or '.join(sorted(rules[name].values))}"
            yield f"{source}: {name} has no effect in any run: it is used only where {where}"


def _too_many(grid: GridSpec, tried: int, most: int) -> str:
    return (
        f"{grid.source}: {tried:,} combinations or more, of which exclude would leave some; "
        f"at most {most:,} are tried: {SHORTEN}"
    )


def _reasons(error: ValidationError) -> list[str]:
    """Return what a settings model says against a combination, in its own words."""
    found = []
    for fault in error.errors(include_url=False):
        name = ".".join(map(str, fault["loc"]))
        own = fault.get("ctx", {}).get("error")
        message = str(own) if own is not None else fault["msg"]
        found.append(f"{name}: {message}" if name else message)
    return found


def _described(values: Mapping[str, Scalar], block: Block, grid: GridSpec) -> str:
    """Render a combination by what varies in the grid file, or by all that it sets."""
    varying = [name for name in grid.axes() if name in values]
    return (
        " ".join(f"{name}={shown(values[name])}" for name in varying or block.named())
        or "the defaults"
    )


def shown(value: Scalar) -> str:
    """Return a value as a grid file has it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


STOP_AFTER = 10


@dataclass(frozen=True, slots=True)
class GridSpec:
    """A study: its runs and what each of them asks of a machine."""

    name: str
    source: Path
    text: str  # the file as read; of a sweep file, the grid file that it means
    words: Vocabulary
    blocks: tuple[Block, ...]
    program: ProgramBlock | None = None  # the user's own code
    is_of_sweep: bool = False  # whether the file is a sweep of wandb
    resources: Resources = field(default_factory=Resources)
    wandb: WandbOptions = field(default_factory=WandbOptions)  # its group is filled in by submit
    container: str | None = None
    fallback: str | None = None  # the data set to take where the grid's own cannot be found
    retries: int = 0  # of each run that its machine ended
    pack: int = 1  # runs that share a GPU and a job at a time
    chain: int = 1  # runs one after the other in one job
    stop_after: int = STOP_AFTER  # so many runs in a row that fail alike; 0: never
    checkpoint_every: int = 1  # epochs
    keep: Literal["none", "best", "last"] = "best"
    predictions: bool = False  # whether runs write what their model says about each test sample
    notes: tuple[str, ...] = ()  # what may be a mistake; of large grids `Expansion.notes` has more

    def runs(self) -> Iterator[RunSpec]:
        """Yield every run once: blocks in order, the last axis fastest, seeds innermost.

        Raises:
            SpecError: after the last run, where the task's settings refuse a combination, or no
                run is left.
        """
        return iter(_Expander(self))

    def expand(self, most: int | None = None) -> Expansion:
        """Return all runs, with what was left out and what may be a mistake.

        Args:
            most: the largest number of runs; None: any number.

        Raises:
            SpecError: there are more, the task's settings refuse a combination, or no run is left.
        """
        if most is not None:
            self._check_size(most)
        expander = _Expander(self, None if most is None else most * TRIED_FOR_A_RUN)
        runs: list[RunSpec] = []
        for run in expander:
            runs.append(run)
            if most is not None and len(runs) > most:
                raise SpecError(f"{self.source}: more than {most:,} runs: {SHORTEN}")
        return Expansion(
            tuple(runs),
            expander.notes(),
            expander.combinations,
            expander.excluded,
            expander.duplicates,
        )

    def _check_size(self, most: int) -> None:
        """Refuse what is too large by the sizes of its axes alone, without expanding it.

        Raises:
            SpecError: it is.
        """
        tried = sum(block.least_combinations for block in self.blocks)
        if any(block.least_runs(self.words.model.only_for) > most for block in self.blocks):
            raise SpecError(
                f"{self.source}: more than {most:,} runs: {SHORTEN} "
                f"(the lists have {tried:,} combinations)"
            )
        if tried > most * TRIED_FOR_A_RUN:
            raise SpecError(_too_many(self, tried, most * TRIED_FOR_A_RUN))

    @property
    def task(self) -> str:
        """Return the task's name."""
        return self.words.task

    @property
    def size_hint(self) -> int:
        """At most this many runs; costs nothing."""
        return sum(block.size_hint for block in self.blocks)

    def axes(self) -> dict[str, tuple[Scalar, ...]]:
        """Return what varies, with its values, in file order; several seeds come last."""
        words = self.words
        always = {
            name: value
            for name, value in words.defaults.items()
            if name not in words.model.only_for
        }
        names = dict.fromkeys(name for block in self.blocks for name in block.named())
        found: dict[str, tuple[Scalar, ...]] = {}
        for name in names:
            values = (value for block in self.blocks for value in block.values_of(name, always))
            found[name] = tuple(dict.fromkeys(values))
        found[SEED] = tuple(dict.fromkeys(seed for block in self.blocks for seed in block.seeds))
        return {name: values for name, values in found.items() if len(values) > 1}
