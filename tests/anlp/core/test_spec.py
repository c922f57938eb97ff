from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, ClassVar

import pytest
from pydantic import ValidationError

from anlp.core.spec import ActiveWhen, DefaultForHash, RunSpec, TaskSettings, canonical_json
from anlp.tasks import make_spec, spec_from_json


class Before(TaskSettings):
    lr: float = 0.1


class After(TaskSettings):
    lr: float = 0.1
    ema: Annotated[float, DefaultForHash(0.0)] = 0.0


class Tied(TaskSettings):
    model: str = "dense"
    filters: int = 16
    only_for: ClassVar[Mapping[str, ActiveWhen]] = {
        "filters": ActiveWhen("model", frozenset({"cnn"}))
    }


@pytest.mark.parametrize("lr", [1, 1.0, "1", "1e0"])
def test_equal_values_of_any_spelling_are_one_run(lr: object) -> None:
    assert make_spec("mnist", {"lr": lr}, 0).run_id == make_spec("mnist", {"lr": 1.0}, 0).run_id


def test_a_setting_at_its_default_and_one_left_out_are_one_run() -> None:
    assert make_spec("mnist", {"epochs": 10}, 3).run_id == make_spec("mnist", {}, 3).run_id


def test_seed_and_settings_both_make_another_run() -> None:
    ids = {
        make_spec("mnist", values, seed).run_id for values in ({}, {"lr": 0.5}) for seed in (0, 1)
    }

    assert len(ids) == 4


def test_seeds_of_one_configuration_share_its_config_id() -> None:
    assert make_spec("mnist", {}, 0).config_id == make_spec("mnist", {}, 1).config_id
    assert make_spec("mnist", {}, 0).config_id != make_spec("mnist", {"lr": 0.5}, 0).config_id


def test_a_setting_added_later_leaves_old_ids_as_they_are() -> None:
    assert RunSpec("t", After(), 0).run_id == RunSpec("t", Before(), 0).run_id
    assert RunSpec("t", After(ema=0.9), 0).run_id != RunSpec("t", Before(), 0).run_id


def test_settings_that_do_not_apply_return_to_their_default() -> None:
    assert RunSpec("t", Tied(filters=64), 0).run_id == RunSpec("t", Tied(), 0).run_id
    assert (
        RunSpec("t", Tied(model="cnn", filters=64), 0).run_id
        != RunSpec("t", Tied(model="cnn"), 0).run_id
    )


def test_specs_survive_json() -> None:
    spec = make_spec("mnist", {"lr": 0.3, "model": "cnn"}, 4)

    assert spec_from_json(spec.to_json()) == spec
    assert spec_from_json(spec.to_json()).run_id == spec.run_id


@pytest.mark.parametrize(
    "values",
    [
        {"lr": math.nan},
        {"lr": math.inf},
        {"lr": 0},
        {"lrr": 1},
        {"nesterov": True, "optimizer": "sgd"},
    ],
)
def test_bad_values_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        make_spec("mnist", values, 0)


def test_canonical_json_has_one_text_per_value() -> None:
    assert canonical_json({"b": 1.0, "a": "ü"}) == '{"a":"\\u00fc","b":1.0}'
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"a": math.nan})
