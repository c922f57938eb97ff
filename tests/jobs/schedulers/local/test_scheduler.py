from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from anlp.core.errors import SchedulerError
from anlp.core.lease import Process
from anlp.core.signals import describe_signal
from jobs.config.resources import Resources
from jobs.schedulers.base import Batch, Cause, JobHandle, JobState, Phase
from jobs.schedulers.local.events import (
    ElementEnded,
    ElementRequeued,
    ElementStarted,
    Event,
    Notice,
    Summary,
)
from jobs.schedulers.local.scheduler import LocalScheduler
from jobs.schedulers.local.slots import Machine, plan_slots
from jobs.schedulers.local.worker_pool import PoolOptions, render_argv, render_environment
from tests.support import scripted_elements
from tests.support.paths import ROOT
from tests.support.schedulers.conformance import SchedulerConformance
from tests.support.submits import wait_until

pytestmark = pytest.mark.slow

PATIENCE_S = 120.0
TINY = PoolOptions(
    runner="tests.support.scripted_elements:run", prepare=None, modules=(), grace_s=1.0
)


@pytest.fixture(autouse=True)
def _pools_find_the_elements(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def make_batch(folder: Path, *behaviours: str, max_parallel: int | None = None) -> Batch:
    return Batch(
        "tag",
        "grid",
        scripted_elements.write_batch(folder, *behaviours),
        len(behaviours),
        max_parallel,
    )


class Recorder:
    """Collects events and, on request, acts on one."""

    def __init__(self, act: Callable[[Event], None] = lambda _: None) -> None:
        self.events: list[Any] = []
        self._act = act

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        self._act(event)

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


class LocalBench:
    """The local scheduler with two slots and the tiny runner."""

    def __init__(self, folder: Path) -> None:
        self.scheduler = LocalScheduler(slots=2, pool=TINY)
        self._folder = folder

    def batch(self, *behaviours: str) -> Batch:
        return make_batch(self._folder, *behaviours)

    def settle(
        self, jobs: Sequence[JobHandle], meanwhile: Callable[[], None] = lambda: None
    ) -> Mapping[JobHandle, JobState]:
        self.scheduler.follow(lambda _: meanwhile())
        return self.scheduler.states(jobs)

    def output(self, batch: Batch, index: int) -> str:
        return scripted_elements.log_of(batch.path, index).read_text()

    def effect(self, resources: Resources) -> str:
        machine = Machine(cores=4, mem_mib=4000, gpus=("GPU-a", "GPU-b"))
        plan = plan_slots(resources, machine, most=10)
        scheduler = LocalScheduler(pool=TINY)
        scheduler.submit(self.batch("ok"), resources)
        limits = scheduler._work.request(0) if scheduler._work else None
        scheduler.close()
        return f"{render_argv(plan, TINY)} {plan.notes} {limits}"


class TestLocalConformance(SchedulerConformance):
    @pytest.fixture
    def bench(self, tmp_path: Path) -> Iterator[LocalBench]:
        bench = LocalBench(tmp_path)
        yield bench
        bench.scheduler.close()


def follow(
    folder: Path, *behaviours: str, act: Callable[[Event], None] = lambda _: None, **options: Any
) -> tuple[Summary, Recorder]:
    scheduler, recorder = LocalScheduler(slots=2, pool=TINY), Recorder(act)
    scheduler.submit(make_batch(folder, *behaviours), options.pop("resources", Resources()))
    return scheduler.follow(recorder, **options), recorder


def test_every_element_is_started_and_ended_once_and_told_so(tmp_path: Path) -> None:
    summary, recorder = follow(tmp_path, *["ok"] * 30)

    assert sorted(event.index for event in recorder.of(ElementStarted)) == list(range(30))
    assert sorted(event.index for event in recorder.of(ElementEnded)) == list(range(30))
    assert set(summary.ended) == set(range(30))
    assert (summary.not_run, summary.stopped_by) == ((), None)


def test_a_pool_that_had_nothing_to_say_leaves_no_log(tmp_path: Path) -> None:
    follow(tmp_path, "ok")

    assert not (tmp_path / "batch.log").exists()


def test_killing_a_child_ends_its_element_and_no_other(tmp_path: Path) -> None:
    def kill_first(event: Event) -> None:
        if isinstance(event, ElementStarted) and event.index == 0:
            os.kill(event.pid, signal.SIGKILL)

    summary, recorder = follow(tmp_path, "sleep 30", "ok", "ok", act=kill_first)

    assert summary.ended[0].state.cause is Cause.SIGNAL
    assert summary.ended[0].state.detail.startswith("signal 9 (SIGKILL: not sent by the job itself")
    assert [summary.ended[index].state.cause for index in (1, 2)] == [None, None]
    assert len(recorder.of(ElementStarted)) == 3


def test_a_pool_that_is_killed_is_replaced_and_its_elements_continue(tmp_path: Path) -> None:
    def hear(event: Event) -> None:
        if isinstance(event, ElementStarted) and event.index == 0:
            (tmp_path / "mark.heard").touch()

    summary, recorder = follow(
        tmp_path, f"kill_pool_once {tmp_path / 'mark'}", "sleep 0.2", "ok", "ok", act=hear
    )

    assert [summary.ended[index].state for index in range(4)] == [JobState(Phase.ENDED)] * 4
    assert 0 in {event.index for event in recorder.of(ElementRequeued)}
    assert [event.text for event in recorder.of(Notice)] == [
        f"the runs' process died ({describe_signal(9)}); a new one continues"
    ]


def test_children_of_a_killed_pool_are_gone_before_a_new_one_starts_them_again(
    tmp_path: Path,
) -> None:
    impatient = PoolOptions("tests.support.scripted_elements:run", None, (), grace_s=0.2)
    alive: list[bool] = []
    children: list[Process] = []

    def watch(event: Event) -> None:
        if isinstance(event, ElementStarted):
            children.append(Process.of(event.pid))
        if len(children) == 2:
            (tmp_path / "mark.heard").touch()
        if isinstance(event, ElementRequeued):
            alive.extend(child.is_alive() for child in children)

    scheduler = LocalScheduler(slots=2, pool=impatient)
    scheduler.submit(
        make_batch(tmp_path, "stubborn 1", f"kill_pool_once {tmp_path / 'mark'}"), Resources()
    )
    scheduler.follow(watch)

    assert alive
    assert not any(alive)


def test_a_pool_that_dies_again_and_again_is_given_up_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(
        SchedulerError,
        match=r"died 5 times in a row without ending a run \(signal 9 .*fewer --slots",
    ):
        follow(tmp_path, "kill_pool")


def test_a_pool_that_cannot_start_is_not_tried_again(tmp_path: Path) -> None:
    scheduler = LocalScheduler(
        slots=1, pool=PoolOptions(runner="no_such_module:run", prepare=None, modules=())
    )
    scheduler.submit(make_batch(tmp_path, "ok"), Resources())
    recorder = Recorder()

    with pytest.raises(
        SchedulerError, match=r"could not start .*no_such_module is not installed; pip install"
    ):
        scheduler.follow(recorder)
    assert recorder.of(Notice) == []


def test_a_batch_in_a_folder_that_is_gone_is_refused_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(SchedulerError, match=r"could not be started \(No such file or directory"):
        LocalScheduler(pool=TINY).submit(
            Batch("tag", "grid", tmp_path / "gone" / "1.jsonl", 1), Resources()
        )


def test_the_memory_limit_ends_only_who_exceeds_it(tmp_path: Path) -> None:
    summary, _ = follow(tmp_path, "eat 300", "ok", resources=Resources(mem_mib=100))

    assert summary.ended[0].state.cause is Cause.OUT_OF_MEMORY
    assert summary.ended[0].state.detail.endswith("of 100 MiB")
    assert summary.ended[1].state.cause is None


def wait_until_ready(folder: Path, *indices: int) -> None:
    """Returns once these elements hear signals."""
    ready = [scripted_elements.ready_of(folder / "batch.jsonl", index) for index in indices]
    wait_until(lambda: all(path.exists() for path in ready), lambda: f"not ready: {ready}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_lets_the_running_checkpoint_and_starts_no_more(
    tmp_path: Path, number: signal.Signals
) -> None:
    def interrupt(event: Event) -> None:
        if isinstance(event, ElementStarted) and event.index == 1:
            wait_until_ready(tmp_path, 0, 1)
            os.kill(os.getpid(), number)

    summary, recorder = follow(tmp_path, *["sleep 30"] * 5, act=interrupt)

    assert [(ended.exit_code, ended.state.cause) for ended in summary.ended.values()] == [
        (3, Cause.CANCELLED)
    ] * 2
    assert (summary.not_run, summary.stopped_by) == ((2, 3, 4), number)
    assert len(recorder.of(Notice)) == 1
    assert recorder.of(Notice)[0].text.startswith(
        "stopping: 2 runs may save a checkpoint and leave"
    )


def test_a_second_ctrl_c_kills(tmp_path: Path) -> None:
    def interrupt(event: Event) -> None:
        if isinstance(event, ElementStarted | Notice):
            wait_until_ready(tmp_path, 0)
            os.kill(os.getpid(), signal.SIGINT)

    began = time.monotonic()
    scheduler = LocalScheduler(
        slots=1, pool=PoolOptions("tests.support.scripted_elements:run", None, (), grace_s=300)
    )
    scheduler.submit(make_batch(tmp_path, "stubborn 300"), Resources())
    summary = scheduler.follow(Recorder(interrupt))

    assert time.monotonic() - began < PATIENCE_S
    assert (summary.ended[0].exit_code, summary.ended[0].state.cause) == (None, Cause.CANCELLED)


def test_signals_work_as_before_after_following(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)

    follow(tmp_path, "ok")

    assert signal.getsignal(signal.SIGINT) is before


def test_following_in_another_thread_works_without_signal_handlers(tmp_path: Path) -> None:
    found: list[Summary] = []
    thread = threading.Thread(target=lambda: found.append(follow(tmp_path, "ok")[0]))
    thread.start()
    thread.join(PATIENCE_S)

    assert set(found[0].ended) == {0}


def test_what_waits_behind_an_element_that_was_held_back_is_not_even_started(
    tmp_path: Path,
) -> None:
    summary, recorder = follow(tmp_path, *["exit 5"] * 60)

    held_back = JobState(
        Phase.ENDED, Cause.SKIPPED, "too many runs before it failed in the same way"
    )
    assert {ended.state for ended in summary.ended.values()} == {held_back}
    assert set(summary.ended) == set(range(60))
    assert len(recorder.of(ElementStarted)) < 60


def test_what_the_journal_cancels_is_stopped_whether_it_runs_or_waits(tmp_path: Path) -> None:
    summary, recorder = follow(
        tmp_path, "sleep 30", "ok", *["ok"] * 40, "ok", cancelled=lambda: {0, 42}
    )

    assert summary.ended[0].state.cause is Cause.CANCELLED
    assert summary.ended[42].state == JobState(
        Phase.ENDED, Cause.CANCELLED, "cancelled before it started"
    )
    assert [index for index, ended in sorted(summary.ended.items()) if ended.state.cause] == [0, 42]
    assert 42 not in {event.index for event in recorder.of(ElementStarted)}


def test_states_tells_what_runs_from_what_waits(tmp_path: Path) -> None:
    scheduler = LocalScheduler(slots=1, pool=TINY)
    handles = scheduler.submit(make_batch(tmp_path, "sleep 0.1", "ok"), Resources())
    seen: list[list[Phase]] = []

    def look(event: Event) -> None:
        if isinstance(event, ElementStarted) and event.index == 0:
            seen.append([scheduler.states(handles)[handle].phase for handle in handles])

    scheduler.follow(look)

    assert seen == [[Phase.RUNNING, Phase.QUEUED]]
    assert [scheduler.states(handles)[handle].phase for handle in handles] == [Phase.ENDED] * 2


def test_jobs_of_a_dead_launcher_have_ended_and_those_of_a_living_one_have_not() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    job = JobHandle("local", Process.of(process.pid).to_id(), 0)

    alive = LocalScheduler().states([job])[job]
    process.communicate(b"\n")
    dead = LocalScheduler().states([job])[job]

    assert alive == JobState(Phase.QUEUED)
    assert (dead.phase, dead.cause) == (Phase.ENDED, Cause.LAUNCHER)


def test_a_launcher_on_another_host_counts_as_alive() -> None:
    job = JobHandle("local", Process("elsewhere", "boot", 1, 1).to_id(), 0)

    assert LocalScheduler().states([job])[job] == JobState(Phase.QUEUED)


LAUNCHER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.jobs.schedulers.local.test_scheduler import TINY, make_batch
from jobs.config.resources import Resources
from jobs.schedulers.local.events import ElementStarted
from jobs.schedulers.local.scheduler import LocalScheduler
scheduler = LocalScheduler(slots=2, pool=TINY)
scheduler.submit(make_batch(Path(sys.argv[2]), "sleep 60", "stubborn 60"), Resources())
def tell(event):
    if isinstance(event, ElementStarted):
        print(event.pid, flush=True)
scheduler.follow(tell)
"""


def test_when_the_launcher_is_killed_everything_it_started_leaves(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", LAUNCHER, str(ROOT), str(tmp_path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as launcher:
        assert launcher.stdout is not None
        children = [Process.of(int(launcher.stdout.readline())) for _ in range(2)]
        assert all(child.is_alive() for child in children)
        launcher.kill()

    deadline = time.monotonic() + PATIENCE_S
    while any(child.is_alive() for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_scheduler_takes_one_submission(tmp_path: Path) -> None:
    scheduler = LocalScheduler(slots=1, pool=TINY)
    scheduler.submit(make_batch(tmp_path, "ok"), Resources())

    with pytest.raises(SchedulerError, match="already runs"):
        scheduler.submit(make_batch(tmp_path, "ok"), Resources())
    scheduler.close()


def test_following_nothing_says_so() -> None:
    with pytest.raises(SchedulerError, match="nothing was submitted"):
        LocalScheduler().follow(Recorder())


def test_no_more_slots_than_elements_or_than_the_batch_allows(tmp_path: Path) -> None:
    scheduler = LocalScheduler(slots=8, pool=TINY)
    scheduler.submit(make_batch(tmp_path, *["ok"] * 5, max_parallel=3), Resources())
    scheduler.close()

    assert scheduler.slots == 3


def test_the_pool_is_single_threaded_and_inherits_the_rest() -> None:
    environment = render_environment({"ANLP_DATA": "/data", "OMP_NUM_THREADS": "8"})

    assert (environment["ANLP_DATA"], environment["OMP_NUM_THREADS"]) == ("/data", "1")
    assert environment["MKL_NUM_THREADS"] == environment["OPENBLAS_NUM_THREADS"] == "1"
    assert environment["PYTORCH_NVML_BASED_CUDA_CHECK"] == "1"


def test_the_pool_is_started_by_arguments_and_not_by_a_shell() -> None:
    plan = plan_slots(Resources(), Machine(cores=4, mem_mib=1000), most=10)

    assert render_argv(plan, PoolOptions()) == [
        *(
            sys.executable,
            "-m",
            "anlp.runtime.pool",
            "--slots",
            "4",
            "--grace-s",
            "20",
            "--runner",
            "anlp.run:run_element",
        ),
        *("--prepare", "anlp.runtime.preload:prepare", "--import", "torch", "--devices", ""),
    ]


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (11, "signal 11 (SIGSEGV: a crash in native code)"),
        (
            9,
            "signal 9 (SIGKILL: not sent by the job itself: "
            "the kernel does this when memory runs out)",
        ),
        (15, "signal 15 (SIGTERM)"),
        (50, "signal 50"),
    ],
)
def test_a_signal_is_described_in_words(number: int, text: str) -> None:
    assert describe_signal(number) == text
