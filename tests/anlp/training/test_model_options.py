"""What holds for every model holds for its options, too: shapes, gradients, learning by heart,
continuing.
"""

from __future__ import annotations

import contextlib
import copy
import io
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from anlp.core.stop_flag import Interrupted
from anlp.core.training_settings import TrainingSettings
from anlp.training.attempt import make_trainer
from anlp.training.trainer import Metrics, Trainer
from tests.anlp.training.test_every_model import Kind

NEAR_ZERO = 0.01
STOP_AFTER = 7  # updates: within the second epoch
OPTIONS: list[tuple[Kind, dict[str, Any]]] = [
    (Kind(task, "model", model), values)
    for task, model, values in (
        ("mnist", "dense", {"dropout": 0.3}),
        ("mnist", "cnn", {"dropout": 0.3, "label_smoothing": 0.1, "augment": "shift"}),
        ("points", "mlp", {"depth": 0}),
        ("points", "mlp", {"batch_norm": True, "dropout": 0.2}),
        ("points", "mlp", {"residual": True, "depth": 5}),
        ("points", "mlp", {"residual": True, "batch_norm": True, "depth": 5}),
        ("spoken_digits", "linear", {"pooling": "max", "units": 256, "squeeze": 64}),
        ("spoken_digits", "linear", {"pooling": "sum"}),
        ("spoken_digits", "gru", {"pooling": "last", "layers": 2, "dropout": 0.3}),
        ("spoken_digits", "gru", {"pooling": "last", "bidirectional": True}),
        ("spoken_digits", "gru", {"pooling": "max", "bidirectional": True, "layers": 2}),
        (
            "spoken_digits",
            "lstm",
            {"pooling": "last", "bidirectional": True, "layers": 2, "dropout": 0.3},
        ),
        ("spoken_digits", "lstm", {"pooling": "sum"}),
        ("spoken_digits", "gru_attention", {"heads": 1, "pooling": "last"}),
        (
            "spoken_digits",
            "gru_attention",
            {"heads": 8, "pooling": "max", "bidirectional": True, "layers": 2},
        ),
    )
]


def name_of(part: Kind | dict[str, Any]) -> str:
    return (
        part.name
        if isinstance(part, Kind)
        else "-".join(f"{name}={value}" for name, value in part.items())
    )


every_option = pytest.mark.parametrize(("kind", "values"), OPTIONS, ids=name_of)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Beside other work, threads of such small tensors wait for one another most of the time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def trainer_of(kind: Kind, **values: Any) -> Trainer:
    settings = kind.spec(**values).settings
    assert isinstance(settings, TrainingSettings)
    return make_trainer(settings, kind.build(**values), 0, keeps_best=False)


@every_option
def test_a_gradient_reaches_every_parameter(kind: Kind, values: dict[str, Any]) -> None:
    workload = kind.build(**values, overfit_batches=4)
    batch = workload.train.samples.gather(workload.train.rows)

    outputs = workload.model.train()(*batch.inputs)
    torch.autograd.backward(workload.objective(outputs, batch.targets, training=True)[0])

    assert outputs.shape == (len(batch), len(workload.names))
    found = {name: parameter.grad for name, parameter in workload.model.named_parameters()}
    assert [
        name for name, gradient in found.items() if gradient is None or not gradient.any()
    ] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "values"), [option for option in OPTIONS if option[1].get("depth") != 0], ids=name_of
)
def test_three_batches_are_learned_by_heart(kind: Kind, values: dict[str, Any]) -> None:
    """All but a linear model of two coordinates, which cannot."""
    trainer = trainer_of(kind, **values, overfit_batches=3, epochs=400, train_samples=0)
    losses: list[float] = []

    with contextlib.suppress(Interrupted):
        trainer.fit(
            lambda metrics, _: losses.append(metrics["train/loss"]),
            should_stop=lambda: losses[-1] < NEAR_ZERO,
        )

    assert losses[-1] < NEAR_ZERO < losses[0]


@every_option
def test_training_continues_from_what_was_saved_to_the_same_numbers(
    kind: Kind, values: dict[str, Any]
) -> None:
    small = {**values, "epochs": 2, "train_samples": 40}
    whole, stopped, continued = (trainer_of(kind, **small) for _ in range(3))
    expected: list[Metrics] = []
    found: list[Metrics] = []
    whole.fit(lambda metrics, _: expected.append(metrics))

    with pytest.raises(Interrupted):
        stopped.fit(
            lambda metrics, _: found.append(metrics),
            should_stop=lambda: stopped.updates == STOP_AFTER,
        )
    buffer = io.BytesIO()
    torch.save(stopped.state(), buffer)
    continued.load(
        torch.load(io.BytesIO(buffer.getvalue()), weights_only=True), copy.deepcopy(found)
    )
    continued.fit(lambda metrics, _: found.append(metrics))

    assert [without_time(metrics) for metrics in found] == [
        without_time(metrics) for metrics in expected
    ]
    for name, value in whole.workload.model.state_dict().items():
        assert torch.equal(value, continued.workload.model.state_dict()[name]), name


def without_time(metrics: Metrics) -> Metrics:
    return {name: value for name, value in metrics.items() if name != "seconds"}
