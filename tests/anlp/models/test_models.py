from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from anlp.data import Samples
from anlp.models.cnn import Cnn
from anlp.models.dense import Dense
from anlp.models.layers import Dropout, Standardize
from anlp.workloads.augment import RandomShift

IMAGES = {8: (5, 1, 8, 8), 28: (5, 1, 28, 28)}


def make(name: str, side: int, dropout: float = 0.0) -> nn.Module:
    torch.manual_seed(0)
    if name == "dense":
        return Dense(side * side, 10, hidden=32, dropout=dropout, mean=100.0, std=50.0)
    return Cnn(side, 10, filters=4, units=16, dropout=dropout, mean=100.0, std=50.0)


def images(side: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, IMAGES[side], dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("side", [8, 28])
@pytest.mark.parametrize("name", ["dense", "cnn"])
def test_model_gives_logits_per_class_and_a_gradient_to_every_parameter(
    name: str, side: int
) -> None:
    model = make(name, side, dropout=0.1)

    logits = model(images(side))
    torch.autograd.backward(functional.cross_entropy(logits, torch.arange(5)))

    assert logits.shape == (5, 10)
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


@pytest.mark.parametrize("name", ["dense", "cnn"])
def test_model_in_evaluation_is_a_function_of_each_sample_alone(name: str) -> None:
    model = make(name, 28, dropout=0.5).eval()
    batch = images(28)

    with torch.inference_mode():
        alone = torch.cat([model(batch[k : k + 1]) for k in range(5)])
        assert torch.allclose(model(batch), alone, atol=1e-5)


def test_sizes_are_those_of_the_description() -> None:
    assert sum(p.numel() for p in Dense(784, 10).parameters()) == 669_706
    assert sum(p.numel() for p in Cnn(28, 10).parameters()) == 206_922


def test_pooling_before_relu_equals_relu_before_pooling() -> None:
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))

    assert torch.equal(functional.max_pool2d(x, 2).relu(), functional.max_pool2d(x.relu(), 2))


@pytest.mark.parametrize("kind", [torch.uint8, torch.float32])
def test_standardize_is_the_same_for_bytes_and_floats_and_leaves_its_input_alone(
    kind: torch.dtype,
) -> None:
    stored = torch.tensor([0, 100, 150]).to(kind)

    assert Standardize(100.0, 50.0)(stored).tolist() == [-2.0, 0.0, 1.0]
    assert stored.tolist() == [0, 100, 150]


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_drops_its_share_keeps_the_mean_and_passes_gradients_alike(rate: float) -> None:
    torch.manual_seed(0)
    x = torch.ones(401, 999, requires_grad=True)

    dropped = Dropout(rate)(x)
    torch.autograd.backward(dropped.sum())

    assert (dropped == 0).float().mean().item() == pytest.approx(rate, abs=0.005)
    assert dropped.mean().item() == pytest.approx(1.0, abs=0.02)
    assert torch.equal(x.grad, dropped)  # type: ignore[arg-type] # backward has filled it
    assert (dropped == 0).float().mean(0).std() < 0.04  # no unit is favoured


def test_dropout_does_nothing_in_evaluation() -> None:
    x = torch.randn(3, 4)

    assert Dropout(0.5).eval()(x) is x


def test_shift_moves_each_image_by_its_own_offsets() -> None:
    torch.manual_seed(0)
    images = torch.zeros(200, 1, 9, 9)
    images[:, 0, 4, 4] = 1

    moved = RandomShift(1)(Samples((images,), (torch.arange(200),))).inputs[0]

    places = {tuple(place) for place in moved[:, 0].nonzero()[:, 1:].tolist()}
    assert moved.shape == images.shape
    assert moved.sum() == 200
    assert places == {(row, column) for row in (3, 4, 5) for column in (3, 4, 5)}


def test_shift_fills_with_zeros() -> None:
    torch.manual_seed(0)

    moved = RandomShift(2)(Samples((torch.ones(50, 1, 6, 6),), (torch.arange(50),))).inputs[0]

    assert moved.sum((1, 2, 3)).min() == 16  # two rows and two columns moved out
