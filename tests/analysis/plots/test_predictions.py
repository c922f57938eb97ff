"""Charts of what models predicted, from `predictions.npz`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from analysis.data.load import load
from analysis.data.predictions import Predictions
from analysis.plots.boundary import boundary_chart, boundary_info
from analysis.plots.confusion import confusion_chart, confusion_info
from analysis.plots.gallery import gallery_chart, gallery_info
from analysis.plots.report import report_info, report_table
from analysis.plots.scatter import scatter_chart, scatter_info
from analysis.plots.seeds import Seeds, load_seeds
from anlp.core.errors import UserError
from tests.support.run_folders import Grid


def sure(*answers: int, classes: int = 3, strength: float = 4.0) -> Any:
    return strength * np.eye(classes)[list(answers)]


def one(answers: Any, targets: list[int], seed: int = 0, **more: Any) -> Predictions:
    names = ("a", "b", "c")[: answers.shape[1]]
    return Predictions(
        f"r{seed}", seed, answers, np.array(targets, dtype=float), names, is_classes=True, **more
    )


def seeds(*found: Predictions) -> Seeds:
    return Seeds(found, "lr=0.1", "study")


def test_a_confusion_matrix_is_the_mean_over_seeds_of_shares_of_a_row() -> None:
    info = confusion_info(
        seeds(one(sure(0, 0, 1, 2), [0, 0, 1, 2]), one(sure(0, 1, 1, 2), [0, 0, 1, 2], 1))
    )

    assert info.shares[0] == pytest.approx([75, 25, 0])
    assert info.sds[0, 1] == pytest.approx(50 / np.sqrt(2))
    assert info.counts[0].tolist() == [1.5, 0.5, 0]
    assert info.title == "study: confusion matrix, lr=0.1, 2 seeds"


def test_a_report_ends_with_macro_weighted_and_micro() -> None:
    table = report_table(report_info(seeds(one(sure(0, 0, 1, 0), [0, 0, 1, 2]))))

    assert table["class"].tolist() == [
        "a",
        "b",
        "c",
        "macro mean",
        "weighted mean",
        "micro mean (accuracy)",
    ]
    assert table["recall [%]"].tolist() == pytest.approx([100, 100, 0, 200 / 3, 75, 75])
    assert table["support"].tolist() == [2, 1, 1, 4, 4, 4]
    assert "recall sd" not in table


def pictures(*positions: int) -> dict[str, Any]:
    return {
        "noted": np.array(positions),
        "noted_inputs": np.array([np.full((1, 2, 2), at) for at in positions]),
    }


def test_the_most_confident_mistake_is_the_first_picture() -> None:
    answers = np.vstack([sure(1, strength=2.0), sure(1, strength=9.0), sure(2)])

    info = gallery_info(seeds(one(answers, [0, 0, 2], **pictures(0, 1, 2))))

    assert [(tile.position, tile.target, tile.answer) for tile in info.tiles] == [
        (1, "a", "b"),
        (0, "a", "b"),
    ]


def test_hard_hits_are_the_least_confident_first() -> None:
    answers = np.vstack([sure(0, strength=9.0), sure(0, strength=1.0), sure(1)])

    info = gallery_info(seeds(one(answers, [0, 0, 0], **pictures(0, 1, 2))), "hard")

    assert [tile.position for tile in info.tiles] == [1, 0]


def test_samples_that_seeds_disagree_about_have_their_votes() -> None:
    first, second = (
        one(sure(0, 1), [0, 1], **pictures(0, 1)),
        one(sure(0, 2), [0, 1], 1, **pictures(0, 1)),
    )

    (tile,) = gallery_info(seeds(first, second), "disagree").tiles

    assert (tile.position, tile.votes) == (1, "1× b, 1× c")
    with pytest.raises(UserError, match="there is one seed only"):
        gallery_info(seeds(first), "disagree")


def test_colour_pictures_have_their_channels_last() -> None:
    kept: dict[str, Any] = {"noted": np.array([0]), "noted_inputs": np.zeros((1, 3, 4, 5))}

    assert gallery_info(seeds(one(sure(1), [0], **kept))).tiles[0].picture.shape == (4, 5, 3)


def test_a_decision_map_is_the_mean_over_seeds() -> None:
    plane = np.array([[x, y] for y in (0.0, 1.0) for x in (0.0, 1.0, 2.0)])
    maps = sure(0, 0, 1, 0, 1, 1), sure(0, 0, 1, 0, 0, 1, strength=9.0)
    kept: dict[str, Any] = {"points": np.array([[0.0, 0.0], [2.0, 1.0]])}
    found = [
        one(sure(0, 1 - k), [0, 1], k, probe=plane, probe_outputs=outputs, **kept)
        for k, outputs in enumerate(maps)
    ]

    info = boundary_info(seeds(*found))

    assert info.answers.tolist() == [[0, 0, 1], [0, 0, 1]]
    assert info.is_wrong.tolist() == [0, 0.5]


def test_a_scatter_averages_correlations_over_seeds() -> None:
    true = np.linspace(0, 1, 20)
    found = [
        Predictions(f"r{k}", k, sign * true[:, None], true[:, None], ("energy",), False)
        for k, sign in enumerate((1, 1))
    ]

    (quantity,) = scatter_info(Seeds(tuple(found), "", "")).quantities

    assert quantity.r == pytest.approx(1)
    assert quantity.low == pytest.approx(true)


def test_a_constant_prediction_has_no_correlation_and_says_so() -> None:
    true = np.linspace(0, 1, 20)[:, None]

    (quantity,) = scatter_info(
        Seeds((Predictions("r", 0, 0 * true, true, ("energy",), False),), "", "")
    ).quantities

    assert quantity.note == "no rank correlation: one side is constant"


def write(grid: Grid, arrays: dict[str, Any], **how: Any) -> None:
    np.savez_compressed(grid.add(0.9, **how).predictions, **arrays)


ARRAYS = {
    "outputs": sure(0, 1, 2),
    "targets": np.array([0, 1, 1]),
    "names": np.array(["a", "b", "c"]),
}


def test_predictions_are_those_of_the_best_configuration_that_has_some(grid: Grid) -> None:
    grid.add(0.99, lr=0.1)
    for seed in range(2):
        write(grid, ARRAYS, lr=0.01, seed=seed)

    found = load_seeds(load(grid.path))

    assert [one.seed for one in found.found] == [0, 1]
    assert found.said == "the configuration, 2 seeds" or found.said == "2 seeds"


def test_several_targets_are_columns(grid: Grid) -> None:
    arrays = {
        "outputs": np.zeros((5, 2)),
        "target_0": np.arange(5.0),
        "target_1": np.ones(5),
        "names": ["x", "y"],
    }
    write(grid, arrays)

    (found,) = load_seeds(load(grid.path)).found

    assert found.targets[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert not found.is_classes


@pytest.mark.parametrize(
    ("chart", "arrays", "message"),
    [
        (
            confusion_chart,
            None,
            "no predictions.npz in the folders of 1 run: train with `predictions: true`",
        ),
        (scatter_chart, ARRAYS, "scatter is of quantities"),
        (gallery_chart, ARRAYS, "these runs kept no pictures"),
        (boundary_chart, ARRAYS, "these runs kept no map of the plane"),
        (
            confusion_chart,
            {**ARRAYS, "targets": np.zeros((3, 1))},
            "a confusion matrix needs classes",
        ),
        (confusion_chart, {"outputs": np.zeros((1, 2))}, "cannot be read as predictions"),
    ],
)
def test_what_a_chart_lacks_is_one_sentence(
    grid: Grid, chart: Any, arrays: Any, message: str
) -> None:
    if arrays is None:
        grid.add(0.9)
    else:
        write(grid, arrays)

    with pytest.raises(UserError, match=message):
        chart(load(grid.path))


def test_seeds_that_were_tested_on_other_samples_are_not_mixed(grid: Grid) -> None:
    write(grid, ARRAYS)
    write(grid, {**ARRAYS, "targets": np.array([0, 0, 0])}, seed=1)

    with pytest.raises(UserError, match="tested on different samples"):
        confusion_chart(load(grid.path))
