"""What holds for every filter: written terms are read back, terms add up, and any text is a filter
or a fault.
"""

from __future__ import annotations

import string
from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from anlp.core.errors import SpecError
from anlp.core.filters import Term, parse_filter
from tests.support.properties import repeatable

names = st.text(string.ascii_lowercase + "_./", min_size=1, max_size=8)
values = st.text(string.ascii_letters + string.digits + " .,:=<>~!-", min_size=1, max_size=8)
numbers = st.floats(allow_nan=False, allow_infinity=False).map(repr)
terms = st.one_of(
    st.builds(
        Term,
        names,
        st.sampled_from(["=", "!="]),
        st.lists(values, min_size=1, max_size=3).map(tuple),
    ),
    st.builds(
        Term, names, st.sampled_from(["<", "<=", ">", ">="]), numbers.map(lambda text: (text,))
    ),
)


def render(term: Term, quote: str = '"') -> str:
    """A term as a person may write it; quoted, so that blanks and commas belong to the value."""
    return f"{term.name}{term.operator}" + ",".join(f"{quote}{text}{quote}" for text in term.wanted)


@repeatable
@given(
    written=st.lists(terms, max_size=4),
    quote=st.sampled_from("\"'"),
    blank=st.sampled_from([" ", "  "]),
)
def test_what_is_written_is_read_back(written: list[Term], quote: str, blank: str) -> None:
    text = blank.join(render(term, quote) for term in written)

    assert parse_filter(text).terms == tuple(written)


@repeatable
@given(
    written=st.lists(terms, max_size=4), given_values=st.dictionaries(names, values | st.integers())
)
def test_all_terms_must_hold(written: list[Term], given_values: dict[str, str | int]) -> None:
    text = " ".join(render(term) for term in written)

    each = [parse_filter(render(term)).matches(given_values) for term in written]
    assert parse_filter(text).matches(given_values) == all(each)


@repeatable
@given(name=names, wanted=st.lists(values, min_size=1, max_size=3), value=values | st.none())
def test_unequal_is_the_opposite_of_equal(name: str, wanted: list[str], value: str | None) -> None:
    found = {
        operator: parse_filter(render(Term(name, operator, tuple(wanted)))).matches({name: value})
        for operator in ("=", "!=")
    }

    assert found["="] != found["!="]


@repeatable
@given(text=st.text(max_size=30))
def test_any_text_is_a_filter_or_a_fault(text: str) -> None:
    with suppress(SpecError):
        parse_filter(text).matches({"model": "cnn"})
