from __future__ import annotations

import math
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from anlp.builders.mnist import build
from anlp.core.errors import UserError
from anlp.core.spec import TaskSettings
from anlp.core.training_settings import TrainingSettings
from anlp.data import DatasetCache, Samples
from anlp.tasks import make_spec
from anlp.tasks.mnist import MnistSettings
from anlp.training import checkpoint
from anlp.training.attempt import make_trainer
from anlp.training.meters import MetricAccumulator
from anlp.training.optimizers import OPTIMIZERS, OptimizerOptions, make_optimizer
from anlp.training.schedules import Schedule
from anlp.training.trainer import DivergedError, Trainer, TrainerConfig
from anlp.workloads import seeding
from anlp.workloads.baselines import majority_share
from anlp.workloads.objectives import Classification
from anlp.workloads.splits import split_training_set
from anlp.workloads.workload import Split, Workload

CPU = torch.device("cpu")
SMALL: dict[str, Any] = {
    "data": "digits",
    "hidden": 32,
    "filters": 4,
    "units": 32,
    "epochs": 2,
    "lr": 0.01,
}


@pytest.fixture(scope="module")
def datasets() -> DatasetCache:
    return DatasetCache(Path("data"))


def settings(**given: Any) -> MnistSettings:
    made: TaskSettings = make_spec("mnist", {**SMALL, **given}, 0).settings
    assert isinstance(made, MnistSettings)
    return made


def trainer(datasets: DatasetCache, seed: int = 0, **given: Any) -> Trainer:
    torch.set_num_threads(1)
    chosen = settings(**given)
    return make_trainer(chosen, build(chosen, seed, datasets, CPU), seed, keeps_best=True)


def fit(made: Trainer) -> list[dict[str, float]]:
    made.fit(lambda metrics, epoch: None)
    return made.history


def without_seconds(history: list[dict[str, float]]) -> list[dict[str, float]]:
    return [
        {name: value for name, value in metrics.items() if name != "seconds"} for metrics in history
    ]


@pytest.mark.slow
@pytest.mark.parametrize("model", ["dense", "cnn"])
def test_three_batches_are_learned_by_heart(datasets: DatasetCache, model: str) -> None:
    debugging: dict[str, Any] = {
        "overfit_batches": 3,
        "dropout": 0.5,
        "augment": "shift",
        "label_smoothing": 0.1,
    }

    history = fit(trainer(datasets, model=model, epochs=60, **debugging))

    assert history[-1]["train/loss"] < 0.01
    assert history[-1]["val/loss"] < 0.01
    assert history[-1]["val/acc"] == 1.0


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_learns(datasets: DatasetCache, optimizer: str) -> None:
    lr = 0.1 if optimizer == "sgd" else 0.003

    assert fit(trainer(datasets, optimizer=optimizer, lr=lr, epochs=8))[-1]["val/acc"] > 0.8


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_follow_the_plain_formulas(name: str) -> None:
    def final(make: Any) -> Tensor:
        weight = nn.Parameter(torch.linspace(-1, 1, 20))
        optimizer = make([weight])
        for step in range(5):
            weight.grad = torch.sin(weight.detach() * 3 + step)
            optimizer.step()
        return weight.detach()

    plain = {
        "sgd": torch.optim.SGD,
        "adam": torch.optim.Adam,
        "adamw": torch.optim.AdamW,
        "rmsprop": torch.optim.RMSprop,
    }
    momentum: dict[str, Any] = {"momentum": 0.9} if name in ("sgd", "rmsprop") else {}
    expected = final(lambda p: plain[name](p, lr=0.1, weight_decay=0.01, foreach=False, **momentum))
    options = OptimizerOptions(lr=0.1, weight_decay=0.01, **momentum)

    assert torch.allclose(final(lambda p: make_optimizer(name, p, options)), expected)


def test_the_optimizers_are_those_that_a_grid_may_name() -> None:
    annotation = TrainingSettings.model_fields["optimizer"].annotation

    assert sorted(get_args(annotation)) == sorted(OPTIMIZERS)


@pytest.mark.slow
def test_same_seed_gives_the_same_numbers_and_another_seed_others(datasets: DatasetCache) -> None:
    stochastic: dict[str, Any] = {"dropout": 0.3, "augment": "shift"}
    first = without_seconds(fit(trainer(datasets, **stochastic)))

    torch.manual_seed(99)  # as others may use the global generator

    assert without_seconds(fit(trainer(datasets, **stochastic))) == first
    assert without_seconds(fit(trainer(datasets, seed=1, **stochastic))) != first


@pytest.mark.slow
def test_training_lowers_the_loss_with_every_feature_on(datasets: DatasetCache) -> None:
    features: dict[str, Any] = {
        "model": "cnn",
        "dropout": 0.1,
        "augment": "shift",
        "label_smoothing": 0.1,
        "schedule": "onecycle",
        "clip_norm": 1.0,
        "precision": "bf16",
        "epochs": 4,
    }

    history = fit(trainer(datasets, **features))

    assert history[-1]["val/loss"] < history[0]["val/loss"] / 2


def test_lr_of_an_epoch_follows_the_schedule(datasets: DatasetCache) -> None:
    history = fit(trainer(datasets, schedule="step", decay_every=1, decay_factor=0.5, epochs=3))

    assert [metrics["lr"] for metrics in history] == [0.01, 0.01, 0.005, 0.0025]


def test_early_stopping_ends_training(datasets: DatasetCache) -> None:
    made = trainer(datasets, patience=2, lr=1e-12, optimizer="sgd", epochs=20)

    fit(made)

    assert (made.epoch, made.best_epoch) == (3, 1)


def test_clipping_bounds_the_update_and_reports_the_norm_before(datasets: DatasetCache) -> None:
    clipped = trainer(datasets, clip_norm=1e-6, optimizer="sgd", lr=0.1, epochs=1)
    before = [p.detach().clone() for p in clipped.parameters]

    history = fit(clipped)

    moved = math.sqrt(
        sum(
            float((p.detach() - q).square().sum())
            for p, q in zip(clipped.parameters, before, strict=True)
        )
    )
    assert moved <= 0.1 * 1e-6 * clipped.updates * 1.01
    assert history[1]["grad_norm"] > 0.1


def test_not_finite_loss_is_noticed(datasets: DatasetCache) -> None:
    made = trainer(datasets, batch_size=8, optimizer="sgd", lr=1e12)

    with pytest.raises(DivergedError):
        fit(made)

    assert made.step <= 50
    assert made.epoch == 0


def test_best_weights_are_those_of_the_best_epoch(datasets: DatasetCache) -> None:
    made = trainer(datasets, epochs=4, lr=0.3, optimizer="sgd", momentum=0.9)
    seen = {}

    made.fit(
        lambda metrics, epoch: seen.update(
            {epoch: made.workload.model.state_dict()["layers.2.weight"].clone()}
        )
    )

    assert made.best_weights is not None
    assert torch.equal(made.best_weights["layers.2.weight"], seen[made.best_epoch])


def test_state_carries_the_best_weights(datasets: DatasetCache) -> None:
    made, again = trainer(datasets), trainer(datasets, seed=5)
    fit(made)

    again.load(made.state(), made.history)

    assert made.best_weights is not None
    assert again.best_weights is made.best_weights


def test_every_epoch_has_an_order_of_its_own(datasets: DatasetCache) -> None:
    made = trainer(datasets)

    orders = [made._order(epoch) for epoch in (0, 1)]

    assert not torch.equal(*orders)
    assert all(
        torch.equal(order.sort().values, made.workload.train.rows.sort().values) for order in orders
    )


def test_untrained_metrics_do_not_move_the_model(datasets: DatasetCache) -> None:
    made = trainer(datasets, epochs=0)
    before = [p.detach().clone() for p in made.parameters]

    history = fit(made)

    assert len(history) == 1
    assert history[0]["grad_norm"] > 0
    assert all(torch.equal(p, q) for p, q in zip(made.parameters, before, strict=True))


def test_split_parts_are_disjoint_and_drawn_by_the_seed() -> None:
    whole = Split.whole(Samples((torch.arange(100),), (torch.arange(100),)))

    train, val = split_training_set(whole, 0, val_fraction=0.1)
    other, _ = split_training_set(whole, 1, val_fraction=0.1)

    assert sorted([*train.rows.tolist(), *val.rows.tolist()]) == list(range(100))
    assert len(val) == 10
    assert train.rows.tolist() != other.rows.tolist()


@pytest.mark.parametrize(
    ("samples", "overfit", "sizes"),
    [(20, 0, (18, 2)), (2, 0, (1, 1)), (0, 12, (12, 12)), (200, 0, (90, 10))],
)
def test_split_sizes(samples: int, overfit: int, sizes: tuple[int, int]) -> None:
    whole = Split.whole(Samples((torch.arange(100),), (torch.arange(100),)))

    parts = split_training_set(whole, 0, val_fraction=0.1, samples=samples, overfit_samples=overfit)

    assert tuple(map(len, parts)) == sizes


def test_split_of_one_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="expected at least 2 training samples to split, got 1"):
        split_training_set(
            Split.whole(Samples((torch.arange(9),), (torch.arange(9),))),
            0,
            val_fraction=0.1,
            samples=1,
        )


def test_smoothing_applies_in_training_only() -> None:
    objective = Classification(label_smoothing=0.5)
    logits, target = torch.tensor([[9.0, 0.0], [9.0, 0.0]]), (torch.tensor([0, 0]),)

    plain, hits = objective(logits, target, training=False)
    smoothed, _ = objective(logits, target, training=True)

    assert plain.item() == pytest.approx(0, abs=0.001)
    assert smoothed.item() == pytest.approx(9 / 4, abs=0.001)
    assert hits == 2


def test_tally_is_the_mean_over_samples_not_over_batches() -> None:
    tally = MetricAccumulator(("loss", "acc"), CPU)

    tally.add((torch.tensor(1.0), torch.tensor(3)), 3)
    tally.add((torch.tensor(5.0), torch.tensor(0)), 1)

    assert tally.means("train") == {"train/loss": 2.0, "train/acc": 0.75}


def test_majority_is_of_the_training_set() -> None:
    assert majority_share(torch.tensor([1, 1, 0]), torch.tensor([0, 0, 0, 1])) == 0.25


def test_keys_differ_by_stream_seed_and_number() -> None:
    keys = {
        seeding.key(seed, stream, number)
        for seed in (0, 1)
        for stream in ("order", "step")
        for number in (0, 1)
    }

    assert len(keys) == 8
    assert all(0 <= key < 2**63 for key in keys)
    assert seeding.key(0, "order", 1) == seeding.key(0, "order", 1)


def test_checkpoint_comes_back_as_it_was(tmp_path: Path, datasets: DatasetCache) -> None:
    made, again = trainer(datasets), trainer(datasets, seed=5)
    fit(made)

    checkpoint.save_checkpoint(tmp_path / "checkpoint.pt", {"trainer": made.state()})
    loaded = checkpoint.load_checkpoint(tmp_path / "checkpoint.pt")
    assert loaded is not None
    again.load(loaded["trainer"], made.history)

    assert again.updates == made.updates
    assert all(torch.equal(p, q) for p, q in zip(made.parameters, again.parameters, strict=True))


WRITTEN_BY_AN_EARLIER_VERSION = {"version": 1, "epoch": 2, "model": {"a": torch.ones(2)}}


def test_files_of_earlier_versions_are_read(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save(WRITTEN_BY_AN_EARLIER_VERSION, path)

    content = checkpoint.load_checkpoint(path)

    assert content is not None
    assert content["epoch"] == 2
    assert torch.equal(checkpoint.load_weights(path)["a"], torch.ones(2))


def test_a_new_form_of_checkpoints_leaves_kept_weights_readable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "weights.pt"
    checkpoint.save_weights(path, {"a": torch.ones(2)}, epoch=2)
    monkeypatch.setattr(checkpoint, "CHECKPOINT_VERSION", 2)

    assert torch.equal(checkpoint.load_weights(path)["a"], torch.ones(2))
    with pytest.raises(checkpoint.UnreadableError, match="expected version 2, got 1"):
        checkpoint.load_checkpoint(path)


@pytest.mark.parametrize("content", [None, b"", b"cut short"])
def test_weights_that_cannot_be_read_are_a_sentence(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "weights.pt"
    if content is not None:
        path.write_bytes(content)

    said = r"the weights cannot be read .* use another run"
    if content is None:
        said = r"cannot be read .*; check the name: there is no such file"
    with pytest.raises(UserError, match=rf"weights\.pt: {said}"):
        checkpoint.load_weights(path)


def test_missing_checkpoint_is_none(tmp_path: Path) -> None:
    assert checkpoint.load_checkpoint(tmp_path / "checkpoint.pt") is None


class MeanError:
    """A regression on two inputs, as a later task would bring it."""

    names = ("loss", "mae")

    def __call__(
        self, output: Tensor, targets: tuple[Tensor, ...], *, training: bool
    ) -> tuple[Tensor, Tensor]:
        difference = output - targets[0]
        return difference.square().mean(), difference.detach().abs().sum()


class Sum(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(2))

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return self.weights[0] * left + self.weights[1] * right


def test_loop_takes_other_data_models_and_objectives() -> None:
    left, right = torch.randn(2, 256, generator=torch.Generator().manual_seed(0))
    whole = Split.whole(Samples((left, right), (left + 2 * right,)))
    workload = Workload(Sum(), whole, whole, whole, MeanError())
    optimizer = make_optimizer("sgd", workload.model.parameters(), OptimizerOptions(lr=0.1))
    schedule = Schedule("none", 0.1, steps=200, steps_per_epoch=8)
    config = TrainerConfig(seed=0, epochs=25, batch_size=32, monitor="val/loss")

    made = Trainer(workload, optimizer, schedule, config)

    assert fit(made)[-1]["val/mae"] < 0.01
    assert made.best_epoch > 10
