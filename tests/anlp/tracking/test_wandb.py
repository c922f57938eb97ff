from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal

import pytest

from anlp.core import lease
from anlp.records.files import write_json
from anlp.records.folders import GridFolder, RunFolder
from anlp.records.options import RunOptions, WandbOptions
from anlp.records.results import Outcome, RunResult
from anlp.records.wandb_offline import project_url, runs_with_copies
from anlp.tasks import make_spec
from anlp.tracking import upload, wandb_service
from anlp.tracking.jsonl import JsonlTracker
from anlp.tracking.wandb import WandbMirror, open_mirror, preload
from anlp.tracking.wandb_service import Service, start_shared_service
from anlp.tracking.wandb_session import find_site, readable_name
from tests.support.submits import wait_until
from tests.support.wandb_offline import OfflineRun, read_offline
from tests.support.wandb_server import KEY, SILENT, Stub

SPECS = {
    spec.run_id: spec
    for spec in (make_spec("mnist", {"lr": 0.01, "model": "cnn"}, seed) for seed in range(100))
}
UNUSED = iter(SPECS)  # the tests share a service, which knows runs by their id


@pytest.fixture(scope="module", autouse=True)
def _patient_start() -> Iterator[None]:
    """The service's program has 60 MB: from a cold and busy disk it is not read within seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wandb_service, "START_TIMEOUT_S", 120.0)
        yield


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    preload()
    with start_shared_service() as service:
        assert service.pid is not None, "wandb's service does not start; stderr says why"
        yield service


@pytest.fixture
def folder(tmp_path: Path, service: Service, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    for name, value in service.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = RunFolder(tmp_path / next(UNUSED))
    folder.path.mkdir()
    return folder


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    server = Stub()
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    yield server
    server.close()


class Run:
    """A run's process as the mirror sees it: rows go to `metrics.jsonl` first."""

    def __init__(self, folder: RunFolder, budget_s: float, redo: Literal["none", "all"]) -> None:
        options = RunOptions(
            redo=redo, wandb=WandbOptions(mode="auto", group="digits", tags=("tag",))
        )
        self.lines = JsonlTracker(
            folder.metrics, [{"epoch": epoch, "loss": 1 / (1 + epoch)} for epoch in kept(folder)]
        )
        self.mirror: WandbMirror = open_mirror(
            SPECS[folder.run_id], options, folder, budget_s=budget_s
        )

    def log(self, *epochs: int) -> None:
        for epoch in epochs:
            self.lines.log({"loss": 1 / (1 + epoch)}, epoch)
            self.mirror.log({"loss": 1 / (1 + epoch)}, epoch)


def kept(folder: RunFolder) -> list[int]:
    try:
        return [json.loads(line)["epoch"] for line in folder.metrics.read_text().splitlines()]
    except FileNotFoundError:
        return []


def attempt(
    folder: RunFolder,
    body: Callable[[Run], None],
    budget_s: float = 120.0,
    redo: Literal["none", "all"] = "none",
) -> int:
    """Exit status of a forked child that carries out an attempt."""
    return in_child(lambda: body(Run(folder, budget_s, redo)), folder)


def in_child(body: Callable[[], None], folder: RunFolder) -> int:
    """Exit status of a forked child that runs `body`; 0 when it came to its end. What it says is in
    `folder.log`.
    """
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1]
    try:
        sys.stderr = folder.log.open("a")
        body()
        os._exit(0)
    except BaseException as error:
        print(repr(error), file=sys.stderr, flush=True)
    os._exit(1)


def has_offline_file(folder: RunFolder) -> bool:
    return any(folder.wandb.rglob("*.wandb"))


def train(
    epochs: int, outcome: str = "ok", start: int = 0, metrics: Mapping[str, float] | None = None
) -> Callable[[Run], None]:
    def body(run: Run) -> None:
        run.log(*range(start, epochs))
        run.mirror.finish(outcome, metrics or {})

    return body


def offline_runs(folder: RunFolder) -> list[OfflineRun]:
    return [read_offline(path) for path in sorted(folder.wandb.glob("offline-run-*/run-*.wandb"))]


def said(folder: RunFolder) -> str:
    return folder.log.read_text()


# offline


def test_without_a_key_the_run_is_complete_offline(folder: RunFolder) -> None:
    assert attempt(folder, train(11)) == 0

    (run,) = offline_runs(folder)
    spec = SPECS[folder.run_id]
    assert (run.run_id, run.group, run.job_type, run.tags) == (
        spec.run_id,
        "digits",
        "search",
        ["tag"],
    )
    assert run.name == f"lr=0.01 model=cnn seed={spec.seed}"
    assert {
        **spec.settings.values(),
        "task": "mnist",
        "seed": spec.seed,
        "config_id": spec.config_id,
    }.items() <= run.config.items()
    assert run.steps == list(range(11))
    assert [row["loss"] for row in run.history] == [1 / (1 + epoch) for epoch in range(11)]
    assert (run.summary["outcome"], run.exit_code) == ("ok", 0)
    assert said(folder) == ""


def test_disabled_leaves_nothing(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")

    assert attempt(folder, train(3)) == 0

    assert not folder.wandb.exists()


def test_the_final_metrics_are_in_the_summary(folder: RunFolder) -> None:
    attempt(folder, train(2, metrics={"test/acc": 0.97}))

    assert offline_runs(folder)[0].summary["test/acc"] == 0.97


@pytest.mark.parametrize(
    ("outcome", "code"), [("diverged", 0), ("failed", 1), ("interrupted", 143)]
)
def test_the_exit_code_tells_how_the_run_ended(folder: RunFolder, outcome: str, code: int) -> None:
    attempt(folder, train(2, outcome))

    (run,) = offline_runs(folder)
    assert (run.exit_code, run.summary["outcome"]) == (code, outcome)


def test_a_copy_offline_takes_three_entries_of_the_disk(folder: RunFolder) -> None:
    assert attempt(folder, train(2)) == 0

    (copy,) = folder.wandb.glob("offline-run-*")
    assert [path.suffix for path in copy.iterdir()] == [".wandb"]
    assert list(folder.wandb.iterdir()) == [copy]


def test_a_continued_run_is_one_complete_offline_folder(folder: RunFolder) -> None:
    attempt(folder, train(3, "interrupted"))
    attempt(folder, train(6, start=3))

    (run,) = offline_runs(folder)
    assert run.steps == list(range(6))
    assert run.exit_code == 0


@pytest.mark.slow
def test_a_run_killed_with_9_keeps_what_it_logged_up_to_the_last_seconds(folder: RunFolder) -> None:
    def body(run: Run) -> None:
        for epoch in range(600):
            run.log(epoch)
            time.sleep(0.1)
            if epoch >= 25 and len(offline_runs(folder)[0].steps) >= 10:
                break
        os.kill(os.getpid(), signal.SIGKILL)

    assert os.WTERMSIG(attempt(folder, body)) == signal.SIGKILL

    (run,) = offline_runs(folder)
    assert len(run.steps) >= 10


@pytest.mark.slow
def test_a_run_killed_with_9_is_continued_beside_the_same_service(folder: RunFolder) -> None:
    def body(run: Run) -> None:
        run.log(0, 1, 2)
        wait_until(lambda: has_offline_file(folder), lambda: "the service wrote nothing")
        os.kill(os.getpid(), signal.SIGKILL)

    attempt(folder, body)
    attempt(folder, train(6, start=3))

    (run,) = offline_runs(folder)
    assert run.steps == list(range(6))
    assert said(folder) == ""


@pytest.mark.parametrize("has_pool", [True, False])
def test_no_other_thread_changes_the_environment_that_native_code_reads(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch, has_pool: bool
) -> None:
    """setenv beside a matrix product that asks for MKL_VERBOSE is a SIGSEGV now and then."""
    if not has_pool:
        monkeypatch.delenv("WANDB_SERVICE")
    changed: list[str] = []

    def note(event: str, arguments: tuple[object, ...]) -> None:
        is_main = threading.current_thread() is threading.main_thread()
        if event in ("os.putenv", "os.unsetenv") and not is_main:
            changed.append(f"{event} {arguments[0]!r}")

    def body() -> None:
        sys.addaudithook(note)
        train(3)(Run(folder, 120.0, "none"))
        assert changed == []

    assert in_child(body, folder) == 0, folder.log.read_text()
    (run,) = offline_runs(folder)
    assert [row["_step"] for row in run.history] == [0, 1, 2]


# online


def test_online_rows_config_group_and_tags_arrive(folder: RunFolder, stub: Stub) -> None:
    assert attempt(folder, train(11)) == 0

    run = stub.runs()[folder.run_id]
    assert (run["project"], run["group"], run["job_type"], run["tags"]) == (
        "anlp",
        "digits",
        "search",
        ["tag"],
    )
    assert SPECS[folder.run_id].settings.values().items() <= run["config"].items()
    assert [row["_step"] for row in run["history"]] == list(range(11))
    assert (run["state"], run["summary"]["outcome"]) == ("finished", "ok")
    assert said(folder) == ""


@pytest.mark.slow
def test_the_address_of_the_project_is_kept_in_the_grids_folder(
    folder: RunFolder, stub: Stub
) -> None:
    grid = GridFolder(folder.path.parent)
    assert project_url(grid) == ""

    assert attempt(folder, train(1)) == 0

    assert project_url(grid).startswith("http")
    assert "/anlp" in project_url(grid)
    (grid.path / "wandb.url").write_text("\x1b[2Jhttp://x")
    assert project_url(grid) == ""


def test_an_interrupted_run_is_continued_on_the_server(folder: RunFolder, stub: Stub) -> None:
    attempt(folder, train(3, "interrupted"))
    first = stub.runs()[folder.run_id]
    attempt(folder, train(6, start=3))

    (run,) = stub.runs().values()
    assert (first["state"], first["is_preempted"]) == ("failed", True)
    assert [row["_step"] for row in run["history"]] == list(range(6))
    assert (run["state"], run["summary"]["outcome"]) == ("finished", "ok")
    assert said(folder) == ""


@pytest.mark.slow
def test_what_ran_offline_is_on_the_server_once_there_is_one(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt(folder, train(3, "interrupted"))
    server = Stub()
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    attempt(folder, train(6, start=3))

    rows = server.runs()[folder.run_id]["history"]
    server.close()
    assert [row["_step"] for row in rows] == list(range(6))
    assert offline_runs(folder) == []


@pytest.mark.slow
def test_an_upload_adds_to_the_server_what_it_lacks(
    folder: RunFolder, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt(folder, train(3, "interrupted"))
    monkeypatch.setenv("WANDB_MODE", "offline")
    attempt(folder, train(6, start=3))
    write_json(
        folder.spec, {"spec": SPECS[folder.run_id].to_json(), "options": RunOptions().to_json()}
    )
    write_json(folder.result, RunResult(folder.run_id, Outcome.OK, {"test/acc": 0.97}).to_json())

    status = in_child(lambda: os._exit(upload.main([str(folder.path.parent)])), folder)

    run = stub.runs()[folder.run_id]
    assert status == 0, said(folder)
    assert [row["_step"] for row in run["history"]] == list(range(6))
    assert (run["state"], run["summary"]["outcome"], run["summary"]["test/acc"]) == (
        "finished",
        "ok",
        0.97,
    )
    assert runs_with_copies(folder.path.parent) == []


@pytest.mark.slow
def test_an_upload_that_fails_keeps_the_offline_folder(
    folder: RunFolder, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    attempt(folder, train(2))
    write_json(
        folder.spec, {"spec": SPECS[folder.run_id].to_json(), "options": RunOptions().to_json()}
    )
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)

    status = in_child(lambda: os._exit(upload.main([str(folder.path)])), folder)

    assert os.WEXITSTATUS(status) == 1
    assert "user is not logged in" in said(folder)
    assert offline_runs(folder)[0].steps == [0, 1]


@pytest.mark.slow
def test_a_run_that_replaces_another_leaves_the_rows_on_the_server_alone(
    folder: RunFolder, stub: Stub
) -> None:
    attempt(folder, train(3))
    folder.metrics.unlink()
    attempt(folder, train(4), redo="all")

    assert [row["_step"] for row in stub.runs()[folder.run_id]["history"]] == [0, 1, 2]
    assert_went_offline(folder, "delete it there; continuing offline")


def assert_went_offline(folder: RunFolder, reason: str, epochs: int = 4) -> None:
    (run,) = offline_runs(folder)
    assert (run.steps, run.exit_code) == (list(range(epochs)), 0)
    assert reason in said(folder)
    assert KEY not in said(folder)


def test_without_a_server_the_run_goes_offline_at_once(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    start = time.monotonic()

    assert attempt(folder, train(4)) == 0

    assert time.monotonic() - start < 30
    assert_went_offline(folder, "no answer from http://127.0.0.1:9")


@pytest.mark.slow
def test_a_refused_key_takes_the_run_offline(
    folder: RunFolder, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    start = time.monotonic()

    assert attempt(folder, train(4)) == 0

    assert time.monotonic() - start < 60  # wandb by itself waits longer
    assert_went_offline(folder, "user is not logged in")


@pytest.mark.slow
def test_a_server_that_never_answers_takes_the_run_offline(folder: RunFolder, stub: Stub) -> None:
    stub.freeze()
    start = time.monotonic()

    assert attempt(folder, train(4)) == 0

    assert time.monotonic() - start < 60  # wandb by itself waits longer
    assert_went_offline(folder, "no answer from")


@pytest.mark.slow
def test_a_server_that_takes_ages_takes_the_run_offline(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Stub(status=SILENT)
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    start = time.monotonic()

    assert attempt(folder, train(4)) == 0

    server.close()
    assert time.monotonic() - start < 60  # wandb by itself waits longer
    assert_went_offline(folder, "context deadline exceeded")


@pytest.mark.slow
def test_a_server_with_a_fault_takes_the_run_offline(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Stub(status=500)
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    start = time.monotonic()

    assert attempt(folder, train(4)) == 0

    server.close()
    assert time.monotonic() - start < 60  # wandb by itself waits longer
    assert_went_offline(folder, "continuing offline")


@pytest.mark.slow
@pytest.mark.parametrize("end", [Stub.die, Stub.freeze])
def test_a_server_that_ends_in_the_middle_costs_no_row(
    folder: RunFolder, stub: Stub, end: Callable[[Stub], None]
) -> None:
    def body(run: Run) -> None:
        run.log(0, 1)
        wait_until(lambda: folder.run_id in stub.runs(), lambda: "the run did not arrive")
        end(stub)
        start = time.monotonic()
        run.log(2, 3)
        run.mirror.finish("ok", {})
        assert time.monotonic() - start < 30

    assert attempt(folder, body, budget_s=6.0) == 0, said(folder)

    assert_went_offline(folder, "continuing offline")


# faults of wandb itself


@pytest.mark.slow
def test_a_service_that_dies_in_the_middle_is_replaced(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = start_shared_service()
    for name, value in own.environment.items():
        monkeypatch.setenv(name, value)

    def body(run: Run) -> None:
        run.log(0, 1)
        wait_until(lambda: has_offline_file(folder), lambda: "the service wrote nothing")
        assert own.pid is not None
        service = lease.Process.of(own.pid)
        os.kill(own.pid, signal.SIGKILL)
        wait_until(lambda: not service.is_alive(), lambda: "the service lives")
        run.log(2, 3)
        run.mirror.finish("ok", {})

    assert attempt(folder, body) == 0, said(folder)

    own.stop()
    assert_went_offline(folder, "continuing offline")


def test_a_service_that_is_gone_is_replaced(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_SERVICE", "3-1-unix-/nowhere/socket")

    assert attempt(folder, train(4)) == 0

    assert_went_offline(folder, "continuing offline")


@pytest.mark.slow
def test_a_stopped_service_delays_no_run(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = start_shared_service()
    assert own.pid is not None
    os.kill(own.pid, signal.SIGSTOP)
    for name, value in own.environment.items():
        monkeypatch.setenv(name, value)
    start = time.monotonic()

    assert attempt(folder, train(4), budget_s=1.0) == 0

    own.kill()
    assert time.monotonic() - start < 30
    assert f"gave up after 1 s; every row is in {folder.metrics}" in said(folder)


def test_a_folder_that_cannot_be_written_is_one_line_in_the_log(folder: RunFolder) -> None:
    folder.wandb.write_text("in the way")

    assert attempt(folder, train(4)) == 0

    assert f"every row is in {folder.metrics}" in said(folder)


@pytest.mark.slow
def test_a_copy_that_the_disk_did_not_take_is_noticed(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = start_shared_service()
    assert own.pid is not None
    resource.prlimit(
        own.pid, resource.RLIMIT_FSIZE, (3000, 3000)
    )  # wandb itself does not say a word about it
    for name, value in own.environment.items():
        monkeypatch.setenv(name, value)

    assert attempt(folder, train(50)) == 0

    own.stop()
    assert_went_offline(folder, "is not complete (disk full?)", epochs=50)


def test_a_machine_without_wandb_is_one_line_in_the_log(folder: RunFolder) -> None:
    def body(run: Run) -> None:
        run.log(0)
        run.mirror.finish("ok", {})

    saved = sys.modules["wandb"]
    sys.modules["wandb"] = None  # type: ignore[assignment]  # what makes `import wandb` fail
    try:
        assert attempt(folder, body) == 0
    finally:
        sys.modules["wandb"] = saved

    assert "every row is in" in said(folder)


# the service, the process


def test_preloading_starts_neither_threads_nor_a_service(service: Service) -> None:
    preload()

    assert [thread.name for thread in threading.enumerate() if "wandb" in thread.name.lower()] == []
    assert "WANDB_SERVICE" not in os.environ


def test_a_child_does_not_stop_the_service_of_its_parent(service: Service) -> None:
    pid = os.fork()
    if pid == 0:
        service.stop()
        os._exit(0)
    os.waitpid(pid, 0)

    assert service.pid in services()


def test_what_is_finished_survives_the_end_of_the_service(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with start_shared_service() as own:
        for name, value in own.environment.items():
            monkeypatch.setenv(name, value)
        attempt(folder, train(4))

    (run,) = offline_runs(folder)
    assert (run.steps, run.exit_code) == ([0, 1, 2, 3], 0)
    assert own.pid not in services()


def test_a_process_without_a_shared_service_leaves_none_behind(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_SERVICE")

    assert attempt(folder, train(4)) == 0

    assert offline_runs(folder)[0].steps == [0, 1, 2, 3]
    own = f"HOME={folder.path.parent}"
    wait_until(lambda: not services(own), lambda: f"left behind: {services(own)}")


@pytest.mark.slow
def test_the_service_ends_with_a_pool_that_is_killed() -> None:
    code = (
        "import os\nfrom anlp.tracking import "
        "wandb_service\nwandb_service.START_TIMEOUT_S = 120.0\n"
        "print(wandb_service.start_shared_service().pid, flush=True)\nos.abort()\n"
    )
    pool = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    pid = int(pool.stdout)

    wait_until(lambda: pid not in services(), lambda: "it goes on", pause_s=0.1)


def services(variable: str = "") -> set[int]:
    """Process ids of the living wandb services of this machine, with this in their environment."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, state = path.read_text().partition("(")[2].rpartition(")")[::2]
            environment = path.with_name("environ").read_bytes() if name == "wandb-core" else b""
        except OSError:
            continue
        if name == "wandb-core" and state.split()[0] != "Z" and variable.encode() in environment:
            found.add(int(path.parent.name))
    return found


# names and keys


def test_a_key_in_netrc_counts_and_is_never_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text(f"machine 127.0.0.1:9 login user password {KEY}\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))

    site = find_site()

    assert site.key == KEY
    assert KEY not in repr(site)


def test_a_key_for_the_old_name_of_the_public_server_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text(f"machine api.wandb.ai login user password {KEY}\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.delenv("WANDB_BASE_URL")

    assert find_site().key == KEY


def test_a_name_is_not_longer_than_a_line() -> None:
    values = {
        "lr": 0.5,
        "epochs": 3,
        "batch_size": 3,
        "model": "cnn",
        "dropout": 0.25,
        "units": 7,
        "filters": 9,
        "clip_norm": 0.123,
        "label_smoothing": 0.2,
    }

    for varying in ((), tuple(values)):
        name = readable_name(make_spec("mnist", values, seed=1), RunOptions(varying=varying))
        assert len(name) <= 100
        assert name.endswith(" seed=1")


def test_a_name_says_what_varies_in_the_grid_with_few_digits() -> None:
    spec = make_spec("mnist", {"lr": 0.000575651277252, "epochs": 3, "model": "dense"}, seed=7)
    options = RunOptions(varying=("lr", "model", "filters"), digits=4)

    assert readable_name(spec, options) == "lr=0.0005757 model=dense seed=7"
