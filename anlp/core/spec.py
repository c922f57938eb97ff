"""What a run is: a task, its settings and a seed, and the id that follows from them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, model_validator
from typing_extensions import Self

Scalar = bool | int | float | str
Settings = Mapping[str, Scalar]

RUN_ID_LENGTH = 12
SEED = "seed"


@dataclass(frozen=True, slots=True)
class DefaultForHash:
    """Marks a setting that was added after release.

    At this value the setting is left out of the id, so that older runs keep theirs.
    """

    value: Scalar


@dataclass(frozen=True, slots=True)
class ActiveWhen:
    """Marks a setting that has an effect only while another has one of some values.

    For example `filters` for `model: cnn` only.
    """

    setting: str
    values: frozenset[str]


@dataclass(frozen=True, slots=True)
class DataKey:
    """A data set as a run wants it.

    A process loads it once for all runs with an equal key.
    """

    loader: str  # "module:function", called with the data folder, the name and the options
    name: str
    options: tuple[tuple[str, Scalar], ...] = ()


class TaskSettings(BaseModel):
    """Base of every task's settings: flat, frozen, strict about unknown names; values are scalars.

    Settings that do not apply (`only_for`) are put back to their default, so that `dense` runs that
    differ only in the number of convolution filters are one run.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    only_for: ClassVar[Mapping[str, ActiveWhen]] = {}
    # "module:function" by value of `data`; the key "" is for any other value, the name of a file or
    # folder
    loaders: ClassVar[Mapping[str, str]] = {}
    loader_args: ClassVar[tuple[str, ...]] = ()  # settings that the loader takes
    # like `loaders`, but light: called with the same arguments on the login node before anything is
    # queued
    checks: ClassVar[Mapping[str, str]] = {}
    smoke: ClassVar[Mapping[str, Scalar]] = {}  # settings for a run of seconds that needs no files
    needs: ClassVar[tuple[str, ...]] = ()  # packages beyond torch that some runs import
    # "module:function" that builds a run, imported on the compute node only
    builder: ClassVar[str] = ""
    neutral: ClassVar[Mapping[str, Scalar]] = {}  # filled from the `DefaultForHash` marks

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        neutral: dict[str, Scalar] = {}
        for name, field in cls.model_fields.items():
            for mark in field.metadata:
                if isinstance(mark, DefaultForHash):
                    neutral[name] = mark.value
        cls.neutral = neutral

    @model_validator(mode="after")
    def _reset_what_does_not_apply(self) -> Self:
        for name, rule in self.only_for.items():
            if self.__dict__[rule.setting] not in rule.values:
                # a frozen model refuses setattr; inside its validator the object is not finished
                self.__dict__[name] = type(self).model_fields[name].default
        return self

    def applies(self, name: str) -> bool:
        """Tell whether the setting `name` has any effect on this run."""
        rule = self.only_for.get(name)
        return rule is None or self.__dict__[rule.setting] in rule.values

    def data_key(self) -> DataKey | None:
        """Return the data set of this run; None for a task that has none."""
        name = str(self.__dict__.get("data", ""))
        loader = self.loaders.get(name) or self.loaders.get("")
        if loader is None:
            return None
        return DataKey(
            loader, name, tuple((option, self.__dict__[option]) for option in self.loader_args)
        )

    def check_key(self) -> DataKey | None:
        """Return what checks the data of this run on the login node, None where nothing does."""
        key, check = self.data_key(), self.checks.get(str(self.__dict__.get("data", "")))
        if check is None and key is not None and key.loader == self.loaders.get(""):
            check = self.checks.get("")
        return DataKey(check, key.name, key.options) if key and check else None

    def assets(self) -> tuple[str, ...]:
        """Return the files needed beside the data set (pretrained weights), by catalogue name."""
        return ()

    def values(self) -> dict[str, Scalar]:
        """Return every setting by name, resolved."""
        return dict(self.__dict__)

    def identity(self) -> dict[str, Scalar]:
        """Return the settings that make up the id: all but those at their `DefaultForHash`."""
        found = dict(self.__dict__)
        for name, value in self.neutral.items():
            if found[name] == value:
                del found[name]
        return found


def canonical_json(value: Any) -> str:
    """Return the one text of a value: sorted keys, no blanks, shortest exact floats.

    >>> canonical_json({"lr": 0.1, "epochs": 3})
    '{"epochs":3,"lr":0.1}'

    Raises:
        ValueError: for NaN or infinity, which have no JSON form.
    """
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True
    )


@dataclass(frozen=True)
class RunSpec:
    """One run; equal specs are one run, wherever and however often they are submitted."""

    task: str
    settings: TaskSettings
    seed: int

    @cached_property
    def run_id(self) -> str:
        """First 12 hex digits of the SHA-256 of the canonical JSON of task, settings and seed."""
        identity = {"task": self.task, "settings": self.settings.identity(), "seed": self.seed}
        return hashlib.sha256(canonical_json(identity).encode()).hexdigest()[:RUN_ID_LENGTH]

    @property
    def values(self) -> dict[str, Scalar]:
        """Settings and seed by name."""
        return {**self.settings.values(), SEED: self.seed}

    @cached_property
    def config_id(self) -> str:
        """Like `run_id`, without the seed: runs that share it are replicates of a configuration."""
        identity = {"task": self.task, "settings": self.settings.identity()}
        return hashlib.sha256(canonical_json(identity).encode()).hexdigest()[:RUN_ID_LENGTH]

    def to_json(self) -> dict[str, Any]:
        """Return the form in batch files and `spec.json`; `anlp.tasks.spec_from_json` reads it."""
        return {
            "run_id": self.run_id,
            "task": self.task,
            "settings": self.settings.values(),
            "seed": self.seed,
        }


def epochs_in(settings: Mapping[str, Any]) -> int:
    """Return the epochs that a run is to train; 0 where no setting says so.

    Settings of the user's own code may have anything under that name.

    >>> epochs_in({"epochs": 3}), epochs_in({"epochs": "auto"}), epochs_in({})
    (3, 0, 0)
    """
    value = settings.get("epochs")
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**9
    return int(value) if is_count and value is not None else 0


def varying(runs: Iterable[Mapping[str, Any]]) -> list[str]:
    """Names that have several values among these runs, in the order of the task, the seed last.

    >>> varying([{"lr": 0.1, "seed": 0, "model": "cnn"}, {"lr": 0.2, "seed": 1, "model": "cnn"}])
    ['lr', 'seed']
    """
    levels: dict[str, set[Any]] = {}
    for values in runs:
        for name, value in values.items():
            levels.setdefault(name, set()).add(value)
    return varying_names(levels)


def varying_names(levels: Mapping[str, Collection[Any]]) -> list[str]:
    """Names with several levels, in the order given, the seed last.

    >>> varying_names({"seed": {0, 1}, "lr": {0.1, 0.2}, "model": {"cnn"}})
    ['lr', 'seed']
    """
    names = [name for name, values in levels.items() if len(values) > 1]
    return sorted(names, key=lambda name: name == SEED)
