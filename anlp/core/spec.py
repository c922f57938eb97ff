"""What a run is: a task, its fully resolved settings and a seed, and the id that follows from them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, model_validator
from typing_extensions import Self

Scalar = bool | int | float | str
Settings = Mapping[str, Scalar]

RUN_ID_LENGTH = 12


@dataclass(frozen=True, slots=True)
class DefaultForHash:
    """Marks a setting that was added after release: at this value it is left out of the id, so old runs keep theirs."""

    value: Scalar


@dataclass(frozen=True, slots=True)
class ActiveWhen:
    """A setting that means something only while `setting` has one of `values` (`filters` only for `model: cnn`)."""

    setting: str
    values: frozenset[str]


@dataclass(frozen=True, slots=True)
class DataKey:
    """A data set as a run wants it: what a process loads once for all runs that ask for the same."""

    loader: str  # "module:function", called with the data folder, the name and the options
    name: str
    options: tuple[tuple[str, Scalar], ...] = ()


class TaskSettings(BaseModel):
    """Base of every task's settings: flat, frozen, strict about unknown names; values are scalars.

    Settings that do not apply (`only_for`) are put back to their default, so that `dense` runs that differ only in
    the number of convolution filters are one run.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    only_for: ClassVar[Mapping[str, ActiveWhen]] = {}
    loaders: ClassVar[
        Mapping[str, str]
    ] = {}  # "module:function" by value of `data`; "": of any other, a folder's name
    loads: ClassVar[tuple[str, ...]] = ()  # settings that say how the data is loaded
    checks: ClassVar[
        Mapping[str, str]
    ] = {}  # as `loaders`: light, called in the same way before anything is queued
    smoke: ClassVar[
        Mapping[str, Scalar]
    ] = {}  # settings with which a run takes seconds and needs no files
    neutral: ClassVar[Mapping[str, Scalar]] = {}

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        cls.neutral = {
            name: mark.value
            for name, field in cls.model_fields.items()
            for mark in field.metadata
            if isinstance(mark, DefaultForHash)
        }

    @model_validator(mode="after")
    def _reset_what_does_not_apply(self) -> Self:
        for name, rule in self.only_for.items():
            if self.__dict__[rule.setting] not in rule.values:
                # a frozen model refuses setattr; inside its own validator the new object is still ours to finish
                self.__dict__[name] = type(self).model_fields[name].default
        return self

    def applies(self, name: str) -> bool:
        """Whether the setting `name` has any effect on this run."""
        rule = self.only_for.get(name)
        return rule is None or self.__dict__[rule.setting] in rule.values

    def data_key(self) -> DataKey | None:
        """The data set of this run; None for a task that has none."""
        name = str(self.__dict__.get("data", ""))
        loader = self.loaders.get(name) or self.loaders.get("")
        if loader is None:
            return None
        return DataKey(
            loader, name, tuple((option, self.__dict__[option]) for option in self.loads)
        )

    def check_key(self) -> DataKey | None:
        """What is called on the login node to look at the data of this run; None where nothing is."""
        key, check = self.data_key(), self.checks.get(str(self.__dict__.get("data", "")))
        if check is None and key is not None and key.loader == self.loaders.get(""):
            check = self.checks.get("")
        return DataKey(check, key.name, key.options) if key and check else None

    def assets(self) -> tuple[str, ...]:
        """What must be at hand beside the data set, by names of `anlp.datasets.catalogue`: weights that were trained before."""
        return ()

    def values(self) -> dict[str, Scalar]:
        """Every setting by name, resolved."""
        return dict(self.__dict__)

    def identity(self) -> dict[str, Scalar]:
        """The settings that make up the id: all but those at their neutral value."""
        found = dict(self.__dict__)
        for name, value in self.neutral.items():
            if found[name] == value:
                del found[name]
        return found


def canonical_json(value: Any) -> str:
    """One text per value: sorted keys, no blanks, floats in their shortest form that reads back equal.

    Raises:
        ValueError: for NaN or infinity, which have no JSON form.
    """
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True
    )


@dataclass(frozen=True)
class RunSpec:
    """One run: the same spec is the same run wherever and however often it is submitted."""

    task: str
    settings: TaskSettings
    seed: int

    @cached_property
    def run_id(self) -> str:
        """First 12 hex digits of the SHA-256 of the canonical JSON of task, settings and seed."""
        identity = {"task": self.task, "settings": self.settings.identity(), "seed": self.seed}
        return hashlib.sha256(canonical_json(identity).encode()).hexdigest()[:RUN_ID_LENGTH]

    @cached_property
    def config_id(self) -> str:
        """The same without the seed: runs that share it are replicates of one configuration."""
        identity = {"task": self.task, "settings": self.settings.identity()}
        return hashlib.sha256(canonical_json(identity).encode()).hexdigest()[:RUN_ID_LENGTH]

    def to_json(self) -> dict[str, Any]:
        """The form in batch files and `spec.json`; `anlp.tasks.spec_from_json` reads it."""
        return {
            "run_id": self.run_id,
            "task": self.task,
            "settings": self.settings.values(),
            "seed": self.seed,
        }
