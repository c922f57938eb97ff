"""What holds for every model of every task: shapes, gradients, that it can learn by heart, and that
it continues.
"""

from __future__ import annotations

import contextlib
import re
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from anlp.builders import build_workload
from anlp.core.spec import RunSpec
from anlp.core.stop_flag import Interrupted
from anlp.core.training_settings import TrainingSettings
from anlp.data import DatasetCache
from anlp.tasks import TASKS, make_spec
from anlp.training.attempt import make_trainer
from anlp.workloads.workload import Workload
from jobs.submission.variants import KINDS
from tests.support.tiny_runs import folder_of, numbers_of, run_apart, signal_at_update, write_specs

CPU = torch.device("cpu")
NEAR_ZERO = 0.01
WITHOUT_GRADIENTS = frozenset({"logistic_regression", "xgboost"})

# over the small settings of a task: sizes that take seconds, and a rate at which three batches are
# learned
SMALL: Mapping[tuple[str, str], Mapping[str, Any]] = {
    ("cifar10", "nn"): {"dense_layers": 2, "lr": 0.003},
    ("cifar10", "nn_residual"): {"dense_layers": 3, "lr": 0.001},
    ("cifar10", "cnn"): {"lr": 0.01},
    ("cifar10", "resnet18"): {"image_size": 8, "lr": 0.001},
    ("cifar10", "resnet34"): {"image_size": 8, "lr": 0.001},
    ("fma_emotion", "lstm"): {"target": "all", "lr": 0.01},
    ("fma_emotion", "cnn2d"): {"target": "all", "filters": 4, "feature_size": 64, "lr": 0.001},
    ("fma_genre", "lstm"): {"lr": 0.01},
    ("fma_genre", "cnn2d"): {"lr": 0.01},
    ("images_transfer", "scratch"): {"image_size": 16, "lr": 0.001},
    ("images_transfer", "linear_probe"): {"image_size": 16, "lr": 0.1},
    ("images_transfer", "finetune"): {"image_size": 16, "lr": 0.001},
    ("images_transfer", "logistic_regression"): {"image_size": 16},
    ("images_transfer", "xgboost"): {"image_size": 16},
    ("mnist", "dense"): {"hidden": 64, "lr": 0.01},
    ("mnist", "cnn"): {"filters": 4, "units": 32, "lr": 0.01},
    ("points", "mlp"): {"depth": 2, "width": 64, "lr": 0.01},
    ("spoken_digits", "linear"): {"units": 64, "squeeze": 32, "lr": 0.01},
    ("spoken_digits", "gru"): {"layers": 1, "lr": 0.01},
    ("spoken_digits", "lstm"): {"layers": 1, "lr": 0.02},
    ("spoken_digits", "gru_attention"): {"layers": 1, "lr": 0.01},
}


@dataclass(frozen=True, slots=True)
class Kind:
    """A task with one of its models."""

    task: str
    setting: str
    name: str

    def spec(self, **values: Any) -> RunSpec:
        """A small run of it."""
        small = {**TASKS[self.task].settings.smoke, **SMALL[self.task, self.name]}
        return make_spec(
            self.task, {**small, "batch_size": 8, self.setting: self.name, **values}, 0
        )

    def build(self, device: torch.device = CPU, **values: Any) -> Workload:
        """Its parts."""
        return build_workload(self.spec(**values), DatasetCache(Path("nowhere")), device)


def kinds() -> list[Kind]:
    found = []
    for task, entry in sorted(TASKS.items()):
        (setting,) = (name for name in KINDS if name in entry.settings.model_fields)
        found += [
            Kind(task, setting, name)
            for name in get_args(entry.settings.model_fields[setting].annotation)
        ]
    return found


every_kind = pytest.mark.parametrize("kind", kinds(), ids=lambda kind: f"{kind.task}-{kind.name}")
every_trained_kind = pytest.mark.parametrize(
    "kind",
    [kind for kind in kinds() if kind.name not in WITHOUT_GRADIENTS],
    ids=lambda kind: f"{kind.task}-{kind.name}",
)


def needs_of(kind: Kind) -> None:
    if kind.name == "xgboost":
        pytest.importorskip("xgboost", reason="the method xgboost; pip install '.[boost]'")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Beside other work, threads of such small tensors wait for one another most of the time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_every_model_has_small_settings_here() -> None:
    assert set(SMALL) == {(kind.task, kind.name) for kind in kinds()}


@pytest.mark.slow
@every_kind
def test_a_model_gives_one_value_per_class_or_target(kind: Kind) -> None:
    needs_of(kind)
    workload = kind.build()
    batch = next(workload.batches(workload.test))

    with torch.inference_mode():
        outputs = workload.model.eval()(*batch.inputs)

    assert outputs.shape == (len(batch), len(workload.names))
    assert outputs.isfinite().all()


@every_trained_kind
def test_a_gradient_reaches_every_parameter(kind: Kind) -> None:
    workload = kind.build(overfit_batches=4)  # no dropout: a unit that is left out has no gradient
    batch = workload.train.samples.gather(workload.train.rows)

    loss, *_ = workload.objective(
        workload.model.train()(*batch.inputs), batch.targets, training=True
    )
    torch.autograd.backward(loss)

    gradients = {name: parameter.grad for name, parameter in workload.model.named_parameters()}
    assert gradients
    assert [
        name for name, gradient in gradients.items() if gradient is None or not gradient.any()
    ] == []


@pytest.mark.slow
@every_trained_kind
def test_three_batches_are_learned_by_heart(kind: Kind) -> None:
    settings = kind.spec(overfit_batches=3, epochs=150, train_samples=0).settings
    assert isinstance(settings, TrainingSettings)
    workload = kind.build(overfit_batches=3, train_samples=0)
    trainer = make_trainer(settings, workload, 0, keeps_best=False)
    losses: list[float] = []

    with contextlib.suppress(Interrupted):
        trainer.fit(
            lambda metrics, _: losses.append(metrics["train/loss"]),
            should_stop=lambda: losses[-1] < NEAR_ZERO,
        )

    assert len(workload.train) == 24
    assert losses[-1] < NEAR_ZERO < losses[0]


@pytest.mark.slow
@every_trained_kind
def test_an_interrupted_run_continues_to_the_same_numbers(kind: Kind, tmp_path: Path) -> None:
    spec = kind.spec(epochs=2, train_samples=40)
    whole, stopped = write_specs(tmp_path / "whole", spec), write_specs(tmp_path / "stopped", spec)

    assert run_apart(whole) == 0
    assert run_apart(stopped, prepare=signal_at_update, args=(signal.SIGTERM, 7)) == 3
    assert run_apart(stopped) == 0

    assert re.search("continuing after epoch 1, step [23]", folder_of(stopped).log.read_text())
    assert numbers_of(folder_of(stopped)) == numbers_of(folder_of(whole))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here; run on a machine with one")
@every_trained_kind
def test_the_gpu_agrees_with_the_cpu(kind: Kind) -> None:
    outputs = []
    for device in (CPU, torch.device("cuda")):
        workload = kind.build(device)
        batch = next(workload.batches(workload.test))
        with torch.inference_mode():
            outputs.append(workload.model.eval()(*batch.inputs).cpu())

    on_cpu, on_gpu = outputs
    assert torch.allclose(on_cpu, on_gpu, rtol=1e-3, atol=1e-3)
