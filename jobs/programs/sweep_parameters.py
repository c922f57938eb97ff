"""Read the parameters of a wandb sweep file: each becomes a value, an axis or a draw of a grid."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from anlp.core.errors import closest, did_you_mean
from jobs.config.yaml_tree import Entry, Faults, Items, Leaf, Table, Tree, join, show

Number = int | float
NO_VALUE = "None"  # how wandb passes null
DIGITS = 12
MOST_NESTED = 20

# The names that a sweep file uses, the rule of `random` with the same meaning, and its arguments
# with their defaults; the arguments of a rule that ends with `!` are exponents.
_MIN_MAX: Mapping[str, Number | None] = {"min": None, "max": None}
_NORMAL: Mapping[str, Number | None] = {"mu": 0, "sigma": 1}
_BETA: Mapping[str, Number | None] = {"a": 1, "b": 1}
_Q: Mapping[str, Number | None] = {"q": 1}
_DISTRIBUTIONS: Mapping[str, tuple[str, Mapping[str, Number | None]]] = {
    "uniform": ("uniform", _MIN_MAX),
    "int_uniform": ("int", _MIN_MAX),
    "q_uniform": ("quniform", {**_MIN_MAX, **_Q}),
    "log_uniform": ("loguniform!", _MIN_MAX),
    "log_uniform_values": ("loguniform", _MIN_MAX),
    "inv_log_uniform": ("loguniform!", _MIN_MAX),
    "inv_log_uniform_values": ("loguniform", _MIN_MAX),
    "q_log_uniform": ("qloguniform!", {**_MIN_MAX, **_Q}),
    "q_log_uniform_values": ("qloguniform", {**_MIN_MAX, **_Q}),
    "normal": ("normal", _NORMAL),
    "q_normal": ("qnormal", {**_NORMAL, **_Q}),
    "log_normal": ("lognormal", _NORMAL),
    "q_log_normal": ("qlognormal", {**_NORMAL, **_Q}),
    "beta": ("beta", _BETA),
    "q_beta": ("qbeta", {**_BETA, **_Q}),
}
_CHOICES: Mapping[str, tuple[str, ...]] = {
    "constant": ("value",),
    "categorical": ("values", "probabilities"),
    "categorical_w_probabilities": ("values", "probabilities"),
}
_ALL_KEYS: tuple[str, ...] = (
    *("value", "values", "probabilities", "distribution", "parameters"),
    *("min", "max", "mu", "sigma", "a", "b", "q"),
)


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a sweep, by the name under which the program gets it."""

    name: str
    line: int
    path: str
    kind: Literal["value", "values", "draw"]
    values: tuple[Any, ...] = ()  # of `value` (one) and `values`
    weights: tuple[Number, ...] = ()  # of `values`, where they are not equally likely
    rule: str = ""  # of a draw, with its arguments
    arguments: tuple[Number, ...] = ()


@dataclass(slots=True)
class SweepReader:
    """Reads parameters, and collects faults, and sentences about what the grid does otherwise."""

    faults: Faults
    notes: list[str] = field(default_factory=list)

    def parameters(self, table: Table, path: str, prefix: str = "") -> Iterator[Parameter]:
        """Yield the parameters of a table, nested ones as `outer.inner`."""
        for name, entry in table.entries.items():
            where, full = join(path, name), f"{prefix}{name}"
            if not isinstance(entry.tree, Table):
                self.faults.add(
                    entry.line,
                    where,
                    "expected a mapping such as {values: [1, 2]} or {min: 0.1, max: 1}, got "
                    f"{show(entry.tree)}",
                )
            elif "parameters" in entry.tree.entries:
                yield from self._nested(entry.tree, where, full)
            else:
                found = self._parameter(full, entry, entry.tree, where)
                if found is not None:
                    yield found

    def _nested(self, table: Table, path: str, full: str) -> Iterator[Parameter]:
        self.only(table, path, ("parameters",))
        inner = table.entries["parameters"]
        if not isinstance(inner.tree, Table) or full.count(".") > MOST_NESTED:
            self.faults.add(inner.line, path, f"expected parameters, got {show(inner.tree)}")
            return
        self.notes.append(
            f"{full}: nested parameters are settings with a dot, passed as --{full}.NAME VALUE; "
            "wandb passes one dictionary"
        )
        yield from self.parameters(inner.tree, join(path, "parameters"), f"{full}.")

    def only(self, table: Table, path: str, known: tuple[str, ...]) -> bool:
        """Note a fault for every key that is not known; return whether there is none."""
        unknown = [name for name in table.entries if name not in known]
        for name in unknown:
            sentence = f"unknown key {name!r}{did_you_mean(name, known)}"
            self.faults.add(table.entries[name].line, path, sentence)
        return not unknown

    def _parameter(self, name: str, entry: Entry, table: Table, path: str) -> Parameter | None:
        distribution = self._distribution(table, path)
        if distribution is None:
            return None
        if distribution in _CHOICES:
            return self._choice(name, entry, table, path, distribution)
        rule, defaults = _DISTRIBUTIONS[distribution]
        if not self.only(table, path, ("distribution", *defaults)):
            return None
        arguments = self._arguments(table, path, defaults)
        if arguments is None:
            return None
        if rule.endswith("!"):
            arguments = self._from_exponents(name, distribution, arguments, table, path)
        if arguments is None:
            return None
        plain = rule.removesuffix("!")
        return Parameter(name, entry.line, path, "draw", rule=plain, arguments=arguments)

    def _distribution(self, table: Table, path: str) -> str | None:
        """Return the distribution, as wandb takes it where none is named; None after a fault."""
        known = (*_DISTRIBUTIONS, *_CHOICES)
        if "distribution" in table.entries:
            tree = table.entries["distribution"].tree
            text = tree.text if isinstance(tree, Leaf) else ""
            if text in known:
                return text
            near = closest(text, known)
            hint = f" (did you mean {near!r}?)" if near else f"; known: {', '.join(known)}"
            self.faults.add(
                tree.line,
                join(path, "distribution"),
                f"expected the name of a distribution, got {show(tree)}{hint}",
            )
            return None
        if "value" in table.entries:
            return "constant"
        if "values" in table.entries:
            return "categorical"
        if "min" in table.entries or "max" in table.entries:
            bounds = [table.entries[key].tree for key in ("min", "max") if key in table.entries]
            whole = all(isinstance(tree, Leaf) and type(tree.value) is int for tree in bounds)
            return "int_uniform" if whole else "uniform"
        if self.only(table, path, _ALL_KEYS):
            self.faults.add(
                table.line, path, "expected value, values, min and max, or a distribution"
            )
        return None

    def _choice(
        self, name: str, entry: Entry, table: Table, path: str, distribution: str
    ) -> Parameter | None:
        keys = _CHOICES[distribution]
        is_known = self.only(table, path, ("distribution", *keys))
        if not is_known or not self._has(table, path, keys[0]):
            return None
        tree = table.entries[keys[0]].tree
        if distribution == "constant":
            return Parameter(name, entry.line, path, "value", (plain_value(tree),))
        if not isinstance(tree, Items) or not tree.items:
            self.faults.add(
                tree.line, join(path, "values"), f"expected a list of values, got {show(tree)}"
            )
            return None
        values = tuple(plain_value(item) for item in tree.items)
        weights = self._weights(table, path, len(values))
        if weights is None:
            return None
        return Parameter(name, entry.line, path, "values", values, weights)

    def _weights(self, table: Table, path: str, count: int) -> tuple[Number, ...] | None:
        """Return the probabilities, empty where there are none; None after a fault."""
        if "probabilities" not in table.entries:
            return ()
        tree, where = table.entries["probabilities"].tree, join(path, "probabilities")
        found = [number_of(item) for item in tree.items] if isinstance(tree, Items) else []
        weights = tuple(weight for weight in found if weight is not None and weight >= 0)
        if len(weights) != count or len(found) != count or not any(weights):
            self.faults.add(
                tree.line,
                where,
                f"expected {count} probabilities, one for each value, got {show(tree)}",
            )
            return None
        return weights

    def _has(self, table: Table, path: str, key: str) -> bool:
        if key not in table.entries:
            self.faults.add(table.line, path, f"expected the key {key!r}")
        return key in table.entries

    def _arguments(
        self, table: Table, path: str, defaults: Mapping[str, Number | None]
    ) -> tuple[Number, ...] | None:
        found: list[Number] = []
        for key, default in defaults.items():
            if key in table.entries:
                tree = table.entries[key].tree
                value = number_of(tree)
                if value is None:
                    self.faults.add(
                        tree.line, join(path, key), f"expected a number, got {show(tree)}"
                    )
            else:
                value = default
                if value is None:
                    self._has(table, path, key)
            if value is not None:
                found.append(value)
        if len(found) < len(defaults):
            return None
        if "min" in defaults and found[0] >= found[1]:
            self.faults.add(
                table.line, path, f"expected min < max, got {found[0]:g} and {found[1]:g}"
            )
            return None
        return tuple(found)

    def _from_exponents(
        self, name: str, distribution: str, arguments: tuple[Number, ...], table: Table, path: str
    ) -> tuple[Number, ...] | None:
        """Return the values that wandb's `log_uniform` means by its exponents of e."""
        lowest, highest = arguments[:2]
        if distribution.startswith("inv"):
            lowest, highest = -highest, -lowest
        if max(abs(lowest), abs(highest)) > 300:
            self.faults.add(
                table.line,
                path,
                f"min and max of {distribution} are exponents of e; for the values themselves use "
                f"{distribution}_values",
            )
            return None
        values = tuple(float(f"{math.exp(bound):.{DIGITS}g}") for bound in (lowest, highest))
        self.notes.append(
            f"{name}: min and max of {distribution} are exponents of e, so the values are from "
            f"{values[0]:g} to {values[1]:g}; {distribution}_values takes the values themselves"
        )
        return (*values, *arguments[2:])


def number_of(tree: Tree) -> Number | None:
    """Return a finite number, None for anything else."""
    value = tree.value if isinstance(tree, Leaf) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value


def plain_value(tree: Tree) -> Any:
    """Return a value; a list or mapping as the text that wandb would pass."""
    if isinstance(tree, Leaf):
        return NO_VALUE if tree.value is None else tree.value
    return repr(_python_value(tree))


def _python_value(tree: Tree) -> Any:
    if isinstance(tree, Items):
        return [_python_value(item) for item in tree.items]
    if isinstance(tree, Table):
        return {name: _python_value(entry.tree) for name, entry in tree.entries.items()}
    return tree.value
