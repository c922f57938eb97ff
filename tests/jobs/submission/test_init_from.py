from __future__ import annotations

from pathlib import Path

import pytest

from anlp.core.errors import UserError
from anlp.core.spec import RunSpec
from anlp.records.folders import GridFolder
from anlp.tasks import make_spec
from jobs.submission.variants import resolve_init_from
from tests.support.grids import finish, submit


def emotion(init_from: str) -> RunSpec:
    return make_spec("fma_emotion", {"data": "made", "init_from": init_from}, 0)


@pytest.fixture
def genres(tmp_path: Path) -> list[RunSpec]:
    """A grid `genres` with two finished runs, of which the second is the better one, and their
    weights.
    """
    specs = [make_spec("fma_genre", {"data": "made", "lr": lr}, 0) for lr in (0.1, 0.01)]
    folder = GridFolder(tmp_path / "genres")
    tag = submit(folder, specs)
    for spec, score in zip(specs, (0.4, 0.6), strict=True):
        finish(folder, spec, tag, **{"val/f1": score})
        folder.run(spec.run_id).weights.touch()
    return specs


def test_a_grid_stands_for_its_best_run(tmp_path: Path, genres: list[RunSpec]) -> None:
    (found,) = resolve_init_from([emotion("genres")], tmp_path)

    assert found.settings.values()["init_from"] == genres[1].run_id


def test_a_filter_narrows_the_grid(tmp_path: Path, genres: list[RunSpec]) -> None:
    (found,) = resolve_init_from([emotion("genres: lr=0.1")], tmp_path)

    assert found == emotion(genres[0].run_id)


def test_runs_without_an_origin_stay_as_they_are(tmp_path: Path) -> None:
    specs = [emotion(""), make_spec("mnist", {}, 0)]

    assert resolve_init_from(specs, tmp_path) == specs


@pytest.mark.parametrize(
    ("origin", "sentence"),
    [
        ("nothing", r"expected a run's id, GRID or GRID: FILTER, got 'nothing'; no grid 'nothing'"),
        ("genres: lr=5", "no finished run fits 'genres: lr=5'"),
        ("0123456789ab", "no weights of run 0123456789ab"),
    ],
)
def test_an_origin_that_is_not_there_is_a_sentence(
    tmp_path: Path, genres: list[RunSpec], origin: str, sentence: str
) -> None:
    assert genres
    with pytest.raises(UserError, match=sentence):
        resolve_init_from([emotion(origin)], tmp_path)


def test_a_plan_may_name_what_is_not_trained_yet(tmp_path: Path) -> None:
    specs = [emotion("later")]

    assert resolve_init_from(specs, tmp_path, is_dry=True) == specs
