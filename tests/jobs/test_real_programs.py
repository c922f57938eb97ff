"""Programs of the shapes that people have: settings, a grid, a table."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from anlp.core.spec import Scalar
from anlp.records.files import read_metrics
from anlp.records.folders import RunFolder
from anlp.records.results import RunResult, read_result
from jobs.gridfile import load_grid
from tests.support import framework_programs as frameworks
from tests.support import real_programs as scripts
from tests.support.real_programs import with_one_line
from tests.support.submits import Place

pytestmark = pytest.mark.slow

LOCAL = ("--on", "local", "--device", "cpu", "-y")


def _missing(package: str) -> pytest.MarkDecorator:
    is_missing = importlib.util.find_spec(package) is None
    return pytest.mark.skipif(is_missing, reason=f"needs {package}")


@dataclass(frozen=True, slots=True)
class Shape:
    """A script, its grid, and what comes out.

    Args:
        script: the program.
        grid: the grid file behind `program: train.py`.
        settings: some of those of the first run, resolved.
        command: words of what starts the first run, as the plan says it.
        logged_by: where its numbers come from.
        metrics: names of its results.
        epochs: of each run; none: no rows.
    """

    script: str
    grid: str
    settings: Mapping[str, Scalar]
    command: str
    logged_by: str
    metrics: frozenset[str]
    epochs: tuple[int, ...] = ()


SHAPES = {
    "mnist": Shape(
        with_one_line(scripts.MNIST),
        "grid: {lr: [0.5, 1.0], no_accel: [true]}\nfixed: {epochs: 2, log-interval: 5}\nseeds: 2\n"
        "metrics: {select: test_acc}",
        {"batch_size": 64, "lr": 0.5, "gamma": 0.7, "no_accel": True, "dry_run": False},
        "train.py --lr 0.5 --no-accel --epochs 2 --log-interval 5 --seed 0",
        "$ANLP_METRICS",
        frozenset({"test/acc", "test/loss"}),
        (1, 2),
    ),
    "hogwild": Shape(
        with_one_line(scripts.HOGWILD),
        "grid: {num-processes: [1, 3]}\nfixed: {epochs: 2}",
        {"num_processes": 1, "cuda": False, "lr": 0.01},
        "train.py --num-processes 1 --epochs 2 --seed 0",
        "$ANLP_METRICS",
        frozenset({"test/acc", "test/loss"}),
        (2,),
    ),
    "vae": Shape(
        with_one_line(scripts.VAE),
        "grid: {batch-size: [64, 128]}\nfixed: {epochs: 3, no_cuda: true}\nworkdir: run\n"
        "metrics: {select: test_loss}",
        {"batch_size": 64, "no_cuda": True, "no_mps": False},
        "train.py --batch-size 64 --epochs 3 --no-cuda --seed 0",
        "$ANLP_METRICS",
        frozenset({"test/acc", "test/loss"}),
        (1, 2, 3),
    ),
    "classification": Shape(
        with_one_line(scripts.CLASSIFICATION),
        "grid: {lr-steps: ['1 2', '2'], model-ema: [false, true]}\n"
        "fixed: {epochs: 3, weight_decay: 1e-3, backend: tensor, norm_weight_decay: 0.0}",
        {"lr_steps": "1 2", "model_ema": False, "weight_decay": 0.001, "workers": 16},
        "train.py --lr-steps 1 2 --epochs 3 --weight-decay 0.001 --backend tensor "
        "--norm-weight-decay 0.0",
        "$ANLP_METRICS",
        frozenset({"test/acc", "test/loss"}),
        (0, 1, 2),
    ),
    "scikit": Shape(
        scripts.SCIKIT,
        "fixed: {dataset: iris}\ngrid: {neighbors: [1, 5], weights: [uniform, distance]}\nseeds: 2",
        {"dataset": "iris", "neighbors": 1, "weights": "uniform"},
        "train.py iris --neighbors 1 --random-state 0",
        "nothing",
        frozenset({"val/accuracy", "test/accuracy"}),
    ),
    "torchrun": Shape(
        scripts.DISTRIBUTED,
        "command: [torchrun, --standalone, --nproc-per-node, '2', '${program}', '${args}']\n"
        "grid: {lr: [0.2]}",
        {"lr": 0.2},
        "torchrun --nproc-per-node 2 train.py --lr 0.2",
        "$ANLP_METRICS",
        frozenset({"val/acc"}),
        (1,),
    ),
    "click": Shape(
        scripts.CLICK,
        "command: [python, '${program}', '${args}', --seed, '${seed}']\n"
        "grid: {lr: [0.1, 0.2]}\nseeds: 2",
        {"lr": 0.1},
        "train.py --lr 0.1 --seed 0",
        "nothing",
        frozenset({"val/acc"}),
    ),
    "huggingface": Shape(
        frameworks.HUGGING_FACE,
        "command: [python, '${program}', '${args}', --output_dir, '${run_dir}/out', "
        "--eval_strategy, epoch, --logging_strategy, epoch, --use_cpu, --report_to, tensorboard]\n"
        "grid: {learning_rate: [1e-3, 1e-2], hidden_size: [8]}\n"
        "fixed: {num_train_epochs: 2, max_train_samples: 32, save_strategy: 'no'}\n"
        "settings: {learning_rate: float, hidden_size: int, num_train_epochs: int, "
        "max_train_samples: int, save_strategy: str}\n"
        "metrics: {select: eval/accuracy}",
        {"learning_rate": 0.001, "hidden_size": 8},
        "train.py --learning_rate 0.001",
        "TensorBoard",
        frozenset({"val/accuracy", "val/loss", "train/loss"}),
    ),
    "lightning": Shape(
        frameworks.LIGHTNING,
        "grid: {lr: [0.01, 0.1]}\nfixed: {max_epochs: 2}",
        {"lr": 0.01, "hidden": 16, "max_epochs": 2},
        "train.py --lr 0.01 --max_epochs 2 --seed 0",
        "TensorBoard",
        frozenset({"val/acc", "train/loss"}),
    ),
}
NEEDS = {
    "mnist": "torch",
    "scikit": "sklearn",
    "torchrun": "torch",
    "click": "click",
    "huggingface": "transformers",
    "lightning": "lightning",
}


@pytest.fixture(
    params=[
        pytest.param(shape, marks=_missing(NEEDS.get(name, "anlp")), id=name)
        for name, shape in SHAPES.items()
    ]
)
def shape(request: pytest.FixtureRequest) -> Shape:
    given: Shape = request.param
    return given


def make_place(folder: Path, script: str, grid: str) -> Place:
    project = folder / "project"
    project.mkdir()
    (project / "train.py").write_text(script)
    path = project / "mine.yaml"
    path.write_text(f"program: train.py\nwandb: {{mode: disabled}}\n{grid}\n")
    return Place(path, folder / "runs", (("CUDA_VISIBLE_DEVICES", ""),))


def results_of(place: Place) -> Iterator[tuple[RunFolder, RunResult]]:
    for path in sorted(place.folder.path.glob("*/result.json")):
        run = RunFolder(path.parent)
        result = read_result(run)
        assert result is not None
        yield run, result


def test_its_settings_are_found_its_grid_runs_and_its_table_has_the_numbers(
    shape: Shape, tmp_path: Path
) -> None:
    place = make_place(tmp_path, shape.script, shape.grid)

    runs = list(load_grid(place.file).runs())
    ended = place.submit(*LOCAL)

    assert ended.code == 0, ended.out + ended.err
    started = next(line for line in ended.out.splitlines() if "a process of its own" in line)
    assert set(shape.command.split()) <= set(started.split())
    values = runs[0].settings.values()
    assert {name: values.get(name) for name in shape.settings} == shape.settings
    results = list(results_of(place))
    assert len(results) == len(runs)
    for run, result in results:
        assert result.provenance["logged_by"] == shape.logged_by
        assert shape.metrics <= result.metrics.keys()
        if shape.epochs:
            assert tuple(row["epoch"] for row in read_metrics(run.metrics)) == shape.epochs
    rows = [row for row in place.table() if row["row"] == "configuration"]
    assert len(rows) == len({run.config_id for run in runs})


def test_files_that_a_program_writes_beside_itself_go_to_its_run(tmp_path: Path) -> None:
    place = make_place(tmp_path, scripts.VAE, "fixed: {epochs: 1}\nworkdir: run")

    place.submit(*LOCAL)

    ((run, _),) = results_of(place)
    assert (run.files / "results" / "reconstruction_1.png").exists()
    assert not (place.file.parent / "results").exists()


@pytest.mark.parametrize("name", ["MNIST", "HOGWILD", "VAE", "CLASSIFICATION"])
def test_results_in_sentences_are_no_numbers_and_that_is_said(tmp_path: Path, name: str) -> None:
    place = make_place(tmp_path, getattr(scripts, name), "fixed: {epochs: 1}")

    ended = place.submit(*LOCAL)

    assert ended.code == 0, ended.err
    ((run, result),) = results_of(place)
    assert result.metrics == {}
    assert "note: it logged no metric, so that tables have nothing of it" in run.log.read_text()


def test_a_metric_that_is_only_in_a_sentence_is_missing(tmp_path: Path) -> None:
    place = make_place(tmp_path, scripts.HOGWILD, "fixed: {epochs: 1}\nmetrics: {select: test_acc}")

    ended = place.submit(*LOCAL)

    assert ended.code == 1
    ((_, result),) = results_of(place)
    assert result.error is not None
    assert result.error.message.startswith(
        "the program ended well but logged no test/acc; it logged: nothing"
    )
