"""What a program gets back from `jobs.submit_grid` and `jobs.grid_status`; runs end at once."""

from __future__ import annotations

from pathlib import Path

import pytest

import jobs
from anlp.core.errors import SpecError, UserError
from anlp.records.results import RunState
from tests.support.quick_runner import use_quick_runner

GRID = "task: mnist\nfixed: {data: digits}\ngrid: {lr: [0.1, 0.2, 0.3]}\nwandb: {mode: disabled}\n"


@pytest.fixture
def grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    use_quick_runner(monkeypatch, tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    Path("grids").mkdir()
    path = Path("grids/lr.yaml")
    path.write_text(GRID)
    return path


def test_a_dry_run_plans_and_writes_nothing(grid: Path) -> None:
    plan = jobs.submit_grid(grid, only="lr>0.1", dry_run=True)

    assert (plan.grid, len(plan.planned), plan.submitted, plan.exit_code) == ("lr", 2, 0, 0)
    assert not plan.folder.exists()


@pytest.mark.slow
def test_what_is_missing_is_submitted_and_its_states_are_read(grid: Path) -> None:
    first = jobs.submit_grid("lr", only="lr=0.1")
    rest = jobs.submit_grid("lr")
    nothing = jobs.submit_grid("lr")

    assert (first.submitted, rest.submitted, nothing.planned) == (1, 2, ())
    assert first.folder.name == "lr"
    found = jobs.grid_status("lr")
    assert {run.state for run in found} == {RunState.DONE}
    assert [run.run_id for run in found] == [*first.planned, *rest.planned]
    assert [run.values["lr"] for run in jobs.grid_status(grid, only="lr>=0.2")] == [0.2, 0.3]


@pytest.mark.slow
def test_failed_runs_are_taken_where_that_is_asked(
    grid: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUICK_FAIL", "0.2")
    assert jobs.submit_grid(grid).exit_code == 1
    monkeypatch.delenv("QUICK_FAIL")

    assert jobs.submit_grid(grid).planned == ()
    again = jobs.submit_grid(grid, redo="failed")

    assert (len(again.planned), again.submitted, again.exit_code) == (1, 1, 0)


@pytest.mark.slow
def test_results_are_replaced_without_a_question(grid: Path) -> None:
    jobs.submit_grid(grid)

    assert jobs.submit_grid(grid, redo="all", overrides=jobs.Overrides(quiet=True)).submitted == 3


@pytest.mark.slow
def test_a_submitted_grid_is_found_by_its_name_or_folder_when_its_file_is_gone(grid: Path) -> None:
    done = jobs.submit_grid(grid, only="lr=0.1")
    grid.unlink()

    assert jobs.submit_grid("lr", dry_run=True).planned == (
        jobs.submit_grid(done.folder, dry_run=True).planned
    )
    assert jobs.submit_grid("lr").folder == done.folder
    assert len(jobs.grid_status("lr")) == 3


@pytest.mark.slow
def test_several_kept_files_are_not_guessed_at(grid: Path) -> None:
    jobs.submit_grid(grid, only="lr=0.1")
    grid.write_text(GRID.replace("0.3]", "0.4]"))
    jobs.submit_grid(grid, only="lr=0.2")
    grid.unlink()

    with pytest.raises(UserError, match=r"holds several grid files \(grid-[0-9a-f]{8}.yaml, grid"):
        jobs.submit_grid("lr")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere", "nowhere: no such grid file, and no grid of this name in grids/ or "),
        ("nowhere.yaml", "nowhere.yaml: "),
    ],
)
def test_an_unknown_grid_is_one_sentence(grid: Path, name: str, said: str) -> None:
    with pytest.raises(UserError) as raised:
        jobs.submit_grid(name)

    assert str(raised.value).startswith(said)
    assert "\n" not in str(raised.value)


def test_faults_raise_what_the_command_would_print(grid: Path) -> None:
    with pytest.raises(SpecError, match="did you mean 'lr'"):
        jobs.submit_grid(grid, settings=["learning_rate=1"])
    with pytest.raises(UserError, match="scheduler: is part of overrides"):
        jobs.submit_grid(grid, scheduler="local", overrides=jobs.Overrides(on="local"))
