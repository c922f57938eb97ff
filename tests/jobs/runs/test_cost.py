from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from analysis.data.load import load
from analysis.reporting.findings import find_out
from anlp.records.accounting import AttemptUsage
from anlp.records.cost import Cost, RunUsage, Share, add_up, read_shares, share_of
from anlp.records.files import write_json
from anlp.records.folders import GridFolder
from anlp.records.results import Outcome
from jobs.config.resources import Resources
from jobs.runs import cost
from jobs.runs.status import read_states
from jobs.schedulers.base import Cause
from jobs.views.status import render_cost
from tests.support.grids import a_spec, lose, start, submission, submit, write_result

HOUR = 3600.0
ONE_GPU = Resources(gpus=1, cpus=4, mem_mib=8192)


@pytest.fixture
def folder(tmp_path: Path) -> GridFolder:
    return GridFolder(tmp_path / "demo")


def ended(
    hours: float, ending: str = "done", *, since: float = 1000.0, cpu_s: float | None = None
) -> AttemptUsage:
    return AttemptUsage(since, since + hours * HOUR, ending, "a", cpu_s)


def total(attempts: Mapping[str, list[AttemptUsage]], share: Share) -> Cost:
    return add_up([RunUsage(done, "a") for done in attempts.values()], {"a": share})


def read(folder: GridFolder) -> Cost | None:
    return cost.read(folder, read_states(folder, lambda jobs: {}).values())


def test_hours_are_those_that_were_set_apart() -> None:
    found = total({"1": [ended(2)], "2": [ended(0.5)]}, share_of(asdict(ONE_GPU)))

    assert (found.runs, found.gpu_hours, found.cpu_hours) == (2, 2.5, 10.0)


def test_efficiency_is_processor_time_by_all_cores_where_it_is_known() -> None:
    found = total({"1": [ended(1, cpu_s=2 * HOUR), ended(1)]}, share_of(asdict(ONE_GPU)))

    assert found.cpu_efficiency == pytest.approx(0.5)
    assert total({"1": [ended(1)]}, share_of(asdict(ONE_GPU))).cpu_efficiency is None


def test_packed_runs_share_what_their_job_asked_for() -> None:
    job = Resources(gpus=1, cpus=8, mem_mib=16_384)

    assert share_of(asdict(job), at_once=4) == Share(0.25, 2.0, 4096.0)


def test_lost_attempts_are_counted_with_their_hours() -> None:
    attempts = [ended(1, "killed"), ended(2, "failed"), ended(3, "interrupted"), ended(4)]

    found = total({"1": attempts}, share_of(asdict(ONE_GPU)))

    assert (found.lost_attempts, found.lost_gpu_hours, found.lost_cpu_hours) == (2, 3.0, 12.0)
    assert found.gpu_hours == 10


def test_waits_are_from_each_submission_to_its_first_attempt() -> None:
    attempts = {
        str(wait): [ended(1, since=1000 + wait), ended(1, since=9000)] for wait in range(1, 41)
    }

    found = total(attempts, share_of(asdict(ONE_GPU), submitted=1000.0))

    assert (found.wait_median_s, found.wait_p95_s) == (20.5, 38)


def test_memory_is_that_of_the_run_nearest_to_its_limit() -> None:
    runs = [RunUsage([ended(1)], "a", 3000.0), RunUsage([ended(1)], "b", 900.0)]
    shares = {"a": Share(0, 1, 8192.0), "b": Share(0, 1, 1000.0)}

    found = add_up(runs, shares)

    assert (found.peak_mib, found.asked_mib) == (900.0, 1000.0)


def test_a_retried_run_counts_with_what_each_submission_asked_for(folder: GridFolder) -> None:
    spec = a_spec()
    first = submit(folder, [spec], slurm_job="1", resources=Resources(cpus=1))
    second = submit(folder, [spec], slurm_job="2", resources=Resources(cpus=4))
    spent = [
        AttemptUsage(100, 100 + HOUR, "killed", first).to_json(),
        AttemptUsage(9000, 9000 + HOUR, "done", second).to_json(),
    ]
    write_result(folder, spec, second, Outcome.OK, provenance={"batch": second, "spent": spent})

    found = read(folder)

    assert found is not None
    assert (found.cpu_hours, found.lost_cpu_hours, found.lost_attempts) == (5.0, 1.0, 1)


def test_a_pack_is_known_by_its_batch_file(folder: GridFolder) -> None:
    specs = [a_spec(seed) for seed in range(4)]
    tag = submit(folder, specs, slurm_job="1", per_element=4, at_once=2, resources=ONE_GPU)

    assert read_shares(folder)[tag] == Share(0.5, 2.0, 4096.0, submission(folder, tag).time)


def test_a_lost_run_counts_by_its_claims(folder: GridFolder) -> None:
    spec = a_spec()
    tag = submit(folder, [spec], resources=Resources(cpus=2))
    held = start(folder, spec)
    held._stop.set()  # killed: its end is not recorded
    held.path.write_text(held.path.read_text().replace(f'"pid": {os.getpid()}', '"pid": 1'))
    os.utime(held.path, (held.record["since"] + HOUR, held.record["since"] + HOUR))
    lose(folder, tag, 0, Cause.SIGNAL, "signal 9")

    found = read(folder)

    assert found is not None
    assert (found.runs, found.lost_attempts) == (1, 1)
    assert found.cpu_hours == pytest.approx(2.0)


def test_status_and_report_print_equal_figures(folder: GridFolder) -> None:
    specs = [a_spec(seed) for seed in range(4)]
    tag = submit(folder, specs, slurm_job="1", per_element=4, at_once=2, resources=ONE_GPU)
    spent = [
        AttemptUsage(100, 100 + HOUR, "killed", tag).to_json(),
        AttemptUsage(9000, 9000 + HOUR, "done", tag, 1800.0).to_json(),
    ]
    measured = {"batch": tag, "spent": spent, "peak_rss_mib": 500.0, "gpu_peak_mib": 90.0}
    of_specs = [(specs[0], measured), (specs[1], {"batch": tag})]
    for spec, provenance in of_specs:
        write_result(folder, spec, tag, Outcome.OK, provenance=provenance)
        write_json(folder.run(spec.run_id).spec, {"spec": spec.to_json(), "options": {}})
    killed = start(folder, specs[2])
    write_json(folder.run(specs[2].run_id).spec, {"spec": specs[2].to_json(), "options": {}})
    killed._stop.set()
    killed.path.write_text(killed.path.read_text().replace(f'"pid": {os.getpid()}', '"pid": 1'))
    os.utime(killed.path, (killed.record["since"] + HOUR, killed.record["since"] + HOUR))
    lose(folder, tag, 0, Cause.NODE)

    findings = find_out(load(folder.path), str(folder.path))
    reported = add_up([usage for usage in findings.usages if usage.attempts], findings.shares)

    assert reported == read(folder)
    assert (reported.runs, reported.lost_attempts, reported.repeated) == (3, 2, 1)
    assert reported.gpu_hours == pytest.approx((3 * HOUR + 20) / HOUR / 2)


def test_results_of_earlier_versions_count_by_their_seconds(folder: GridFolder) -> None:
    spec = a_spec()
    write_result(folder, spec, submit(folder, [spec]), Outcome.OK)

    found = read(folder)

    assert found is not None
    assert found.cpu_hours == pytest.approx(20 / HOUR)
    assert found.wait_median_s is None


def test_runs_that_never_began_or_have_not_ended_cost_nothing_yet(folder: GridFolder) -> None:
    specs = [a_spec(seed) for seed in range(2)]
    tag = submit(folder, specs)
    lose(folder, tag, 0, Cause.CANCELLED)

    assert read(folder) is None


def a_cost(**figures: Any) -> Cost:
    return replace(add_up([RunUsage([])], {}), **figures)


def test_the_screen_has_a_row_for_each_known_figure() -> None:
    found = a_cost(
        runs=5,
        gpu_hours=3.25,
        cpu_hours=13.0,
        cpu_efficiency=0.41,
        peak_mib=1229.0,
        asked_mib=8192.0,
        gpu_peak_mib=300.0,
        wait_median_s=12.0,
        wait_p95_s=185.0,
        lost_attempts=2,
        lost_gpu_hours=0.4,
        lost_cpu_hours=1.6,
    )

    assert render_cost(found) == [
        ("time", "3.2 GPU-hours, 13 CPU-hours"),
        ("CPU", "41% of what was asked for was used"),
        ("memory", "1.2 GiB of 8 GiB asked for, at most"),
        ("GPU memory", "300 MiB at most"),
        ("queue", "half of the runs began within 12 s, 95 % within 3 min 5 s"),
        ("lost", "2 attempts killed or failed: 0.4 GPU-hours, 1.6 CPU-hours"),
    ]
    assert render_cost(a_cost(cpu_hours=0.001, peak_mib=80.0)) == [
        ("time", "under 0.01 CPU-hours"),
        ("memory", "80 MiB at most"),
    ]
