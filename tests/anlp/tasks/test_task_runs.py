"""What runs of the tasks leave in their folders, end to end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from anlp.core.spec import RunSpec
from anlp.data.images import make_images
from anlp.data.spectrograms import make_emotions, make_genres
from anlp.records.files import read_metrics
from anlp.records.folders import RunFolder
from anlp.records.results import Outcome, RunResult, read_result
from anlp.run import run_element
from anlp.tasks import TASKS, make_spec
from anlp.training.predictions import note_samples
from tests.support.tiny_runs import folder_of, write_specs

pytestmark = pytest.mark.slow


def small(task: str, **values: Any) -> RunSpec:
    return make_spec(task, {**TASKS[task].settings.smoke, "batch_size": 8, **values}, 0)


def carry_out(grid: Path, spec: RunSpec) -> tuple[RunFolder, RunResult]:
    batch = write_specs(grid, spec, predictions=True)

    code = run_element(batch, 0, job="test")

    folder = folder_of(batch)
    result = read_result(folder)
    assert result is not None
    assert (code, result.outcome) == (0, Outcome.OK), result.error
    return folder, result


@pytest.mark.parametrize("method", ["logistic_regression", "xgboost"])
def test_a_method_without_gradients_is_a_run_like_the_others(method: str, tmp_path: Path) -> None:
    if method == "xgboost":
        pytest.importorskip("xgboost", reason="the method xgboost; pip install '.[boost]'")

    folder, result = carry_out(
        tmp_path, small("images_transfer", method=method, image_size=16, train_samples=0)
    )

    untrained, fitted = read_metrics(folder.metrics)
    assert (result.epochs, result.sizes) == (1, {"train": 180, "val": 20, "test": 200})
    assert (untrained["lr"], untrained["grad_norm"], fitted["lr"], fitted["grad_norm"]) == (
        0.0,
        0.0,
        0.0,
        0.0,
    )
    assert fitted["train/acc"] > 0.9 > untrained["train/acc"]
    assert result.metrics["test/acc"] > 2 * result.baselines["random"]
    with np.load(folder.predictions) as kept:
        assert np.mean(kept["outputs"].argmax(1) == kept["targets"]) == pytest.approx(
            result.metrics["test/acc"]
        )


def test_images_that_are_worth_a_look_are_kept_with_the_predictions(tmp_path: Path) -> None:
    folder, result = carry_out(tmp_path, small("cifar10"))

    with np.load(folder.predictions) as kept:
        outputs, targets, noted = kept["outputs"], kept["targets"], kept["noted"]
        assert (outputs.shape, kept["noted_inputs"].shape[1:]) == ((200, 10), (3, 16, 16))
        assert list(kept["names"]) == list(result.provenance["data"]["names"])
    hits = outputs.argmax(1) == targets
    assert sorted(hits[noted]) == list(hits[noted])  # mistakes first
    assert len(noted) == min(64 + 32, int(hits.sum())) + min(64, int((~hits).sum()))
    assert len(set(noted.tolist())) == len(noted)


@pytest.mark.parametrize("method", ["linear_probe", "logistic_regression", "xgboost"])
def test_pictures_are_kept_of_models_that_see_something_else(method: str, tmp_path: Path) -> None:
    if method == "xgboost":
        pytest.importorskip("xgboost", reason="the method xgboost; pip install '.[boost]'")

    folder, _ = carry_out(
        tmp_path, small("images_transfer", method=method, image_size=112, train_samples=30)
    )

    shown = make_images(tmp_path, image_size=112).test.inputs[0]
    with np.load(folder.predictions) as kept:
        assert kept["noted_inputs"].shape[1:] == (3, 96, 96)
        means = kept["noted_inputs"].mean((1, 2, 3))
        assert np.allclose(means, shown[kept["noted"]].float().mean((1, 2, 3)), atol=1)


@pytest.mark.parametrize("task", ["fma_genre", "fma_emotion"])
def test_some_pieces_are_kept_to_look_at(task: str, tmp_path: Path) -> None:
    folder, _ = carry_out(tmp_path, small(task, model="lstm"))

    options = {"target": "energy"} if task == "fma_emotion" else {}
    load = make_emotions if task == "fma_emotion" else make_genres
    frames, lengths = load(tmp_path, features="mel", **options).test.inputs
    with np.load(folder.predictions) as kept:
        targets = kept["targets"][kept["pieces"]].flatten()
        assert len(set(targets.tolist())) == len(targets) == (3 if task == "fma_emotion" else 4)
        assert kept["piece_lengths"].tolist() == lengths[kept["pieces"]].tolist()
        steps = (kept["piece_high"] - kept["piece_low"]) / 255
        values = kept["piece_low"] + kept["piece_inputs"] * steps
        length = int(kept["piece_lengths"][1])
        assert (
            np.abs(values[1, :length] - frames[kept["pieces"][1], :length].numpy()).max()
            <= steps.max()
        )
        assert not kept["piece_inputs"][1, length:].any()


def test_plain_hits_of_every_class_are_noted_behind_the_hard_ones() -> None:
    targets = torch.tensor([0, 0, 0, 0, 1, 1])
    strength = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, -1.0])
    outputs = torch.stack(
        [torch.where(targets == 0, strength, 0.0), torch.where(targets == 1, strength, 0.0)], 1
    )

    assert note_samples(outputs, targets, most=1, shown=3).tolist() == [5, 0, 4, 3, 2]


def test_gradient_norms_of_layers_and_a_map_of_decisions_are_kept(tmp_path: Path) -> None:
    folder, _ = carry_out(tmp_path, small("points", depth=3, layer_norms=True))

    norms = {
        name: value
        for name, value in read_metrics(folder.metrics)[1].items()
        if name.startswith("grad_norm/")
    }
    assert list(norms) == ["grad_norm/000", "grad_norm/001", "grad_norm/002", "grad_norm/003"]
    assert all(value > 0 for value in norms.values())
    with np.load(folder.predictions) as kept:
        assert kept["probe_outputs"].shape == (len(kept["probe"]), len(kept["names"]))


def test_several_quantities_are_measured_each(tmp_path: Path) -> None:
    folder, result = carry_out(tmp_path, small("fma_emotion", target="all", model="cnn2d"))

    each = [
        result.metrics[f"test/spearman_{name}"] for name in ("valence", "energy", "danceability")
    ]
    assert result.metrics["test/spearman"] == pytest.approx(sum(each) / 3)
    assert result.baselines["mean"] > 0
    with np.load(folder.predictions) as kept:
        assert kept["outputs"].shape == kept["targets"].shape == (16, 3)


def test_the_epoch_with_the_smallest_error_is_tested_where_the_error_is_monitored(
    tmp_path: Path,
) -> None:
    spec = small("fma_emotion", model="cnn2d", epochs=4, lr=0.01, monitor="val/mae")

    folder, result = carry_out(tmp_path, spec)

    errors = [line["val/mae"] for line in read_metrics(folder.metrics)[1:]]
    assert max(errors) > min(errors)
    assert result.metrics["val/mae"] == min(errors)


@pytest.mark.parametrize("freeze", [True, False])
def test_a_net_that_knows_genres_goes_on_to_emotions(freeze: bool, tmp_path: Path) -> None:
    genres, result = carry_out(tmp_path / "genres", small("fma_genre", model="cnn2d"))
    spec = small("fma_emotion", model="cnn2d", init_from=result.run_id, freeze=freeze)

    emotions, _ = carry_out(tmp_path / "emotions", spec)

    before, after = (load(folder) for folder in (genres, emotions))
    backbone = [name for name in before if name.startswith("backbone.")]
    assert "test/f1" in result.metrics
    assert all(np.array_equal(before[name], after[name]) for name in backbone) == freeze


def load(folder: RunFolder) -> dict[str, Any]:
    weights: dict[str, Any] = torch.load(folder.weights, weights_only=True)["model"]
    return weights
