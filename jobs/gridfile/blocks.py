"""A block of a grid (fixed settings, axes, exclusions) and the combinations that it gives."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from anlp.core.filters import Filter
from anlp.core.spec import Scalar

Values = dict[str, Scalar]
SEED = "seed"


@dataclass(frozen=True, slots=True)
class Axis:
    """Settings that vary together: one for `grid`, several for `zip` and `random`.

    A point has a value for each.
    """

    names: tuple[str, ...]
    points: tuple[tuple[Scalar, ...], ...]
    kind: Literal["grid", "zip", "random"]
    line: int

    def values_of(self, name: str) -> tuple[Scalar, ...]:
        """Return the distinct values of one of its settings, in order."""
        column = self.names.index(name)
        return tuple(dict.fromkeys(point[column] for point in self.points))


@dataclass(frozen=True, slots=True)
class Match:
    """A partial description of runs: every named setting has one of its values."""

    wanted: Mapping[str, tuple[Scalar, ...]]

    @property
    def names(self) -> frozenset[str]:
        """Return the settings it asks about."""
        return frozenset(self.wanted)

    def matches(self, values: Mapping[str, Scalar]) -> bool:
        """Return whether `values` (all settings) fit."""
        return all(values.get(name) in wanted for name, wanted in self.wanted.items())


@dataclass(frozen=True, slots=True, eq=False)
class When:
    """What is added to the combinations that fit `condition`."""

    condition: Match
    fixed: Mapping[str, Scalar]
    axes: tuple[Axis, ...]
    path: str
    line: int


@dataclass(frozen=True, slots=True, eq=False)
class Exclude:
    """Combinations that are left out; `text` is how it is named in notes."""

    rule: Match | Filter
    text: str
    line: int

    @property
    def asks_seed(self) -> bool:
        """Return whether it must be tried for each seed."""
        return SEED in self.rule.names


@dataclass(frozen=True, slots=True)
class Block:
    """One cartesian product; `fixed` has the block's own values over those of the file's top."""

    fixed: Mapping[str, Scalar]
    axes: tuple[Axis, ...]
    whens: tuple[When, ...]
    excludes: tuple[Exclude, ...]
    includes: tuple[Mapping[str, Scalar], ...]
    seeds: tuple[int, ...]
    path: str  # "" or "union[1]"
    line: int

    def points(
        self, defaults: Mapping[str, Scalar], fitted: set[When]
    ) -> Iterator[tuple[Values, bool]]:
        """Yield every combination without seeds, complete, and whether `exclude` applies to it.

        Args:
            defaults: of every setting of the task.
            fitted: grows by each `when` that some combination fits.
        """
        base = {**defaults, **self.fixed}
        for values in product_over(base, self.axes):
            for point in self._conditional(values, 0, fitted):
                yield point, True
        for extra in self.includes:
            yield {**base, **extra}, False

    def _conditional(self, values: Values, index: int, fitted: set[When]) -> Iterator[Values]:
        """Apply the whens from `index` on, each to what the earlier ones set."""
        while index < len(self.whens):
            when = self.whens[index]
            index += 1
            if when.condition.matches(values):
                fitted.add(when)
                for extended in product_over({**values, **when.fixed}, when.axes):
                    yield from self._conditional(extended, index, fitted)
                return
        yield values

    @property
    def size_hint(self) -> int:
        """Return an upper bound on the number of runs, seeds included; takes no time."""
        conditional = math.prod(max(1, _size(when.axes)) for when in self.whens)
        return (_size(self.axes) * conditional + len(self.includes)) * len(self.seeds)

    @property
    def least_combinations(self) -> int:
        """Return a lower bound on the combinations, seeds included; takes no time."""
        return (_size(self.axes) + len(self.includes)) * len(self.seeds)

    def least_runs(self, idle: Collection[str]) -> int:
        """Return a lower bound on the runs, seeds included; takes no time.

        Args:
            idle: settings that have no effect in some runs, which are equal then.
        """
        if self.excludes or self.whens:
            return 0
        distinct = [axis for axis in self.axes if not set(axis.names) & set(idle)]
        return math.prod(len(set(axis.points)) for axis in distinct) * len(self.seeds)

    def named(self) -> tuple[str, ...]:
        """Return every setting it gives a value, in file order."""
        names = [*self.fixed, *_names(self.axes)]
        for when in self.whens:
            names += [*when.fixed, *_names(when.axes)]
        for extra in self.includes:
            names += extra
        return tuple(dict.fromkeys(names))

    def values_of(self, name: str, defaults: Mapping[str, Scalar]) -> tuple[Scalar, ...]:
        """Return the values that `name` may take, in order; its default only if nothing sets it."""
        whens = [when for when in self.whens if _when_values(when, name)]
        found = self._plain_values(name)
        if not found and name in defaults and self._may_miss(whens, defaults):
            found = [defaults[name]]
        conditional = [value for when in whens for value in _when_values(when, name)]
        extra = [point[name] for point in self.includes if name in point]
        return tuple(dict.fromkeys([*found, *conditional, *extra]))

    def _plain_values(self, name: str) -> list[Scalar]:
        """Return values of an axis or of `fixed`."""
        on_axes = [
            value for axis in self.axes if name in axis.names for value in axis.values_of(name)
        ]
        if not on_axes and name in self.fixed:
            return [self.fixed[name]]
        return on_axes

    def _may_miss(self, whens: list[When], defaults: Mapping[str, Scalar]) -> bool:
        """Return whether some combination of free settings fits none of `whens`."""
        asked = sorted({name for when in whens for name in when.condition.names})
        columns = [self._asked_values(name, whens, defaults) for name in asked]
        points = (dict(zip(asked, point, strict=True)) for point in itertools.product(*columns))
        return any(not any(when.condition.matches(point) for when in whens) for point in points)

    def _asked_values(
        self, name: str, whens: list[When], defaults: Mapping[str, Scalar]
    ) -> list[Scalar]:
        """Return the values of `name` that some condition wants, and one for all the others."""
        values = self._plain_values(name)
        if not values and name in defaults:
            values = [defaults[name]]
        for when in self.whens:
            values += _when_values(when, name)
        wanted = {value for when in whens for value in when.condition.wanted.get(name, ())}
        distinct = dict.fromkeys(values)
        others = [value for value in distinct if value not in wanted]
        return [value for value in distinct if value in wanted] + others[:1]


def product_over(base: Mapping[str, Scalar], axes: tuple[Axis, ...]) -> Iterator[Values]:
    """Yield `base` with every combination of the axes' points over it, the last axis fastest."""
    for chosen in itertools.product(*(axis.points for axis in axes)):
        values = dict(base)
        for axis, point in zip(axes, chosen, strict=True):
            values.update(zip(axis.names, point, strict=True))
        yield values


def _size(axes: tuple[Axis, ...]) -> int:
    return math.prod(len(axis.points) for axis in axes)


def _names(axes: tuple[Axis, ...]) -> list[str]:
    return [name for axis in axes for name in axis.names]


def _when_values(when: When, name: str) -> tuple[Scalar, ...]:
    if name in when.fixed:
        return (when.fixed[name],)
    return tuple(
        value for axis in when.axes if name in axis.names for value in axis.values_of(name)
    )
