from __future__ import annotations

import pytest
import torch
from scipy import stats
from sklearn import metrics

from anlp.workloads.split_metrics import macro_f1, spearman


def test_macro_f1_is_scikit_learns() -> None:
    draw = torch.Generator().manual_seed(0)
    outputs, target = (
        torch.randn(200, 5, generator=draw),
        torch.randint(0, 4, (200,), generator=draw),
    )

    found = macro_f1(outputs, (target,))["f1"]

    assert found == pytest.approx(
        metrics.f1_score(target, outputs.argmax(1), average="macro"), abs=1e-12
    )


def test_classes_that_never_occur_do_not_lower_macro_f1() -> None:
    assert macro_f1(torch.eye(3)[[0, 1]], (torch.tensor([0, 1]),)) == {"f1": 1.0}


def test_rank_correlation_with_ties_is_scipys() -> None:
    draw = torch.Generator().manual_seed(1)
    outputs, target = (
        torch.randn(80, 1, generator=draw),
        torch.randint(0, 6, (80,), generator=draw).float(),
    )

    found = spearman(outputs, (target,))["spearman"]

    assert found == pytest.approx(stats.spearmanr(outputs[:, 0], target).statistic, abs=1e-12)


def test_several_targets_are_named_and_averaged() -> None:
    outputs = torch.tensor([[1.0, 3.0], [2.0, 2.0], [3.0, 1.0]])
    target = torch.tensor([1.0, 2.0, 3.0])

    found = spearman(outputs, (target, target), ("valence", "energy"))

    assert found == pytest.approx(
        {"spearman": 0.0, "spearman_valence": 1.0, "spearman_energy": -1.0}
    )


def test_a_constant_answer_has_no_rank_correlation() -> None:
    assert spearman(torch.ones(4, 1), (torch.arange(4.0),)) == {"spearman": 0.0}
