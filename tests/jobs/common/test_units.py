from __future__ import annotations

import pytest

from anlp.core.units import parse_memory, parse_walltime, render_duration


@pytest.mark.parametrize(
    ("text", "mib"),
    [
        ("8G", 8192),
        ("500M", 500),
        ("1.5g", 1536),
        ("16GiB", 16384),
        ("1T", 1048576),
        (2048, 2048),
        ("4096k", 4),
        ("8gb", 8192),
    ],
)
def test_memory_is_read_in_any_unit(text: str | int, mib: int) -> None:
    assert parse_memory(text) == mib


@pytest.mark.parametrize(
    "text",
    ["", "G", "-1G", "8X", "1k", "0", "8 G B", "1025T", pytest.param("9" * 5000, id="endless")],
)
def test_what_is_no_memory_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected an amount of memory"):
        parse_memory(text)


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("90m", 90),
        ("1h", 60),
        ("1h30m", 90),
        ("2d", 2880),
        ("45s", 0.75),
        ("01:30:00", 90),
        ("1-00:00:00", 1440),
        (30, 30),
        ("1.5h", 90),
    ],
)
def test_times_are_read_in_any_form(text: str | int, minutes: float) -> None:
    assert parse_walltime(text) == pytest.approx(minutes)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "h",
        "-5m",
        "0",
        "1x",
        "12:34",
        "soon",
        "4000d",
        pytest.param("9" * 5000 + ":00:00", id="endless"),
    ],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a time"):
        parse_walltime(text)


def test_a_time_limit_is_shown_as_every_duration_is() -> None:
    assert render_duration(60 * parse_walltime("01:30:30")) == "1 h 30 min"
