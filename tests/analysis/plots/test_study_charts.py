"""Charts that the studies of images and music want: their data."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.data.labels import LabelOrigin
from analysis.data.load import load
from analysis.data.predictions import Piece, Predictions
from analysis.plots.contrast import contrast_chart, contrast_info, contrast_table
from analysis.plots.correlations import (
    MEAN,
    correlations_chart,
    correlations_info,
    correlations_table,
)
from analysis.plots.gallery import gallery_info
from analysis.plots.mapping import mapping_chart, mapping_info
from analysis.plots.overfit import overfit_chart, overfit_info, overfit_table
from analysis.plots.seeds import Seeds
from analysis.plots.spectrograms import spectrograms_chart, spectrograms_info
from analysis.stats.correlation import spearman_interval
from anlp.core.errors import UserError
from anlp.records.files import read_json, write_json
from tests.support.run_folders import Grid


def sure(*answers: int, strength: float = 4.0) -> Any:
    return strength * np.eye(3)[list(answers)]


def one(answers: Any, targets: list[int], **more: Any) -> Predictions:
    return Predictions(
        "r", 0, answers, np.array(targets, dtype=float), ("a", "b", "c"), is_classes=True, **more
    )


def side(name: str, *found: Predictions) -> Seeds:
    return Seeds(found, name, "study")


def pictures(*positions: int) -> dict[str, Any]:
    return {
        "noted": np.array(positions),
        "noted_inputs": np.array([np.full((1, 2, 2), at) for at in positions]),
    }


def test_the_best_and_the_worst_are_told_apart_sample_by_sample() -> None:
    truth = [0, 0, 0, 1, 2]
    best = one(sure(0, 0, 1, 1, 0), truth, **pictures(2, 4))
    worst = one(
        np.vstack([sure(1, strength=2.0), sure(1, strength=9.0), sure(0, 1, 1)]),
        truth,
        **pictures(0, 1),
    )

    info = contrast_info(side("lr=1", best), side("lr=2", worst))

    assert info.counts == {"worst": 2, "best": 1, "both": 1}
    found = {
        kind: [(d.position, d.target, d.best, d.worst) for d in rows]
        for kind, rows in info.rows.items()
    }
    assert found == {
        "worst": [(1, "a", "a", "b"), (0, "a", "a", "b")],  # the most confident mistake first
        "best": [(2, "a", "b", "a")],
        "both": [(4, "c", "a", "b")],
    }
    assert info.shares == (0.6, 0.4)
    assert contrast_table(info)["kind"].tolist()[-1] == "both are wrong"


def test_samples_without_pictures_are_counted_and_not_shown() -> None:
    best, worst = one(sure(0, 0), [0, 0], **pictures(1)), one(sure(1, 1), [0, 0], **pictures(1))

    info = contrast_info(side("x", best), side("y", worst))

    assert (info.counts["worst"], [d.position for d in info.rows["worst"]]) == (2, [1])


def test_a_contrast_is_of_one_test_set_and_of_two_configurations(grid: Grid) -> None:
    with pytest.raises(UserError, match="tested on different samples"):
        contrast_info(
            side("x", one(sure(0), [0], **pictures(0))), side("y", one(sure(0), [1], **pictures(0)))
        )
    folder = grid.add(0.9)
    np.savez(folder.predictions, outputs=sure(0), targets=np.array([0]), names=["a", "b", "c"])
    with pytest.raises(UserError, match="needs two that wrote predictions; there is one"):
        contrast_chart(load(grid.path))


def test_the_ends_of_a_contrast_are_the_best_and_the_worst_by_validation(grid: Grid) -> None:
    for lr, score, answers in (
        (0.1, 0.5, sure(1, 1)),
        (0.01, 0.7, sure(1, 0)),
        (0.001, 0.9, sure(0, 0)),
    ):
        folder = grid.add(
            1 - score, val=score, lr=lr
        )  # the test set says the opposite and is not asked
        arrays = {
            "outputs": answers,
            "targets": np.array([0, 0]),
            "names": ["a", "b", "c"],
            **pictures(0, 1),
        }
        np.savez(folder.predictions, **arrays)

    chart = contrast_chart(load(grid.path))

    assert chart.table["kind"].tolist() == ["only the worst is wrong"] * 2
    assert "best: lr=0.001, 1 seed, 100 % right; worst: lr=0.1, 1 seed, 0 %" in chart.alt


def test_right_answers_are_shown_class_by_class() -> None:
    strengths = np.array([[9.0], [5.0], [7.0], [1.0], [3.0], [9.0]])
    answers = strengths * sure(0, 0, 0, 1, 1, 2, strength=1.0)

    info = gallery_info(
        side("x", one(answers, [0, 0, 0, 1, 1, 1], **pictures(0, 1, 2, 3, 4, 5))), "right"
    )

    assert [(tile.position, tile.target) for tile in info.tiles] == [
        (0, "a"),
        (4, "b"),
        (2, "a"),
        (3, "b"),
        (1, "a"),
    ]


ORIGINS = (
    LabelOrigin("Rock", "Rock", 5, 1),
    LabelOrigin("Psych", "Rock", 3, 1),
    LabelOrigin("Blues", "Blues", 20, 2),
    LabelOrigin("Indie", "", 4, 2),
)


def test_labels_stand_below_the_class_that_they_became() -> None:
    info = mapping_info(ORIGINS)

    assert [(bar.name, bar.samples, bar.kind) for bar in info.bars] == [
        ("Blues", 22, "after"),
        ("Rock", 10, "after"),
        ("Rock", 6, "before"),
        ("Psych", 4, "before"),
        ("Indie", 6, "dropped"),
    ]
    assert info.subtitle == "38 samples before, 32 after; 6 of 1 label dropped"


def test_a_mapping_that_no_run_tells_and_two_mappings_are_sentences(grid: Grid) -> None:
    grid.add(0.9)
    with pytest.raises(
        UserError, match=r"no run under .* says what its labels were before a mapping"
    ):
        mapping_chart(load(grid.path))
    loaded = load(grid.path)
    loaded.runs["mapping"] = "lab"
    other = loaded.runs.assign(mapping="none")
    with pytest.raises(
        UserError,
        match=r"2 data sets in this grid \(lab, none\): choose one with --only mapping=lab",
    ):
        mapping_chart(type(loaded)(**{**vars_of(loaded), "runs": pd.concat([loaded.runs, other])}))


def vars_of(loaded: Any) -> dict[str, Any]:
    return {name: getattr(loaded, name) for name in type(loaded).__dataclass_fields__}


def test_what_became_of_labels_is_read_from_a_run(grid: Grid) -> None:
    folder = grid.add(0.9)
    origins = [{"label": "Psych", "becomes": "Rock", "train": 3, "test": 1}]
    data = {"names": ["Rock"], "counts": {"train": [3]}, "origins": origins}
    write_json(folder.result, {**(read_json(folder.result) or {}), "provenance": {"data": data}})

    assert mapping_chart(load(grid.path)).table.values.tolist() == [["Psych", "Rock", 3, 1]]


def history(run: str, train: list[float], val: list[float]) -> pd.DataFrame:
    return pd.DataFrame(
        {"run_id": run, "epoch": range(len(train)), "train/loss": train, "val/loss": val}
    )


def test_both_curves_are_medians_over_runs_and_the_best_epoch_is_that_of_validation() -> None:
    runs = pd.DataFrame({"run_id": ["a", "b", "c"], "augment": ["none", "none", "flip"]})
    lines = pd.concat(
        [
            history("a", [3, 2, 1], [3, 1, 2]),
            history("b", [3, 1, 0], [3, 2, 4]),
            history("c", [3, 3, math.nan], [3, 2, 1]),
        ]
    )

    flip, none = overfit_info(runs, lines, "loss", "augment").pairs

    assert (none.train.tolist(), none.val.tolist(), none.best) == ([3, 1.5, 0.5], [3, 1.5, 3], 1)
    assert none.gap == 2.5
    assert (flip.train.tolist(), flip.n_runs, flip.best) == ([3, 3], 1, 1)
    table = overfit_table(overfit_info(runs, lines, "loss", "augment"))
    assert table.columns.tolist() == ["augment", "epoch", "train/loss", "val/loss", "runs"]


def test_a_measure_that_only_one_part_has_is_no_pair(grid: Grid) -> None:
    grid.add(0.9, history=[{"epoch": 0, "val/acc": 0.5, "train/loss": 1.0}])
    with pytest.raises(
        UserError, match=r"no run of .* has logged a measure of training and validation"
    ):
        overfit_chart(load(grid.path))


def test_fused_pieces_have_a_panel_of_bands_and_one_of_pitches() -> None:
    frames = np.arange(140.0)[None] + np.zeros((5, 1))

    info = spectrograms_info(
        side("x", one(sure(0, 1), [2, 1], pieces=(Piece(1, frames), Piece(0, frames[:2]))))
    )

    assert [(p.position, p.name, p.kind, p.values.shape) for p in info.panels] == [
        (1, "b", "mel", (128, 5)),
        (1, "b", "chroma", (12, 5)),
        (0, "c", "mel", (128, 2)),
        (0, "c", "chroma", (12, 2)),
    ]
    assert (info.panels[1].values[:, 0] == np.arange(128, 140)).all()


def test_pieces_of_quantities_are_named_by_them() -> None:
    found = Predictions(
        "r",
        0,
        np.zeros((2, 1)),
        np.array([[0.25], [0.5]]),
        ("energy",),
        False,
        pieces=(Piece(1, np.ones((3, 12))),),
    )

    (panel,) = spectrograms_info(side("x", found)).panels

    assert (panel.name, panel.kind) == ("energy 0.50", "chroma")


def test_kept_pieces_come_back_in_their_own_units(grid: Grid, tmp_path: Path) -> None:
    folder = grid.add(0.9)
    np.savez(
        folder.predictions, outputs=sure(0), targets=np.array([0]),
        names=["a", "b", "c"], pieces=[0],
        piece_inputs=np.array([[[0, 255], [255, 51], [0, 0]]], np.uint8), piece_lengths=[2],
        piece_low=[-80.0, 0.0], piece_high=[0.0, 1.0],
    )  # fmt: skip

    table = spectrograms_chart(load(grid.path)).table

    assert table[["bands", "frames", "min", "max"]].values.tolist() == [[2, 2, -80, 1]]


def test_runs_that_kept_no_pieces_are_told_so() -> None:
    with pytest.raises(UserError, match="these runs kept no pieces"):
        spectrograms_info(side("x", one(sure(0), [0])))


def quantities(true: Any, predicted: Any, names: tuple[str, ...], seed: int = 0) -> Predictions:
    return Predictions(f"r{seed}", seed, np.array(predicted), np.array(true), names, False)


def test_correlations_of_one_net_and_of_nets_for_each_stand_side_by_side() -> None:
    rng = np.random.default_rng(0)
    true = rng.random((30, 2))
    alone = [
        ("cnn", [quantities(true[:, [k]], true[:, [k]] + rng.normal(0, 0.3, (30, 1)), (name,))])
        for k, name in enumerate(("energy", "valence"))
    ]
    together = (
        "cnn",
        [
            quantities(true, true + rng.normal(0, 0.1, (30, 2)), ("valence", "energy"), s)
            for s in (0, 1)
        ],
    )

    info = correlations_info([*alone, together])

    assert [(row.quantity, row.learned) for row in info.rows] == [
        ("valence", "together"), ("valence", "alone"), ("energy", "together"), ("energy", "alone"),
        (MEAN, "together"), (MEAN, "alone"),
    ]  # fmt: skip
    first = info.rows[0]
    assert (first.low, first.high) == spearman_interval(first.r, 30)
    assert (first.n_seeds, info.rows[1].n_seeds) == (2, 1)
    assert math.isnan(info.rows[1].sd)
    means = np.arctanh([row.r for row in info.rows if row.learned == "alone"])
    assert means[2] == pytest.approx(means[:2].mean())


def test_a_constant_answer_has_no_correlation_and_comes_last() -> None:
    true = np.linspace(0, 1, 20)[:, None]
    good, flat = quantities(true, true**2, ("energy",)), quantities(true, 0 * true, ("energy",))

    table = correlations_table(correlations_info([("flat", [flat]), ("good", [good])]))

    assert table["configuration"].tolist() == ["good", "flat"]
    assert table["spearman"].isna().tolist() == [False, True]
    assert MEAN not in table["quantity"].tolist()


def test_correlations_are_not_of_classes(grid: Grid) -> None:
    np.savez(
        grid.add(0.9).predictions, outputs=sure(0), targets=np.array([0]), names=["a", "b", "c"]
    )

    with pytest.raises(UserError, match="correlations are of quantities"):
        correlations_chart(load(grid.path))
