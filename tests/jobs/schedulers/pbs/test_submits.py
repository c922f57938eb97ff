"""Submits to the pretended PBS by the commands that people type: killed, racing, refused,
counted.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from anlp.console.command import run_command
from anlp.core import lease
from anlp.records.elements import Element
from anlp.records.files import read_jsonl, write_jsonl
from anlp.records.folders import GridFolder
from anlp.records.options import RunOptions
from anlp.records.results import RunState
from jobs import cancel, explain, logs, retry, status
from jobs.config.resources import Resources
from jobs.runs.journal import Journal
from jobs.runs.status import read_states
from jobs.schedulers import backoff, registry
from jobs.schedulers.base import Batch, Cause, Job, JobHandle, JobState, Phase, parse_job_name
from jobs.schedulers.pbs import scheduler as pbs_scheduler
from jobs.schedulers.pbs.scheduler import PbsScheduler
from tests.support.grids import a_spec
from tests.support.killed_submits import run_until
from tests.support.quick_runner import call_submit
from tests.support.schedulers.pbs import fake_pbs
from tests.support.submits import wait_until

pytestmark = pytest.mark.slow

GRID = """\
task: mnist
fixed: {data: digits, hidden: 16, epochs: 2}
grid: {lr: [0.1, 0.03, 0.01, 0.003, 0.001]}
resources: {time: 30m}
wandb: {mode: disabled}
"""
HOST = fake_pbs.HOST


@dataclass(frozen=True, slots=True)
class Place:
    """A grid file, the root of its runs, and the pretended PBS that is on PATH."""

    file: Path
    root: Path
    site: Path

    @property
    def folder(self) -> GridFolder:
        return GridFolder(self.root / self.file.stem)

    def submit(self, *words: str) -> int:
        return call_submit(self.file, "--on", "pbs", *words)

    def jobs(self) -> dict[str, tuple[str, int, int]]:
        """What the server took: tag, first element and size by id."""
        found = {}
        for job in fake_pbs.Site(self.site, fake_pbs.CONFIG).jobs():
            named = parse_job_name(job["name"])
            assert named is not None
            found[job["id"]] = (*named, len(job["indices"]) or 1)
        return found

    def runs_by_job(self) -> Counter[str]:
        """How many jobs there are for each run."""
        batches = {
            form["tag"]: form["batch"]
            for form in read_jsonl(self.folder.journal)
            if form["event"] == "intent"
        }
        found: Counter[str] = Counter()
        for tag, first, size in self.jobs().values():
            lines = list(read_jsonl(self.folder.path / batches[tag]))[first : first + size]
            found.update(form["run_id"] for line in lines for form in line["specs"])
        return found

    def journaled(self) -> set[str]:
        return {
            job.native_id
            for found in Journal(self.folder).submissions().values()
            for job in found.jobs
        }

    def calls(self) -> Counter[str]:
        return Counter(call[0] for call in fake_pbs.calls(self.site) if call[1:] != ["--version"])


@pytest.fixture
def make_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Place]]:
    sites = []

    def make(name: str = "one", text: str = GRID, **config: object) -> Place:
        site = tmp_path / name / "site"
        commands = fake_pbs.install(site, **{"max_array_size": 2, "held": True, **config})
        sites.append(site)
        monkeypatch.setenv("PATH", f"{commands}:/usr/bin:/bin")
        monkeypatch.delenv("ANLP_ON", raising=False)  # `auto` finds it
        monkeypatch.setenv("ANLP_RUNS", str(tmp_path / name / "runs"))
        file = tmp_path / name / "study.yaml"
        file.write_text(text)
        return Place(file, tmp_path / name / "runs", site)

    monkeypatch.setattr(backoff, "PATIENCE_S", 0.0)
    yield make
    for site in sites:
        fake_pbs.close(site)


def check_that_nothing_is_lost_or_doubled(place: Place) -> None:
    """Every run is in exactly one job, and every job in the journal."""
    assert place.submit() == 0
    assert set(place.runs_by_job().values()) == {1}
    assert len(place.runs_by_job()) == 5
    assert place.journaled() == set(place.jobs())
    before = place.calls()["qsub"]
    assert place.submit() == 0  # there is nothing left to submit
    assert place.calls()["qsub"] == before


# ---- killed


@pytest.mark.slow
def test_a_submit_that_is_killed_at_any_of_its_steps_loses_and_doubles_nothing(
    make_place: Callable[..., Place],
) -> None:
    whole = make_place("whole")
    code, steps = run_until(None, whole.submit, whole.root)
    assert (code, len(whole.jobs())) == (0, 3)
    print(f"{steps} steps")
    assert steps > 25  # locks, files, journal lines and commands

    for step in range(steps):
        place = make_place(f"step{step}")
        assert run_until(step, place.submit, place.root)[0] is None, step
        wait_for_quiet(place)

        check_that_nothing_is_lost_or_doubled(place)
        fake_pbs.close(place.site)


def wait_for_quiet(place: Place) -> None:
    """Returns when a command that was under way as its caller died has said what it had to say."""

    def is_quiet() -> bool:
        listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
        return f"command.py qsub {place.site}" not in listed

    wait_until(is_quiet, lambda: "qsub goes on for ever")


@pytest.mark.parametrize("dialect", ["pro", "torque"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_submit_that_dies_with_its_qsub_under_way_is_completed_by_the_next(
    make_place: Callable[..., Place], dialect: str, moment: str
) -> None:
    place = make_place(kill_caller=moment, dialect=dialect)
    assert run_until(None, place.submit, place.root)[0] is None
    wait_for_quiet(place)
    assert len(place.jobs()) == (moment == "after")
    assert place.journaled() == set()
    fake_pbs.configure(place.site, kill_caller=None)

    check_that_nothing_is_lost_or_doubled(place)


@pytest.mark.parametrize("text", [fake_pbs.CUT, "Socket timed out on send/recv operation", ""])
def test_a_job_that_was_taken_without_an_answer_is_adopted(
    make_place: Callable[..., Place], text: str
) -> None:
    place = make_place(lose_answer=text or "\n")
    assert place.submit() == 2
    assert len(place.jobs()) == 1
    fake_pbs.configure(place.site, lose_answer=None)

    check_that_nothing_is_lost_or_doubled(place)


@pytest.mark.slow
def test_of_two_submits_at_once_each_run_is_taken_by_one(make_place: Callable[..., Place]) -> None:
    place = make_place()
    command = [sys.executable, "-m", "jobs.submit", str(place.file), "--on", "pbs"]

    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=120) for process in both]

    assert [process.returncode for process in both] == [0, 0], said
    check_that_nothing_is_lost_or_doubled(place)


# ---- a server that is away


def test_a_server_that_comes_back_within_a_minute_is_waited_for(
    make_place: Callable[..., Place],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(backoff, "PATIENCE_S", 20.0)
    monkeypatch.setattr(backoff, "FIRST_PAUSE_S", 0.2)
    place = make_place(down_calls=2)

    assert place.submit() == 0

    assert set(place.runs_by_job().values()) == {1}
    assert (
        f"cannot connect to server {HOST} (errno=15010); trying again in 0 s"
        in capsys.readouterr().err
    )


def test_what_a_server_took_before_it_was_killed_is_kept_and_the_rest_follows(
    make_place: Callable[..., Place],
) -> None:
    place = make_place(down_after_qsubs=2)
    assert place.submit() == 2
    assert len(place.jobs()) == 2
    fake_pbs.configure(place.site, down=False, down_after_qsubs=None)

    check_that_nothing_is_lost_or_doubled(place)


def test_a_job_that_was_taken_by_a_server_that_seemed_to_be_away_is_not_given_twice(
    make_place: Callable[..., Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backoff, "PATIENCE_S", 20.0)
    monkeypatch.setattr(backoff, "FIRST_PAUSE_S", 0.2)
    place = make_place(lose_answer=fake_pbs.NEVER_THERE)

    assert place.submit() == 0

    assert len(place.jobs()) == place.calls()["qsub"] == 3
    assert set(place.runs_by_job().values()) == {1}


def test_while_the_server_is_down_nothing_changes_its_state(
    make_place: Callable[..., Place],
) -> None:
    place = make_place()
    place.submit()
    fake_pbs.configure(place.site, down=True)

    run_command(lambda: status.main(["study", "--fresh"]))

    fake_pbs.configure(place.site, down=False)
    states = read_states(place.folder, registry.states)
    assert {found.state for found in states.values()} == {RunState.QUEUED}


def test_runs_that_can_never_start_are_shown_with_the_servers_reason(
    make_place: Callable[..., Place], capsys: pytest.CaptureFixture[str]
) -> None:
    place = make_place()
    place.submit("--gpus", "8")
    capsys.readouterr()

    run_command(lambda: status.main(["study"]))

    reason = "Can Never Run: Insufficient amount of resource: ngpus (R: 8 A: 4 T: 4)"
    shown = " ".join(capsys.readouterr().out.split())
    assert f"5 queued: {reason}" in shown
    assert "jobs.cancel study --only state=queued take back what can never run" in shown


def test_why_a_run_waits_is_explained_in_the_servers_words(
    make_place: Callable[..., Place], capsys: pytest.CaptureFixture[str]
) -> None:
    place = make_place()
    place.submit("--gpus", "8")
    capsys.readouterr()
    run_id = a_run_of(place)

    run_command(lambda: explain.main(["study", run_id]))

    shown = " ".join(capsys.readouterr().out.split())
    assert (
        "queued, Can Never Run: Insufficient amount of resource: ngpus (R: 8 A: 4 T: 4) No node "
        "has what it asks for" in shown
    )
    assert f"jobs.cancel study --only id={run_id}" in shown
    assert "of its submission" not in shown


def test_runs_that_can_never_start_are_said_so_by_the_submit(
    make_place: Callable[..., Place], capsys: pytest.CaptureFixture[str]
) -> None:
    place = make_place()

    assert place.submit("--gpus", "8") == 0

    shown = " ".join(capsys.readouterr().out.split())
    assert "note: Can Never Run: Insufficient amount of resource: ngpus (R: 8 A: 4 T: 4)" in shown
    assert "jobs.cancel study), and ask for less" in shown


def test_a_submit_does_not_fail_because_its_last_question_has_no_answer(
    make_place: Callable[..., Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = make_place(max_array_size=100)
    accepted = PbsScheduler.look_at_accepted

    def look(self: PbsScheduler, batch: Batch, handles: list[JobHandle]) -> list[str]:
        fake_pbs.configure(place.site, down=True)
        return accepted(self, batch, handles)

    monkeypatch.setattr(PbsScheduler, "look_at_accepted", look)

    assert place.submit() == 0


def test_what_is_about_to_happen_to_running_jobs_is_shown(
    make_place: Callable[..., Place],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    place = make_place(max_array_size=100)
    place.submit()
    capsys.readouterr()
    said = JobState(Phase.RUNNING, None, "being deleted by user@pbs-m1")
    monkeypatch.setattr(PbsScheduler, "states", lambda _, jobs: dict.fromkeys(jobs, said))

    run_command(lambda: status.main(["study", "--fresh"]))
    shown = capsys.readouterr().out
    run_command(lambda: explain.main(["study", a_run_of(place)]))

    assert "5 running: being deleted by user@pbs-m1" in shown
    assert "running, being deleted by user@pbs-m1" in capsys.readouterr().out


@pytest.mark.parametrize("dialect", ["pro", "torque"])
def test_why_a_script_could_not_begin_is_shown_with_the_run(
    make_place: Callable[..., Place],
    tmp_path: Path,
    dialect: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    profile = tmp_path / "site.yaml"
    profile.write_text("modules: [no/such]\ndefaults: {time: 30m}\n")
    place = make_place(held=False, dialect=dialect)
    place.submit("--profile", str(profile))
    ids = list(place.jobs())
    wait_until(lambda: _are_over(place, ids), lambda: "they run for ever")
    capsys.readouterr()

    for run_id in list(place.runs_by_job())[1::3]:  # of an array, and alone
        run_command(lambda run_id=run_id: explain.main(["study", run_id, "--fresh"]))  # type: ignore[misc]
        explained = capsys.readouterr().out
        run_command(lambda run_id=run_id: logs.main(["study", run_id]))  # type: ignore[misc]
        logged = capsys.readouterr().out

        assert "module load failed: no/such" in explained
        assert "module load failed: no/such" in logged
        assert f"(its job printed, in {place.folder.batches}/1.out/" in logged


# ---- what a site fills in


def test_what_the_profile_asked_for_is_known_to_a_retry(
    make_place: Callable[..., Place],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    place = make_place(text=GRID.replace("resources: {time: 30m}\n", ""), max_array_size=100)
    place.submit()
    capsys.readouterr()
    ends = [
        (Cause.OUT_OF_MEMORY, "exceeded resource mem"),
        (Cause.TIMEOUT, "exceeded resource walltime"),
    ]
    found = {index: JobState(Phase.ENDED, *ends[index % 2]) for index in range(5)}
    monkeypatch.setattr(
        PbsScheduler, "states", lambda _, jobs: {job: found[job.index] for job in jobs}
    )

    run_command(lambda: retry.main(["study", "-n"]))

    shown = capsys.readouterr().out
    assert "again with 6 GiB of memory" in shown
    assert "again with 6 h of time" in shown


def test_a_retry_asks_for_the_memory_that_was_used_and_more(
    make_place: Callable[..., Place], capsys: pytest.CaptureFixture[str]
) -> None:
    place = make_place(held=False, max_array_size=100, memory_kill=["462680kb", "150mb"])
    place.submit("--mem", "150M")
    ids = list(place.jobs())
    wait_until(lambda: _are_over(place, ids), lambda: "they run for ever")
    capsys.readouterr()

    run_command(lambda: retry.main(["study", "-n"]))

    shown = capsys.readouterr().out
    assert "out of memory: exceeded resource mem: used 462680kb of 150mb" in shown
    assert "again with 565 MiB of memory" in shown
    assert "it had 150 MiB and used 452 MiB" in shown


def test_a_retry_goes_to_the_site_of_the_submission(
    make_place: Callable[..., Place], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its profile it would go without the account, the modules and the secrets, and all at
    once.
    """
    (tmp_path / "site.yaml").write_text(
        "defaults: {time: 30m, mem: 1G, account: physics}\nmodules: [cuda/12]\n"
    )
    place = make_place(max_array_size=100)
    monkeypatch.chdir(tmp_path)
    assert call_submit(place.file, "--profile", "site.yaml", "--max-parallel", "2") == 0
    monkeypatch.chdir("/")
    monkeypatch.setattr(
        PbsScheduler,
        "states",
        lambda _, jobs: dict.fromkeys(jobs, JobState(Phase.ENDED, Cause.NODE, "lost")),
    )

    assert run_command(lambda: retry.main(["study"])) == 0

    script = (place.folder.batches / "2.0.pbs.sh").read_text()
    assert "#PBS -A physics\n" in script
    assert "#PBS -J 0-4%2\n" in script
    assert "module load cuda/12" in script


def test_runs_that_share_a_job_have_the_sites_memory_and_time_each(
    make_place: Callable[..., Place],
) -> None:
    place = make_place(text=GRID.replace("resources: {time: 30m}\n", ""), max_array_size=100)

    place.submit("--pack", "2", "--chain", "2")

    script = next(place.folder.batches.glob("*.sh")).read_text()
    assert "#PBS -l select=1:ncpus=2:mem=8192mb\n#PBS -l walltime=08:00:00\n" in script


# ---- canaries


ALL_KINDS = pytest.mark.parametrize(
    ("dialect", "history"), [("pro", True), ("pro", False), ("torque", True)]
)


def held_back(place: Place) -> list[str | None]:
    """What ended those that waited for the canary, by a fresh look at the server."""
    states = list(read_states(place.folder, registry.states).values())[1:]
    assert {found.state for found in states} == {RunState.INTERRUPTED}
    assert {found.cause for found in states} == {Cause.SKIPPED}
    return [found.detail for found in states]


@ALL_KINDS
def test_what_waited_for_a_canary_that_did_not_pass_was_held_back(
    make_place: Callable[..., Place], tmp_path: Path, dialect: str, history: bool
) -> None:
    profile = tmp_path / "site.yaml"
    profile.write_text("modules: [no/such]\ndefaults: {time: 30m}\n")
    place = make_place(held=False, dialect=dialect, history=history)
    assert place.submit("--canary", "--profile", str(profile)) == 0
    canary, *rest = place.jobs()
    assert "[" not in canary
    assert [
        call[1:3] for call in fake_pbs.calls(place.site) if call[0] == "qsub" and "-W" in call
    ] == ([["-W", f"depend=afterok:{canary}"]] * 2)
    assert len(rest) == 2
    wait_until(lambda: _are_over(place, rest), lambda: "they wait for ever")

    first = held_back(place)

    assert set(first) == {"its canary did not pass"}
    assert held_back(place) == first  # the first question changed what the server says of arrays


@ALL_KINDS
def test_what_waits_for_a_canary_deleted_before_it_began_is_held_back(
    make_place: Callable[..., Place], dialect: str, history: bool
) -> None:
    """PBS Pro keeps it in the queue for ever."""
    place = make_place(dialect=dialect, history=history)
    assert place.submit("--canary") == 0
    canary, *rest = place.jobs()

    subprocess.run(["qdel", canary], check=True)
    wait_until(lambda: _are_over(place, [canary]), lambda: "it was not deleted")
    if dialect == "torque":
        wait_until(lambda: _are_over(place, rest), lambda: "they wait for ever")

    assert set(held_back(place)) == {"its canary did not pass"}
    assert _are_over(place, rest) == (dialect == "torque")


def test_a_submit_takes_what_waits_in_vain_off_the_queue_and_submits_it_again(
    make_place: Callable[..., Place],
) -> None:
    place = make_place()
    place.submit("--canary")
    canary, *rest = place.jobs()
    subprocess.run(["qdel", canary], check=True)
    wait_until(lambda: _are_over(place, [canary]), lambda: "it was not deleted")

    assert place.submit() == 0

    assert _are_over(place, rest)
    assert [call[1:] for call in fake_pbs.calls(place.site) if call[0] == "qdel"][1:] == [rest]
    assert len(place.jobs()) == 6  # 3 more
    states = read_states(place.folder, registry.states).values()
    assert {found.state for found in states} == {RunState.QUEUED}


def test_a_cancel_takes_what_waits_in_vain_off_the_queue(
    make_place: Callable[..., Place], capsys: pytest.CaptureFixture[str]
) -> None:
    place = make_place()
    place.submit("--canary")
    canary, *rest = place.jobs()
    subprocess.run(["qdel", canary], check=True)
    wait_until(lambda: _are_over(place, [canary]), lambda: "it was not deleted")
    capsys.readouterr()

    assert run_command(lambda: cancel.main(["study"])) == 0

    assert "study: asked 4 queued runs to stop" in capsys.readouterr().out
    assert _are_over(place, rest)


# ---- ends


@pytest.mark.parametrize("look", ["status", "explain", "submit"])
def test_a_cause_that_a_command_saw_is_known_when_the_history_is_purged(
    make_place: Callable[..., Place], capsys: pytest.CaptureFixture[str], look: str
) -> None:
    place = make_place(held=False, max_array_size=100, memory_kill=["462680kb", "150mb"])
    place.submit()
    ids = list(place.jobs())
    wait_until(lambda: _are_over(place, ids), lambda: "they run for ever")
    looks: dict[str, Callable[[], int]] = {
        "status": lambda: status.main(["study"]),
        "explain": lambda: explain.main(["study", a_run_of(place)]),
        "submit": place.submit,  # with nothing to submit: lost runs want a retry
    }
    journal = place.folder.journal.read_bytes()
    run_command(looks[look])
    fake_pbs.configure(place.site, history=False)
    capsys.readouterr()

    run_command(lambda: status.main(["study", "--fresh"]))

    assert "5x out of memory: exceeded resource mem: used 462680kb of" in capsys.readouterr().out
    assert place.folder.journal.read_bytes() == journal  # which only its holder writes


def test_the_end_that_the_server_reports_outweighs_a_heartbeat_on_another_host(
    make_place: Callable[..., Place], capsys: pytest.CaptureFixture[str]
) -> None:
    """A process that was killed on its node leaves one that is two minutes old at most."""
    place = make_place(held=False, max_array_size=100, memory_kill=["462680kb", "150mb"])
    place.submit()
    ids = list(place.jobs())
    wait_until(lambda: _are_over(place, ids), lambda: "they run for ever")
    status_before = next(iter(read_states(place.folder, registry.states).values()))
    assert status_before.handle is not None
    tag = next(iter(Journal(place.folder).submissions()))
    number = status_before.handle.native_id.split("[")[0]
    folder = status_before.folder

    for job, state in [
        (f"{number}[0].{HOST}", RunState.LOST),
        ("", RunState.RUNNING),  # by hand, on another host
        (f"1{number}.{HOST}", RunState.RUNNING),  # in a job that was submitted by hand
    ]:
        held = lease.acquire(folder.attempts, {"job": job, "batch": tag})
        held.path.write_text(json.dumps({**held.record, "host": "node7"}))
        found = read_states(place.folder, registry.states)[folder.path.name]
        assert found.state is state, job
        capsys.readouterr()
        run_command(lambda: explain.main(["study", folder.path.name]))
        assert ("running" in capsys.readouterr().out) is (state is RunState.RUNNING)
        held.release()

    with lease.acquire(folder.attempts, {"job": f"{number}[0].{HOST}", "batch": tag}):
        found = read_states(place.folder, registry.states)[folder.path.name]
        assert found.state is RunState.RUNNING  # a process of this host that is alive


def _are_over(place: Place, ids: list[str]) -> bool:
    site = fake_pbs.Site(place.site, fake_pbs.CONFIG)
    return all(site.is_over(job) for job in site.jobs() if job["id"] in ids)


def test_a_run_that_had_begun_is_not_called_held_back(tmp_path: Path) -> None:
    folder = GridFolder(tmp_path / "study")
    folder.batches.mkdir(parents=True)
    specs = (a_spec(0), a_spec(1))
    path = folder.batches / "1.jsonl"
    write_jsonl(path, [Element((spec,), RunOptions(batch="0" * 12)).to_json() for spec in specs])
    journal = Journal(folder)
    journal.intend(Batch("0" * 12, "study", path, 2, after=("1",)), "pbs", "none", Resources())
    journal.accepted("0" * 12, Job("2[].pbs", 0, 2))
    lease.acquire(folder.run(specs[0].run_id).attempts, {"batch": "0" * 12}).release(
        ending="interrupted"
    )

    states = read_states(
        folder, lambda jobs: {job: JobState(Phase.ENDED, Cause.UNKNOWN) for job in jobs}
    )

    assert [found.cause for found in states.values()] == [Cause.UNKNOWN, Cause.SKIPPED]


# ---- cancelled


def test_no_cancel_of_some_runs_ends_the_server(make_place: Callable[..., Place]) -> None:
    place = make_place()  # arrays of two, and a job
    place.submit()

    assert run_command(lambda: cancel.main(["study", "--only", "lr=0.1,0.01,0.001"])) == 0

    assert fake_pbs.crashes(place.site) == []
    states = read_states(place.folder, registry.states).values()
    assert sum(found.state is RunState.INTERRUPTED for found in states) == 3


def test_runs_whose_deletion_was_not_heard_are_not_said_to_be_stopped(
    make_place: Callable[..., Place],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(pbs_scheduler, "PAUSES_S", (0.0, 0.1))
    place = make_place(deaf=True)
    place.submit()
    capsys.readouterr()

    assert run_command(lambda: cancel.main(["study"])) == 1

    shown = capsys.readouterr().out
    assert "study: asked no runs to stop\n" in shown
    assert "5 queued runs more: pbs shows no sign that it heard; run this command again" in shown


def test_a_server_that_dies_of_a_cancel_is_not_said_to_have_heard(
    make_place: Callable[..., Place],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    place = make_place()
    place.submit()

    def list_all(self: PbsScheduler, jobs: list[JobHandle]) -> list[list[str]]:
        return [["qdel", f"3.{HOST}", f"1[0].{HOST}"]]

    monkeypatch.setattr(PbsScheduler, "cancel_calls", list_all)

    assert run_command(lambda: cancel.main(["study"])) == 2

    assert fake_pbs.crashes(place.site) == [["qdel", f"3.{HOST}", f"1[0].{HOST}"]]
    assert "Whether it stopped the jobs is not known" in capsys.readouterr().err


# ---- how often the server is asked

RUNS = 10_000
LIMIT = 1_001
MANY = f"""\
task: mnist
fixed: {{data: digits, hidden: 16, epochs: 2}}
grid: {{lr: {[round(0.0001 * number, 4) for number in range(1, 101)]}}}
seeds: 100
resources: {{time: 30m}}
wandb: {{mode: disabled}}
"""
# What each command may ask of a server about 10,000 runs; `qstat --version` asks no server.
BUDGETS: list[tuple[str, Callable[[Place], int], dict[str, int]]] = [
    ("submit", lambda place: place.submit(), {"qstat": 2, "qsub": 10}),
    ("submit again", lambda place: place.submit(), {"qstat": 1}),
    ("status", lambda place: run_command(lambda: status.main(["study"])), {"qstat": 1}),
    (
        "status --fresh",
        lambda place: run_command(lambda: status.main(["study", "--fresh"])),
        {"qstat": 1},
    ),
    (
        "explain",
        lambda place: run_command(lambda: explain.main(["study", a_run_of(place)])),
        {"qstat": 1},
    ),
    (
        "logs",
        lambda place: run_command(lambda: logs.main(["study", a_run_of(place)])),
        {"qstat": 1},
    ),
    ("retry", lambda place: run_command(lambda: retry.main(["study"])), {"qstat": 1}),
    (
        "cancel",
        lambda place: run_command(lambda: cancel.main(["study", "--yes"])),
        {"qstat": 3, "qdel": 1},
    ),
]


def a_run_of(place: Place) -> str:
    return next(iter(place.runs_by_job()))


@pytest.mark.slow
def test_no_command_asks_more_of_a_server_than_its_budget(make_place: Callable[..., Place]) -> None:
    place = make_place(text=MANY, max_array_size=LIMIT)
    spent: dict[str, dict[str, int]] = {}
    took: dict[str, float] = {}

    for name, command, _ in BUDGETS:
        before, began = place.calls(), time.monotonic()
        command(place)
        spent[name] = dict(place.calls() - before)
        took[name] = round(time.monotonic() - began, 1)

    print({name: (spent[name], took[name]) for name in spent})
    over = {
        name: spent[name] for name, _, budget in BUDGETS if Counter(spent[name]) - Counter(budget)
    }
    assert over == {}
    assert spent["submit"] == {"qstat": 2, "qsub": 10}
    assert spent["cancel"]["qdel"] == 1
    assert len(place.runs_by_job()) == RUNS
