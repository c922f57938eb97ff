"""The settings of a task as a grid file gives them: each value typed, or refused in a sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from anlp.core.errors import closest, did_you_mean
from anlp.core.spec import Scalar, TaskSettings
from anlp.tasks import TASKS
from anlp.tasks.user_code import RESERVED, OpenSettings
from jobs.config.yaml_tree import Leaf, Tree, show

_BOUNDS: Mapping[str, str] = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
_KINDS: Mapping[type, str] = {
    float: "a number",
    int: "a whole number",
    bool: "true or false",
    str: "text",
}


@dataclass(frozen=True, slots=True)
class Setting:
    """What one setting accepts; `choices` are the words of a `Literal`, empty for other types.

    The kind `object` is any scalar, typed as YAML has it. `refuse` says why a value of the right
    type is refused all the same, and nothing where it is taken.
    """

    name: str
    kind: type
    choices: tuple[Scalar, ...]
    wanted: str
    adapter: TypeAdapter[Any]
    refuse: Callable[[Scalar], str] | None = None

    def check(self, leaf: Tree) -> Scalar:
        """Return the typed value; raises `ValueError` with the sentence `expected …, got …`."""
        if not isinstance(leaf, Leaf) or not self._is_of_kind(leaf):
            raise ValueError(self._refusal(leaf))
        value = leaf.text if self.kind is str else leaf.value
        try:
            typed: Scalar = self.adapter.validate_python(value)
        except ValidationError:
            raise ValueError(self._refusal(leaf)) from None
        refused = "" if self.refuse is None else self.refuse(typed)
        if refused:
            raise ValueError(refused)
        return typed + 0.0 if isinstance(typed, float) else typed  # -0.0 and 0.0 are one run

    def _is_of_kind(self, leaf: Leaf) -> bool:
        """Return whether the type fits: pydantic takes true for 1, a grid file does not."""
        if leaf.value is None:
            return False
        if self.kind in (str, object):
            return True
        return isinstance(leaf.value, bool) == (self.kind is bool)

    def _refusal(self, leaf: Tree) -> str:
        near = (
            closest(leaf.text, [str(choice) for choice in self.choices])
            if isinstance(leaf, Leaf)
            else None
        )
        hint = f" (did you mean {near!r}?)" if near else ""
        return f"expected {self.wanted}, got {show(leaf)}{hint}"


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The settings of a task by name, with their defaults."""

    task: str
    model: type[TaskSettings]
    settings: Mapping[str, Setting]
    defaults: Mapping[str, Scalar]
    required: tuple[str, ...] = ()  # settings without a default, which every run has to give

    def unknown(self, name: str) -> str:
        """Return the sentence for a name that is no setting."""
        if name in ("seed", "seeds"):
            return f"{name!r} is no setting; write `seeds: 5` or `seeds: [1, 2]` beside grid"
        if self.model is OpenSettings and name in RESERVED:
            return f"{name!r} is a name of the suite; pass it in `command` instead"
        return f"unknown setting {name!r}{did_you_mean(name, self.settings)}"


@cache
def vocabulary_of(task: str) -> Vocabulary:
    """Return what can be written about `task`, which must be one of `TASKS`."""
    return words_of_class(task, TASKS[task].settings)


def words_of_class(task: str, model: type[TaskSettings]) -> Vocabulary:
    """Return what can be written about a task with this settings class.

    Raises:
        TypeError: a field is no scalar.
    """
    settings = {name: _setting(name, field) for name, field in model.model_fields.items()}
    defaults = {
        name: field.default for name, field in model.model_fields.items() if not field.is_required()
    }
    return Vocabulary(task, model, settings, defaults)


def _setting(name: str, field: FieldInfo) -> Setting:
    return make_setting(name, field.annotation, field.metadata)


def make_setting(name: str, annotation: Any, metadata: Sequence[Any] = ()) -> Setting:
    """Return a setting of a type: bool, int, float, str, or a `Literal` of such.

    Args:
        name: of the setting.
        annotation: the type.
        metadata: bounds as of pydantic's `Field`.

    Raises:
        TypeError: a setting cannot be of this type.
    """
    choices = get_args(annotation) if get_origin(annotation) is Literal else ()
    kind = type(choices[0]) if choices else annotation
    if kind not in _KINDS:
        raise TypeError(f"setting {name!r} has the type {annotation}, and a setting is a scalar")
    constrained: Any = Annotated[(annotation, *metadata)] if metadata else annotation
    adapter: TypeAdapter[Any] = TypeAdapter(constrained, config=ConfigDict(allow_inf_nan=False))
    return Setting(name, kind, choices, _wanted(kind, choices, metadata), adapter)


def free_setting(name: str) -> Setting:
    """Return a setting of which nothing is known: any scalar will do."""
    adapter: TypeAdapter[Any] = TypeAdapter(Scalar, config=ConfigDict(allow_inf_nan=False))
    return Setting(name, object, (), "a number, true or false, or text", adapter)


def _wanted(kind: type, choices: tuple[Scalar, ...], metadata: Iterable[Any]) -> str:
    if choices:
        return f"one of {', '.join(map(str, choices))}"
    bounds = [
        f"{symbol} {getattr(mark, name):g}"
        for mark in metadata
        for name, symbol in _BOUNDS.items()
        if getattr(mark, name, None) is not None
    ]
    return " ".join([_KINDS[kind], " and ".join(bounds)]).strip()


MAX_SEED = 2**32 - 1  # what every library's generator takes


@cache
def seed_setting() -> Setting:
    """Return a seed, as `seeds` lists it and `exclude` asks for it."""
    adapter: TypeAdapter[Any] = TypeAdapter(Annotated[int, Field(ge=0, le=MAX_SEED)])
    return Setting("seed", int, (), f"a whole number from 0 to {MAX_SEED}", adapter)
