from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from anlp.core import lease
from anlp.core.errors import UserError
from anlp.records.folders import GridFolder
from jobs.config.resources import Resources
from jobs.runs.journal import LOCK_PATIENCE_S, ExitRecord, Journal
from jobs.schedulers.base import Batch, Cause, Job, JobHandle
from tests.support.grids import a_spec, hold_lock_elsewhere, journal_lines, submission, submit


@pytest.fixture
def folder(tmp_path: Path) -> GridFolder:
    return GridFolder(tmp_path / "demo")


def test_a_journal_that_does_not_exist_knows_no_submission(folder: GridFolder) -> None:
    assert Journal(folder).submissions() == {}


def test_the_intent_is_readable_before_there_is_an_answer(folder: GridFolder) -> None:
    folder.batches.mkdir(parents=True)
    batch = Batch("tag", "demo", folder.batches / "1.jsonl", 3)

    Journal(folder).intend(batch, "slurm", "failed", Resources(gpus=1, mem_mib=2048))

    found = submission(folder, "tag")
    assert (found.scheduler, found.batch, found.size, found.redo) == (
        "slurm",
        "batches/1.jsonl",
        3,
        "failed",
    )
    assert found.resources == Resources(gpus=1, mem_mib=2048)
    assert found.by == lease.Process.this()
    assert (found.jobs, found.is_answered) == ([], False)


def test_without_an_answer_the_submitting_process_stands_for_the_job(folder: GridFolder) -> None:
    tag = submit(folder, [a_spec()], answered=False)

    assert (
        lease.Process.from_id(submission(folder, tag).handle(0).native_id) == lease.Process.this()
    )


def test_an_answer_of_several_jobs_gives_each_element_its_own_handle(folder: GridFolder) -> None:
    tag = submit(folder, [a_spec(seed=seed) for seed in range(5)], answered=False)
    handles = [
        JobHandle("local", "7", 0),
        JobHandle("local", "7", 1),
        *(JobHandle("local", "8", i) for i in range(2)),
    ]

    Journal(folder).accepted(tag, Job("7", 0, 2))
    Journal(folder).accepted(tag, Job("8", 2, 2))

    found = submission(folder, tag)
    assert [found.handle(index) for index in range(4)] == handles
    assert [found.took(index) for index in range(5)] == [True] * 5  # the answer may still come
    Journal(folder).answered(tag)
    assert [submission(folder, tag).took(index) for index in range(5)] == [*[True] * 4, False]


def test_a_refusal_leaves_what_was_accepted_before_it(folder: GridFolder) -> None:
    tag = submit(folder, [a_spec(seed=seed) for seed in range(3)], answered=False)

    Journal(folder).accepted(tag, Job("7", 0, 2))
    Journal(folder).refused(tag, "no room")

    assert [submission(folder, tag).took(index) for index in range(3)] == [True, True, False]


def test_refusals_and_endings_are_kept_with_their_submission(folder: GridFolder) -> None:
    first, second = submit(folder, [a_spec()]), submit(folder, [a_spec()])
    journal = Journal(folder)

    journal.refused(first, "queue is full")
    journal.ended(second, 0, ExitRecord(Cause.OUT_OF_MEMORY, "used 2.1 of 2.0 GiB"))

    assert submission(folder, first).refused == "queue is full"
    assert submission(folder, first).endings == {}
    assert submission(folder, second).refused is None
    assert submission(folder, second).endings == {
        0: ExitRecord(Cause.OUT_OF_MEMORY, "used 2.1 of 2.0 GiB")
    }


def test_submissions_come_in_the_order_of_their_intents(folder: GridFolder) -> None:
    tags = [submit(folder, [a_spec()]) for _ in range(3)]

    assert list(Journal(folder).submissions()) == tags


def test_cancelled_elements_add_up_by_submission(folder: GridFolder) -> None:
    journal = Journal(folder)
    journal.cancel({"a": [0, 2], "b": [1]})
    journal.cancel({"a": [5]})

    assert journal.cancelled("a") == {0, 2, 5}
    assert journal.cancelled("b") == {1}
    assert journal.cancelled("c") == set()


def test_a_torn_last_line_is_not_believed(folder: GridFolder) -> None:
    tag = submit(folder, [a_spec()])
    with folder.journal.open("a") as file:
        file.write(
            json.dumps({"time": 0, "event": "refused", "tag": tag, "why": "never said"})
        )  # no line break

    assert submission(folder, tag).refused is None


def test_the_line_after_a_torn_one_starts_afresh(folder: GridFolder) -> None:
    first = submit(folder, [a_spec()])
    with folder.journal.open("a") as file:
        file.write('{"time": 0, "event": "ref')

    second = submit(folder, [a_spec()])

    assert list(Journal(folder).submissions()) == [first, second]
    assert submission(folder, second).is_answered


def test_lines_about_an_unknown_submission_are_left_aside(folder: GridFolder) -> None:
    Journal(folder).ended("nobody", 0, ExitRecord(Cause.SIGNAL))

    assert Journal(folder).submissions() == {}


def test_writers_at_the_same_time_lose_no_line(folder: GridFolder) -> None:
    journal = Journal(folder)

    def write(n: int) -> None:
        for index in range(20):
            journal.cancel({f"t{n}": [index]})

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(journal_lines(folder)) == 80
    assert all(journal.cancelled(f"t{n}") == set(range(20)) for n in range(4))


def test_a_process_survives_being_written_as_a_job_id() -> None:
    process = lease.Process("node-7.cluster", "b00t", 12, 345)

    assert lease.Process.from_id(process.to_id()) == process


@pytest.mark.parametrize("text", ["", "12", "1:2@host", "a:b:c@host", "12345[7]"])
def test_other_job_ids_are_no_process(text: str) -> None:
    with pytest.raises(ValueError):
        lease.Process.from_id(text)


def test_the_lock_keeps_another_process_out_until_it_is_released(folder: GridFolder) -> None:
    holder = hold_lock_elsewhere(folder)
    try:
        with (
            pytest.raises(lease.HeldError, match=f"process {holder.pid}"),
            Journal(folder).locked(patience_s=0.2),
        ):
            pytest.fail("the lock was given twice")
    finally:
        holder.kill()
        holder.communicate()


def test_the_lock_of_a_killed_holder_is_free(folder: GridFolder) -> None:
    holder = hold_lock_elsewhere(folder)
    os.kill(holder.pid, signal.SIGKILL)
    holder.communicate()

    with Journal(folder).locked(patience_s=0.5):
        assert lease.read(lease.latest(folder.lock) or Path())["pid"] == os.getpid()


def test_a_patient_caller_gets_the_lock_after_its_holder(folder: GridFolder) -> None:
    inside, order = threading.Event(), []

    def first() -> None:
        with Journal(folder).locked():
            inside.set()
            order.append("first in")
            threading.Event().wait(0.2)
            order.append("first out")

    thread = threading.Thread(target=first)
    thread.start()
    inside.wait()
    with Journal(folder).locked(patience_s=10):
        order.append("second in")
    thread.join()

    assert order == ["first in", "first out", "second in"]


def test_the_lock_is_released_by_an_exception(folder: GridFolder) -> None:
    with pytest.raises(RuntimeError), Journal(folder).locked():
        raise RuntimeError

    with Journal(folder).locked(patience_s=0):
        pass


def test_old_claims_of_the_lock_are_swept_up(folder: GridFolder) -> None:
    for _ in range(5):
        with Journal(folder).locked():
            pass
        for path in folder.lock.glob("*.json"):
            os.utime(path, (0, 0))

    with Journal(folder).locked():
        assert [path.name for path in folder.lock.glob("*.json")] == ["000006.json"]


# ---- what commands learn that only look


def test_what_was_learned_is_apart_from_what_is_recorded(folder: GridFolder) -> None:
    tag = submit(folder, [a_spec(seed=seed) for seed in range(3)])
    journal = Journal(folder)
    recorded = ExitRecord(Cause.NODE, "node failed", "node7")
    journal.ended(tag, 0, recorded)

    learned = ExitRecord(Cause.OUT_OF_MEMORY, "used 2.1 of 2.0 GiB", "node8")
    journal.learn({tag: {1: ExitRecord(Cause.EXIT)}, "of-no-submission": {0: learned}})
    journal.learn({tag: {1: learned}})

    found = journal.submissions()[tag]
    assert (found.endings, found.learned) == ({0: recorded}, {1: learned})


def test_a_damaged_line_of_what_was_learned_is_left_out(folder: GridFolder) -> None:
    tag = submit(folder, [a_spec(seed=seed) for seed in range(2)])
    journal = Journal(folder)
    folder.endings.write_text(
        f'{{"tag": "{tag}", "index": 0, "cause": "NO_SUCH", "detail": ""}}\n'
        f'{{"tag": "{tag}", "index": "x"}}\n{{"tag": "{tag}", "ind'
    )

    journal.learn({tag: {1: ExitRecord(Cause.NODE)}})

    assert journal.submissions()[tag].learned == {1: ExitRecord(Cause.NODE)}


def test_a_folder_that_cannot_be_written_learns_nothing_and_nothing_fails(
    folder: GridFolder,
) -> None:
    tag = submit(folder, [a_spec()])
    folder.endings.mkdir()

    Journal(folder).learn({tag: {0: ExitRecord(Cause.NODE)}})

    assert Journal(folder).submissions()[tag].learned == {}


def test_a_command_that_was_stopped_in_its_terminal_is_named_at_once(tmp_path: Path) -> None:
    folder = GridFolder(tmp_path / "demo")
    line = (
        "import sys, time; from pathlib import Path; from anlp.core import lease; "
        "lease.acquire(Path(sys.argv[1])); print(flush=True); time.sleep(600)"
    )
    argv = [sys.executable, "-c", line, str(folder.lock)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        holder.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, holder.pid, os.WSTOPPED)
        began = time.monotonic()
        try:
            with (
                pytest.raises(UserError, match=f"it is stopped: .*kill -CONT {holder.pid}"),
                Journal(folder).held(),
            ):
                raise AssertionError("two hold the grid")
            assert time.monotonic() - began < LOCK_PATIENCE_S / 2
        finally:
            holder.kill()
