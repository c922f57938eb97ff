from __future__ import annotations

import numpy as np
import pytest

from benchmarks import truth


def test_every_distribution_has_a_line_with_its_errors(capsys: pytest.CaptureFixture[str]) -> None:
    truth.main(3)

    head, *lines = capsys.readouterr().out.splitlines()
    assert [line[:16].strip() for line in lines] == list(truth.TRUTHS)
    assert "by validation: bias" in head
    assert all(line.count("±") == 5 for line in lines)


def test_the_best_by_test_is_biased_and_the_best_by_validation_is_not() -> None:
    rng = np.random.default_rng(0)
    found = [truth.search(truth.TRUTHS["all equal"], rng) for _ in range(150)]

    assert np.mean([one.by_test for one in found]) == pytest.approx(0.843, abs=0.08)
    assert np.mean([one.by_validation for one in found]) == pytest.approx(0, abs=0.15)
