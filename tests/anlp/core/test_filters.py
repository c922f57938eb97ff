from __future__ import annotations

from typing import Any

import pytest

from anlp.core.errors import SpecError, closest, did_you_mean
from anlp.core.filters import parse_filter
from anlp.records.results import RunState

RUN: dict[str, Any] = {
    "model": "cnn",
    "lr": 0.001,
    "dropout": 0.3,
    "optimizer": "adam",
    "seed": 2,
    "nesterov": True,
    "state": RunState.FAILED,
    "id": "3fa9c01d55e2",
    "note": "a b",
}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "model=cnn",
        "model==cnn",
        "model = cnn",
        "model=cnn lr<=0.01",
        "lr=1e-3",
        "lr=0.0010",
        "dropout=0.1,0.3",
        "optimizer!=sgd",
        "optimizer!=sgd,rmsprop",
        "seed<3 seed>1 seed>=2 seed<=2",
        "nesterov=true",
        "state=failed,lost",
        "id=3fa9",
        "id=77,3f",
        "model~^c",
        "lr~001$",
        'note="a b"',
        "note='a b',c",
        'note~"a\\sb"',
        "missing!=1",
    ],
)
def test_filter_matches(text: str) -> None:
    assert parse_filter(text).matches(RUN)


@pytest.mark.parametrize(
    "text",
    [
        "model=dense",
        "model=CNN",
        "model=cnn lr>0.01",
        "lr=0.01",
        "dropout=0.1,0.2",
        "optimizer!=adam,sgd",
        "seed<2",
        "nesterov=1",
        "nesterov<2",
        "state=lost",
        "id=fa9",
        "id!=3f",
        "model~^d",
        "missing=1",
        "missing<1",
        "missing~.",
        "model<3",
    ],
)
def test_filter_does_not_match(text: str) -> None:
    assert not parse_filter(text).matches(RUN)


def test_an_id_that_looks_like_a_number_is_matched_as_text() -> None:
    assert parse_filter("id=1e5").matches({"id": "1e5000000000"})
    assert not parse_filter("id=1e5").matches({"id": "100000aaaaaa"})


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("model", "filter 'model': expected NAME=VALUE such as model=cnn, got 'model'"),
        ("a=1 lr<", "filter 'a=1 lr<': expected NAME=VALUE such as model=cnn, got 'lr<'"),
        (
            'note="a b',
            "filter 'note=\"a b': expected NAME=VALUE such as model=cnn, got 'note=\"a b'",
        ),
        ("lr<fast", "filter 'lr<fast': 'lr<fast': expected one number after <, got 'fast'"),
        ("lr<1,2", "filter 'lr<1,2': 'lr<1,2': expected one number after <, got '1,2'"),
        ("lr=,", "filter 'lr=,': 'lr=,': expected a value, got ','"),
    ],
)
def test_what_is_no_filter_is_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_filter(text)

    assert str(caught.value) == sentence


def test_a_bad_regular_expression_is_a_fault() -> None:
    with pytest.raises(SpecError, match=r"expected a regular expression, got '\('"):
        parse_filter("model~(")


def test_unknown_names_are_refused_with_the_nearest_known_one() -> None:
    with pytest.raises(SpecError) as caught:
        parse_filter("optimiser=sgd foo=1 lr<1").check(["lr", "optimizer"])

    assert caught.value.faults == (
        "filter 'optimiser=sgd foo=1 lr<1': unknown name 'optimiser' "
        "(did you mean 'optimizer'? known: lr, optimizer)",
        "filter 'optimiser=sgd foo=1 lr<1': unknown name 'foo' (known: lr, optimizer)",
    )


def test_known_names_pass_the_check() -> None:
    parse_filter("lr<1 val/acc>0.5").check(["lr", "val/acc"])


def test_the_names_of_other_projects_lead_to_ours() -> None:
    assert closest("learning_rte", ["lr", "model"]) == "lr"
    assert closest("Dataset", ["data"]) == "data"
    assert closest("xyz", ["data"]) is None
    assert did_you_mean("xyz", ["b", "a"]) == " (known: a, b)"


def test_a_number_as_screens_show_it_finds_the_drawn_one() -> None:
    values = {"lr": 0.000575651277252}

    assert parse_filter("lr=0.0005757").matches(values)
    assert parse_filter("lr=5.757e-04").matches(values)
    assert parse_filter("lr=0.000575651277252").matches(values)
    assert not parse_filter("lr=0.000576").matches(values)  # 3 digits are a value of their own
    assert not parse_filter("lr=0.0005756").matches(values)
    assert not parse_filter("lr=0.0005757", is_exact=True).matches(values)
