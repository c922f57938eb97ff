"""What holds for every set of indices: written as ranges for Slurm or PBS it is read back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jobs.schedulers.batch import render_ranges
from jobs.schedulers.pbs.parse import parse_count
from jobs.schedulers.slurm.parse import parse_job_id
from tests.support.properties import repeatable

indices = st.sets(st.integers(0, 60), min_size=1)


@repeatable
@given(wanted=indices, throttle=st.sampled_from(["", "%4"]))
def test_ranges_name_just_these_indices(wanted: set[int], throttle: str) -> None:
    text = ",".join(render_ranges(wanted))

    assert sorted(parse_job_id(f"77_[{text}{throttle}]")) == [
        ("77", index) for index in sorted(wanted)
    ]
    assert parse_count(text + throttle) == len(wanted)


@repeatable
@given(wanted=indices)
def test_ranges_are_the_fewest(wanted: set[int]) -> None:
    ranges = render_ranges(wanted)

    gaps = sum(1 for index in wanted if index + 1 not in wanted)
    assert len(ranges) == gaps


@repeatable
@given(low=st.integers(0, 50), size=st.integers(1, 50), step=st.integers(1, 9))
def test_steps_count_as_schedulers_count_them(low: int, size: int, step: int) -> None:
    text = f"{low}-{low + size - 1}:{step}"

    assert len(list(parse_job_id(f"77_[{text}]"))) == parse_count(text) == len(range(0, size, step))
