from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wandb.proto import wandb_internal_pb2

from anlp.programs.sources.wire import double, fields, message_of, signed, text_of, zigzag


@given(st.integers(-(2**31), 2**31 - 1), st.text(max_size=300), st.integers(-(2**63), 2**63 - 1))
def test_fields_are_what_protobuf_wrote(code: int, name: str, number: int) -> None:
    exit_record = wandb_internal_pb2.RunExitRecord(exit_code=code)  # type: ignore[attr-defined]  # made at import
    run = wandb_internal_pb2.RunRecord(run_id=name, starting_step=number)  # type: ignore[attr-defined]  # made at import

    assert signed(dict(fields(exit_record.SerializeToString())).get(1, 0)) == code
    found = dict(fields(run.SerializeToString()))
    assert text_of(found.get(1, b"")) == name
    assert signed(found.get(14, 0)) == number


@given(st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False))
def test_typed_values_are_what_protobuf_wrote(integer: int, number: float) -> None:
    item = wandb_internal_pb2.HistoryItem  # type: ignore[attr-defined]  # made at import

    assert zigzag(dict(fields(item(integer=integer).SerializeToString()))[5]) == integer
    assert double(dict(fields(item(number=number).SerializeToString()))[6]) == number


@given(st.binary(max_size=60))
def test_what_is_no_message_is_a_value_error(content: bytes) -> None:
    with contextlib.suppress(ValueError):
        list(fields(content))


@pytest.mark.parametrize("torn", [b"\x0a", b"\x0a\x05ab", b"\x08", b"\x08\xff", b"\x0b", b"\x09ab"])
def test_a_torn_message_is_refused(torn: bytes) -> None:
    with pytest.raises(ValueError, match=r"torn|kind"):
        list(fields(torn))


def test_a_number_is_no_message() -> None:
    with pytest.raises(ValueError, match="a number where"):
        message_of(3)
