from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional

from anlp.core.errors import UserError
from anlp.data import DatasetCache
from anlp.data.points import make_points, read_points
from anlp.models.layers import BatchNorm
from anlp.models.mlp import Mlp
from anlp.tasks import make_spec

HEADER = "label,long,lat\n"


def rows(label: str, count: int) -> str:
    return "".join(f"{label},{k},{k * k}\n" for k in range(count))


@pytest.mark.parametrize(("name", "classes"), [("spirals", 3), ("moons", 2), ("regions", 12)])
def test_generated_points_are_the_same_for_every_run_and_every_class_is_trained_and_tested(
    name: str, classes: int
) -> None:
    first, again = (make_points(Path(), name, points=2000) for _ in range(2))

    assert torch.equal(first.train.inputs[0], again.train.inputs[0])
    assert (len(first.train), len(first.test), first.classes) == (1600, 400, classes)
    assert all(len(set(part.targets[0].tolist())) == classes for part in (first.train, first.test))


def test_a_file_of_the_users_own_is_read_by_its_columns(tmp_path: Path) -> None:
    (tmp_path / "map.csv").write_text(HEADER + rows("north", 10) + rows("south", 5))

    data = read_points(tmp_path, "map.csv")

    assert data.names == ("north", "south")
    assert len(data.train) + len(data.test) == 15
    assert data.train.inputs[0].shape[1] == 2


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "neither a known data set .* nor a file or folder"),
        ("long,lat\n1,2\n", r"map.csv:1: no column 'label'; expected a header with long,lat,label"),
        (HEADER + "a,1,x\n", r"map.csv:2: lat: expected a number, got 'x'"),
        (HEADER + "a,1,nan\n", r"map.csv:2: lat: expected a number, got 'nan'"),
        (HEADER + "a,1\n", r"map.csv:2: lat: expected a number, got ''"),
        (HEADER + ",1,2\n", r"map.csv:2: label: expected the name of a class"),
        (HEADER, "map.csv: no points"),
        ("1,2,x\n", r"map.csv:1: no column 'long'; .*, got '1,2,x'"),
        ("long;lat;label\n1;2;x\n", r"map.csv:1: no column 'long'; .*, got 'long;lat;label'"),
        ("long,lat,label,label\n", r"map.csv:1: 2 columns 'label'"),
        (HEADER + "a,1,2,3\n", r"map.csv:2: more values than columns"),
        (HEADER + "a,1,1e300\n", r"map.csv:2: lat: expected a number, got '1e300'"),
        (HEADER + 'a,1,"2\n', r"map.csv: not a readable CSV file"),
        (HEADER + rows("a", 9), "map.csv: expected at least two classes, found 'a' only"),
        (HEADER + rows("a", 9) + rows("b", 4), "class 'b' has fewer than 5 points"),
    ],
)
def test_faults_of_a_file_name_the_place(
    tmp_path: Path, content: str | None, sentence: str
) -> None:
    if content is not None:
        (tmp_path / "map.csv").write_text(content)

    with pytest.raises(UserError, match=sentence):
        read_points(tmp_path, "map.csv")


def test_of_each_class_of_a_file_every_fifth_point_is_tested(tmp_path: Path) -> None:
    (tmp_path / "map.csv").write_text(
        HEADER + "".join(rows(str(label), 10) for label in range(12)) + rows("x", 5)
    )

    data = read_points(tmp_path, "map.csv")

    assert data.names == ("x", *map(str, range(12)))
    assert data.test.targets[0].bincount().tolist() == [1] + [2] * 12
    assert data.train.targets[0].bincount().tolist() == [4] + [8] * 12


def test_a_header_may_have_blanks_and_capitals(tmp_path: Path) -> None:
    (tmp_path / "map.csv").write_text("Label, Long, Lat\n" + rows("a", 5) + rows("b", 5))

    assert read_points(tmp_path, "map.csv").names == ("a", "b")


def test_a_value_that_all_points_share_does_not_make_others_huge(tmp_path: Path) -> None:
    (tmp_path / "map.csv").write_text(HEADER + "".join(f"{'ab'[k % 2]},{k},7\n" for k in range(20)))

    assert torch.as_tensor(read_points(tmp_path, "map.csv").std)[1] == 1


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("residual", [False, True])
def test_perceptron_gives_logits_and_a_gradient_to_every_parameter(
    batch_norm: bool, residual: bool
) -> None:
    torch.manual_seed(0)
    model = Mlp(2, 3, depth=3, width=8, batch_norm=batch_norm, residual=residual, dropout=0.1)

    logits = model(torch.randn(16, 2))
    torch.autograd.backward(functional.cross_entropy(logits, torch.arange(16) % 3))

    assert logits.shape == (16, 3)
    assert all(
        p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters() if p.dim() > 1
    )
    assert list(model.layers()) == ["000", "001", "002", "003"]


@pytest.mark.slow
def test_residual_connections_keep_the_gradient_of_a_deep_net_alive() -> None:
    def first_gradient(residual: bool) -> float:
        torch.manual_seed(0)
        model = Mlp(2, 3, depth=100, width=4, residual=residual)
        torch.autograd.backward(model(torch.randn(64, 2)).square().mean())
        weights = next(model.parameters())
        return 0.0 if weights.grad is None else float(weights.grad.norm())

    assert first_gradient(residual=False) < 1e-12
    assert first_gradient(residual=True) > 1e-3


def test_a_deep_net_with_residual_connections_begins_with_logits_of_ordinary_size() -> None:
    torch.manual_seed(0)

    logits = Mlp(2, 12, depth=100, width=4, residual=True)(torch.randn(256, 2))

    assert 0.01 < logits.std() < 30


def test_a_last_batch_of_one_sample_does_not_stop_batch_norm() -> None:
    layer = BatchNorm(4).train()
    before = layer(torch.randn(8, 4)).shape

    assert layer(torch.randn(1, 4)).isfinite().all()
    assert before == (8, 4)


def test_batch_norm_of_single_samples_is_refused() -> None:
    with pytest.raises(ValidationError, match="batch_norm: true needs batch_size > 1"):
        make_spec("points", {"batch_norm": True, "batch_size": 1}, 0)


def test_the_map_of_decisions_covers_the_data(tmp_path: Path) -> None:
    from anlp.builders.points import build

    settings = make_spec("points", {"points": 200}, 0).settings
    workload = build(settings, 0, DatasetCache(tmp_path), torch.device("cpu"))  # type: ignore[arg-type] # of this task

    assert workload.probe is not None
    places, data = workload.probe[0], workload.train.samples.inputs[0]
    assert (places.amin(0) < data.amin(0)).all()
    assert (places.amax(0) > data.amax(0)).all()
