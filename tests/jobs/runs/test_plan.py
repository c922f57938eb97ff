from __future__ import annotations

from pathlib import Path

import pytest

from anlp.core.spec import RunSpec
from anlp.records.folders import GridFolder
from anlp.records.results import RunState
from jobs.runs.batches import Redo
from jobs.runs.options import SubmitOptions
from jobs.runs.plan import count_strangers, make_plan, redo_of
from jobs.runs.status import RunStatus
from jobs.views.plan import plan_json, print_runs
from tests.support.grids import a_spec

FOLDER = GridFolder(Path("runs/study"))
SPECS = {state: a_spec(seed) for seed, state in enumerate(RunState)}


def status_of(spec: RunSpec, state: RunState, redo: Redo = "none") -> RunStatus:
    values = {**spec.settings.values(), "seed": spec.seed}
    return RunStatus(
        spec.run_id, values, state, FOLDER.run(spec.run_id), form=spec.to_json(), redo=redo
    )


HISTORY = {
    spec.run_id: status_of(spec, state)
    for state, spec in SPECS.items()
    if state is not RunState.NEW
}


@pytest.mark.parametrize(
    ("redo", "states"),
    [
        ("none", {"new", "interrupted"}),
        ("failed", {"new", "interrupted", "failed", "lost"}),
        ("all", {"new", "interrupted", "failed", "lost", "done", "diverged"}),
    ],
)
def test_what_is_taken_depends_on_the_state_and_never_on_active_runs(
    redo: Redo, states: set[str]
) -> None:
    plan = make_plan(list(SPECS.values()), HISTORY, redo)

    assert {plan.states[spec.run_id].value for spec in plan.chosen} == states


def test_a_lost_run_that_is_due_is_taken_unasked() -> None:
    lost, failed = SPECS[RunState.LOST], SPECS[RunState.FAILED]

    plan = make_plan([lost, failed], HISTORY, "none", {lost.run_id, "a run of another file"})

    assert [spec.run_id for spec in plan.chosen] == [lost.run_id] == list(plan.due)


def test_the_plan_counts_by_state_in_the_order_of_states() -> None:
    plan = make_plan([*SPECS.values(), a_spec(99)], HISTORY, "none")

    assert list(plan.counts().items()) == [
        (state, 2 if state is RunState.NEW else 1) for state in RunState
    ]


def test_finished_runs_among_the_chosen_are_those_that_are_replaced() -> None:
    assert make_plan(list(SPECS.values()), HISTORY, "all").replaced == 2
    assert make_plan(list(SPECS.values()), HISTORY, "failed").replaced == 0


def test_runs_that_the_file_does_not_name_are_counted_and_left() -> None:
    plan = make_plan([SPECS[RunState.DONE]], HISTORY, "all")

    assert count_strangers([SPECS[RunState.DONE]], HISTORY) == len(HISTORY) - 1
    assert [spec.run_id for spec in plan.chosen] == [SPECS[RunState.DONE].run_id]


@pytest.mark.parametrize(
    ("state", "before", "asked", "expected"),
    [
        (RunState.INTERRUPTED, "all", "none", "all"),
        (RunState.LOST, "all", "failed", "all"),
        (RunState.INTERRUPTED, "failed", "none", "failed"),
        (RunState.INTERRUPTED, "none", "failed", "failed"),
        (RunState.DONE, "all", "none", "none"),
        (RunState.FAILED, "all", "failed", "failed"),
    ],
)
def test_what_an_unfinished_submission_was_to_set_aside_is_still_set_aside(
    state: RunState, before: Redo, asked: Redo, expected: Redo
) -> None:
    assert redo_of(status_of(a_spec(), state, before), asked) == expected
    assert redo_of(None, asked) == asked


def test_the_list_of_runs_shows_what_varies_and_nothing_else(
    capsys: pytest.CaptureFixture[str],
) -> None:
    specs = [a_spec(0, lr=0.1), a_spec(0, lr=0.25)]

    print_runs(make_plan(specs, {specs[1].run_id: status_of(specs[1], RunState.DONE)}, "none"))

    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["run", "state", "lr"],
        [specs[0].run_id, "new", "0.1"],
        [specs[1].run_id, "done", "0.25"],
    ]


def test_the_form_for_machines_names_each_run_once() -> None:
    form = plan_json(
        FOLDER, make_plan(list(SPECS.values()), HISTORY, "none"), HISTORY, SubmitOptions()
    )

    assert form["submit"] == 2
    assert {run["run_id"]: run["submit"] for run in form["runs"]} == {
        spec.run_id: state in (RunState.NEW, RunState.INTERRUPTED) for state, spec in SPECS.items()
    }
