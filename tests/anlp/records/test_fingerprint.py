from __future__ import annotations

import pytest

from anlp.records.fingerprint import (
    Fingerprint,
    fingerprint_of,
    innermost_frame,
    normalise,
    place,
    render_frame,
)
from anlp.records.results import RunError

TRACEBACK = """\
Traceback (most recent call last):
  File "/home/ann/anlp/training/loop.py", line 88, in step
    loss.backward()
  File "/opt/lib/python3.11/site-packages/torch/_tensor.py", line 5, in backward
    engine()
ValueError: bad shape
"""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("tried to allocate 2.00 GiB", "tried to allocate 14.5 GiB"),
        ("bad address 0x7f3a", "bad address 0xdeadbeef"),
        ("run 3fa9c1d2e4f5 is gone", "run 0b1c2d3e4f5a is gone"),
        ("no such file: '/a/b.pt'", "no such file: '/c.pt'"),
        ("cannot open /home/ann/data/x.gz: denied", "cannot open /scratch/y.gz: denied"),
        ("cannot open ../x.gz", "cannot open ~/y.gz"),
        ('got "dense"', 'got "cnn"'),
        ("loss -1.5e-07", "loss 3"),
        ("first line\ndetail 1", "first line\nother detail"),
    ],
)
def test_what_differs_from_run_to_run_is_no_part_of_a_message(one: str, other: str) -> None:
    assert normalise(one) == normalise(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("shape mismatch", "dtype mismatch"),
        ("size of weight1", "size of bias1"),
        ("added", "deadbeef"),
    ],
)
def test_other_words_are_another_message(one: str, other: str) -> None:
    assert normalise(one) != normalise(other)


def test_the_place_is_the_innermost_frame_of_our_own_code() -> None:
    assert innermost_frame(TRACEBACK) == 'File "/home/ann/anlp/training/loop.py", line 88, in step'
    assert render_frame(TRACEBACK) == "loop.py:88 in step"
    assert place(TRACEBACK) == "loop.py step"


def test_a_traceback_without_frames_has_no_place() -> None:
    assert (innermost_frame(""), render_frame("Killed"), place("")) == ("", "", "")


def test_where_no_frame_is_ours_the_innermost_of_all_counts() -> None:
    assert render_frame('  File "/x/site-packages/torch/a.py", line 5, in f') == "a.py:5 in f"


def test_two_failures_of_one_cause_have_one_fingerprint() -> None:
    one = RunError("ValueError", "got 7 classes", TRACEBACK, 0)
    other = RunError("ValueError", "got 9 classes", TRACEBACK.replace("line 88", "line 90"), 3)

    assert (
        fingerprint_of(one)
        == fingerprint_of(other)
        == Fingerprint("ValueError", "got N classes", "loop.py step")
    )
    assert str(fingerprint_of(one)) == "ValueError: got N classes, in loop.py step"
    assert fingerprint_of(RunError("KeyError", "got 7 classes", TRACEBACK, 0)) != fingerprint_of(
        one
    )
