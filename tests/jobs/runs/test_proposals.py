from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from anlp.core.units import render_memory_option, render_time_option
from anlp.records.folders import RunFolder
from anlp.records.results import Outcome, RunResult, RunState
from jobs.config.resources import Resources
from jobs.runs.estimates import SIZES_MIB, TIMES_MIN, Price, compare, price, propose, round_up
from jobs.runs.plan import make_plan
from jobs.runs.status import RunStatus
from jobs.schedulers.base import Cause
from jobs.views.plan import render_proposals
from tests.support.grids import a_spec


def done(
    seconds: float, peak_mib: float | None = None, epochs: int = 10, **settings: Any
) -> RunStatus:
    spec = a_spec(**settings)
    provenance = {} if peak_mib is None else {"peak_rss_mib": peak_mib}
    result = RunResult(
        spec.run_id, Outcome.OK, epochs=epochs, seconds=seconds, provenance=provenance
    )
    return RunStatus(spec.run_id, spec.settings.values(), RunState.DONE, RunFolder(Path()), result)


def lost(cause: Cause, resources: Resources, *, in_job: int = 1) -> RunStatus:
    spec = a_spec()
    return RunStatus(
        spec.run_id,
        spec.settings.values(),
        RunState.LOST,
        RunFolder(Path()),
        cause=cause,
        resources=resources,
        in_job=in_job,
    )


def test_a_proposal_is_the_95th_percentile_and_a_fifth_more_rounded_up() -> None:
    history = [done(600.0 + 60 * number, 1000.0 + 10 * number) for number in range(1, 21)]

    (found,) = propose([a_spec()], history)

    assert found.runs == 20
    assert found.need_min == pytest.approx((600 + 60 * 19) / 60 * 1.2)  # 34.8
    assert found.need_mib == pytest.approx(1190 * 1.2)
    assert (found.walltime_min, found.mem_mib) == (45, 1536)


def test_time_grows_with_epochs_and_memory_does_not() -> None:
    (found,) = propose([a_spec(epochs=10), a_spec(epochs=40)], [done(600.0, 1000.0)])

    assert found.need_min == pytest.approx(48)
    assert (found.walltime_min, found.mem_mib) == (60, 1536)


def test_each_model_has_its_own_proposal() -> None:
    history = [done(60.0, 300.0), done(6000.0, 3000.0, model="cnn")]
    specs = [a_spec(), a_spec(model="cnn"), a_spec(data="mnist")]

    found = propose(specs, history)

    assert [(one.model, one.walltime_min, one.mem_mib) for one in found] == [
        ("dense", 5, 512),
        ("cnn", 120, 4096),
    ]


def test_a_run_that_met_its_limit_needed_at_least_that() -> None:
    limits = Resources(walltime_min=100.0, mem_mib=4096)
    history = [done(60.0, 300.0), lost(Cause.TIMEOUT, limits), lost(Cause.OUT_OF_MEMORY, limits)]

    (found,) = propose([a_spec()], history)

    assert found.need_min == pytest.approx(120)
    assert found.need_mib == pytest.approx(4096 * 1.2)


def test_of_a_job_with_several_runs_it_is_unknown_which_met_the_limit() -> None:
    history = [done(60.0), lost(Cause.TIMEOUT, Resources(walltime_min=100.0), in_job=4)]

    assert propose([a_spec()], history)[0].walltime_min == 5


@pytest.mark.parametrize(
    "history", [[], [done(5.0, epochs=0)], [lost(Cause.OUT_OF_MEMORY, Resources(mem_mib=100))]]
)
def test_without_a_finished_run_there_is_no_proposal(history: list[RunStatus]) -> None:
    assert propose([a_spec()], history) == []


@pytest.mark.parametrize(
    ("asked", "notes"),
    [
        (Resources(), []),
        (Resources(walltime_min=15, mem_mib=1536), []),
        (Resources(walltime_min=16, mem_mib=4608), []),
        (
            Resources(walltime_min=240, mem_mib=8192),
            ["--time 4h is 16 times that", "--mem 8G is 5 times that"],
        ),
        (
            Resources(walltime_min=11, mem_mib=500),
            ["--time 11m is too little", "--mem 500M is too little"],
        ),
    ],
)
def test_what_is_asked_for_is_judged_when_far_above_or_below(
    asked: Resources, notes: list[str]
) -> None:
    (proposal,) = propose([a_spec()], [done(600.0, 1000.0)])

    assert (proposal.walltime_min, proposal.mem_mib) == (15, 1536)
    assert compare(proposal, asked) == notes


def test_the_plan_has_a_line_for_each_model() -> None:
    history = {status.run_id: status for status in (done(600.0, 1000.0), done(600.0, model="cnn"))}
    plan = make_plan([a_spec(1), a_spec(1, model="cnn")], history, "none")

    assert render_proposals(plan, history, Resources(walltime_min=240)) == [
        "dense: --time 15m --mem 1.5G would do (1 earlier run); --time 4h is 16 times that",
        "cnn: --time 15m would do (1 earlier run); --time 4h is 16 times that",
    ]


def test_a_plan_is_priced_in_hours_of_what_it_asks_for() -> None:
    specs = [a_spec(seed) for seed in range(6)]
    history = [done(600.0)]

    assert price(specs, history, Resources(gpus=2, cpus=4)) == Price(2.0, 4.0)
    assert price(specs, history, Resources(gpus=2, cpus=4), at_once=4) == Price(0.5, 4.0)
    assert price(specs, [], Resources()) is None


def test_amounts_beyond_the_steps_are_rounded_up_to_days_and_64_gib() -> None:
    assert round_up(10_081, TIMES_MIN, 1440) == 11_520
    assert round_up(300_000, SIZES_MIB, 65_536) == 327_680
    assert list(TIMES_MIN) == sorted(TIMES_MIN)
    assert list(SIZES_MIB) == sorted(SIZES_MIB)


@pytest.mark.parametrize(
    ("minutes", "text"),
    [(5, "5m"), (90, "1h30m"), (240, "4h"), (2880, "2d"), (0.75, "45s"), (1.5, "1m30s")],
)
def test_times_are_written_as_the_option_takes_them(minutes: float, text: str) -> None:
    assert render_time_option(minutes) == text


@pytest.mark.parametrize(
    ("mib", "text"), [(512, "512M"), (1536, "1.5G"), (16384, "16G"), (1500, "1500M")]
)
def test_sizes_are_written_as_the_option_takes_them(mib: float, text: str) -> None:
    assert render_memory_option(mib) == text
