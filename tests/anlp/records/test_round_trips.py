"""What holds for every options, spec and result: its JSON reads back as it was."""

from __future__ import annotations

import dataclasses
import json

from hypothesis import given
from hypothesis import strategies as st

from anlp.core.spec import RunSpec
from anlp.records.elements import Element
from anlp.records.options import RunOptions, options_from_json
from anlp.records.results import (
    Outcome,
    RunError,
    RunResult,
    result_from_json,
    result_from_summary,
)
from anlp.tasks import element_from_json, make_spec, spec_from_json
from tests.support.properties import repeatable

scores = st.dictionaries(
    st.text(min_size=1, max_size=8), st.floats(allow_nan=False, allow_infinity=False)
)
plain = st.none() | st.booleans() | st.integers() | st.text(max_size=8)
errors = st.none() | st.builds(
    RunError, st.text(), st.text(), st.text(), st.none() | st.integers(0, 9)
)
results = st.builds(
    RunResult,
    st.text("0123456789abcdef", min_size=12, max_size=12),
    st.sampled_from(Outcome),
    metrics=scores,
    epoch=st.none() | st.integers(0, 100),
    epochs=st.integers(0, 100),
    steps=st.integers(0, 10**9),
    baselines=scores,
    sizes=st.dictionaries(st.sampled_from(["train", "val", "test"]), st.integers(0, 10**6)),
    seconds=st.floats(0, 1e9),
    error=errors,
    provenance=st.dictionaries(st.text(max_size=5), plain),
)
options = st.from_type(RunOptions)
specs = st.builds(
    lambda lr, model, seed: make_spec("mnist", {"lr": lr, "model": model}, seed),
    st.floats(1e-6, 10),
    st.sampled_from(["dense", "cnn"]),
    st.integers(0, 2**32 - 1),
)


@repeatable
@given(result=results)
def test_a_result_reads_back(result: RunResult) -> None:
    form = json.loads(json.dumps(result.to_json()))

    assert result_from_json(form) == result
    assert result_from_summary({**result.to_summary(), "other": 1}) == result


@repeatable
@given(given_options=options)
def test_options_read_back_and_names_of_later_versions_are_left_aside(
    given_options: RunOptions,
) -> None:
    form = json.loads(json.dumps(given_options.to_json()))

    assert options_from_json(form) == given_options
    assert options_from_json({**form, "of_a_later_version": 1}) == given_options


@repeatable
@given(
    made=st.lists(specs, min_size=1, max_size=3, unique_by=lambda spec: spec.run_id),
    given_options=options,
)
def test_specs_and_elements_read_back(made: list[RunSpec], given_options: RunOptions) -> None:
    element = Element(tuple(made), given_options)

    assert [spec_from_json(json.loads(json.dumps(spec.to_json()))) for spec in made] == made
    assert element_from_json(json.loads(json.dumps(element.to_json()))) == dataclasses.replace(
        element
    )
