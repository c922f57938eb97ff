"""Any damage of any file of a run, journal or cache: every command answers in sentences, says what
it left out, and shows the other runs.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analysis import claims, convergence, curves, export, importance, parallel, plot, report, tables
from analysis.data.load import load
from anlp.console.command import run_command
from anlp.core import lease
from anlp.core.spec import RunSpec
from anlp.records.circuit_breaker import Tripped
from anlp.records.files import write_json
from anlp.records.fingerprint import Fingerprint
from anlp.records.folders import GridFolder
from anlp.records.options import RunOptions
from anlp.records.results import Outcome
from jobs import cancel, explain, logs, retry, status, submit, sync
from jobs.runs.polling_cache import CachedState, JobStateCache, write_cache
from jobs.schedulers.base import Cause, JobHandle, JobState, Phase
from tests.support import grids
from tests.support.grids import GONE, a_spec, an_error

Main = Callable[[Sequence[str]], int]

HISTORY = [0.1, 0.5, 0.7]
DONE = [a_spec(seed, lr=lr) for lr in (0.1, 0.01) for seed in (0, 1)]
FAILED = a_spec(0, lr=0.3)
LOST = a_spec(1, lr=0.3)
LIVE = a_spec(2, lr=0.3)
QUEUED = a_spec(3, lr=0.3)

VIEWS: Sequence[tuple[Main, Sequence[str]]] = [
    (status.main, ["study", "--all"]),
    (status.main, ["study", "--json"]),
    (status.main, ["study", "--only", "state=done lr<=0.1"]),
    *((explain.main, ["study", spec.run_id]) for spec in (DONE[0], FAILED, LOST, LIVE, QUEUED)),
    (explain.main, ["study", DONE[0].run_id, "--json"]),
    *((logs.main, ["study", spec.run_id]) for spec in (DONE[0], FAILED, LOST)),
    (logs.main, ["study", "--failed"]),
]
CHANGES: Sequence[tuple[Main, Sequence[str]]] = [
    (retry.main, ["study", "-n"]),
    (retry.main, ["study", "-n", "--json"]),
    (submit.main, ["study.yaml", "-n", "--on", "local"]),
    (submit.main, ["study.yaml", "-n", "--on", "local", "--confirm", "1"]),
    (sync.main, ["study", "-n"]),
    (cancel.main, ["study", "--yes"]),
]
NUMBERS: Sequence[tuple[Main, Sequence[str]]] = [
    (tables.main, ["study"]),
    (convergence.main, ["study"]),
    (importance.main, ["study", "--no-forest"]),
    (export.main, ["study", "-o", "runs.csv"]),
    (claims.main, ["claims.toml"]),
]
CHARTS: Sequence[tuple[Main, Sequence[str]]] = [
    (curves.main, ["study", "-o", "curves.svg"]),
    (plot.main, ["box", "study", "-o", "box.svg"]),
    (parallel.main, ["study", "-o", "parallel.svg"]),
    (report.main, ["study", "-o", "report"]),
]

FILES = [
    "journal.jsonl",
    "batches/*.jsonl",
    "batches/*.tripped",
    "finished.jsonl",
    "endings.jsonl",
    "answers.json",
    "lock/000001.json",
    ".pulled/index.json",
    f"{DONE[0].run_id}/result.json",
    f"{DONE[0].run_id}/spec.json",
    f"{DONE[0].run_id}/metrics.jsonl",
    f"{DONE[0].run_id}/attempts/000001.json",
    f"{DONE[0].run_id}/wandb/uploaded.json",
    f"{FAILED.run_id}/result.json",
    f"{LOST.run_id}/attempts/000001.json",
    f"{LOST.run_id}/metrics.jsonl",
    f"{LIVE.run_id}/attempts/000001.json",
    f"{LIVE.run_id}/metrics.jsonl",
]

numbers = st.sampled_from(
    [0, -1, 1.5, 10**30, 10**400, -(10**400), 2**63, 1e308, float("inf"), float("nan"), True]
)
texts = st.sampled_from(["", "x", "\x1b[31m", "é\n\0", "\ud800", "../../..", "/", "9" * 5000])
values = st.recursive(
    st.none() | numbers | texts | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


def write_grid(path: Path) -> None:
    """Write a grid with a run in every state, and every kind of file."""
    folder = GridFolder(path / "runs" / "study")
    tag = grids.submit(folder, [*DONE, FAILED, LOST], launcher=GONE)
    tag_live = grids.submit(folder, [LIVE, QUEUED])
    slurm = grids.submit(folder, [a_spec(9)], slurm_job="7")
    for number, spec in enumerate([*DONE, FAILED, LOST, LIVE]):
        run = folder.run(spec.run_id)
        run.path.mkdir(parents=True)
        write_json(run.spec, {"spec": spec.to_json(), "options": RunOptions(batch=tag).to_json()})
        grids.log_epochs(folder, spec, HISTORY)
        run.log.write_text("epoch 1\n")
        held = lease.acquire(run.attempts, {"job": "1", "batch": tag, "cpu_s": 3.0})
        if spec in DONE:
            _finish(folder, spec, tag, 0.5 + number / 10)
            held.release(ending="done", cpu_s=2.0)
        elif spec is FAILED:
            grids.fail(folder, spec, tag, an_error())
            held.release(ending="failed")
        elif spec is LOST:
            held.release(ending="lost", cause=Cause.SIGNAL.value, detail="signal 9")
    mirror = folder.run(DONE[0].run_id).wandb
    (mirror / "offline-run-1").mkdir(parents=True)
    write_json(mirror / "uploaded.json", {"copies": ["offline-run-0"], "url": "", "at": 1.0})
    lease.acquire(folder.lock).release()
    batch = next(folder.batches.glob("*.jsonl"))
    tripped = {"failure": {"type": "E", "message": "m", "place": "p"}, "count": 3, "time": 2e9}
    assert Tripped(Fingerprint("E", "m", "p"), 3, 2e9)  # the form of this file
    write_json(batch.with_suffix(".tripped"), tripped)
    state = CachedState(JobState(Phase.ENDED, Cause.SIGNAL, "signal 9", "n1", 9), 1e9)
    write_cache(
        folder.answers, JobStateCache({JobHandle("slurm", "7", 0): state}, {"slurm": ("x",)})
    )
    grids.lose(folder, slurm, 0, Cause.NODE, "node n1 failed")
    grids.lose(folder, tag_live, 5, Cause.EXIT, "exit code 3")
    (path / "study.yaml").write_text(
        "task: mnist\nfixed: {data: digits, epochs: 10}\ngrid:\n  lr: [0.1, 0.01, 0.3]\nseeds: 3\n"
    )
    (path / "claims.toml").write_text(
        '[[claim]]\nfile = "text.md"\ntext = "75.0 %"\ngrid = "study"\nstatistic = "mean"\n'
        'metric = "test/acc"\nonly = "lr=0.01"\n'
    )
    (path / "text.md").write_text("it is 75.0 %\n")
    load(folder.path)  # writes the cache


def _finish(folder: GridFolder, spec: RunSpec, tag: str, score: float) -> None:
    spent = {"since": 1.0, "ended": 21.0, "ending": "done", "batch": tag, "cpu_s": 4.0}
    grids.write_result(
        folder,
        spec,
        tag,
        Outcome.OK,
        metrics={"val/acc": score, "test/acc": score},
        epoch=2,
        baselines={"random": 0.1, "majority": 0.12},
        sizes={"train": 100, "val": 50, "test": 50},
        provenance={
            "batch": tag,
            "spent": [spent],
            "peak_rss_mib": 100.0,
            "cpu_s": 3.0,
            "host": "n1",
            "device": "cpu",
            "versions": {"torch": "2"},
        },
    )


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("original")
    write_grid(path)
    return path


def run_all(commands: Sequence[tuple[Main, Sequence[str]]]) -> None:
    """Run commands; anything but an exit code of a command is a traceback, which fails the test."""
    for main, argv in commands:
        code = run_command(lambda main=main, argv=argv: main(argv))  # type: ignore[misc]  # bound here
        assert code in (0, 1, 2), (main, argv)


def places_in(value: Any) -> list[tuple[Any, ...]]:
    """Every place in a JSON value."""
    found: list[tuple[Any, ...]] = [()]
    items: dict[Any, Any] = value if isinstance(value, dict) else {}
    if isinstance(value, list):
        items = dict(enumerate(value))
    for key, item in items.items():
        found += [(key, *rest) for rest in places_in(item)]
    return found


def with_value(value: Any, place: tuple[Any, ...], new: Any) -> Any:
    """The JSON value with another value in one place."""
    if not place:
        return new
    copied = value.copy()
    copied[place[0]] = with_value(copied[place[0]], place[1:], new)
    return copied


@st.composite
def damages(draw: st.DrawFn, content: bytes) -> bytes:
    """Damage of one file."""
    how = draw(st.sampled_from(["field", "field", "field", "prefix", "bytes", "deep"]))
    lines = content.splitlines() if content.count(b"\n{") else [content]
    number = draw(st.integers(0, len(lines) - 1))
    if how == "field":
        form = json.loads(lines[number])
        place = draw(st.sampled_from(places_in(form)))
        lines[number] = json.dumps(with_value(form, place, draw(values))).encode()
        return b"\n".join(lines) + b"\n"
    if how == "prefix":
        return content[: draw(st.integers(0, len(content)))]
    if how == "bytes":
        return draw(st.binary(max_size=40)) + b"\n"
    lines[number] = draw(st.sampled_from([b"[", b'{"a":', b'{"x": ' + b"9" * 401 + b"}"])) * 50_000
    return b"\n".join(lines) + b"\n"


def damage(data: st.DataObject, original: Path, path: Path) -> None:
    """Write the grid to `path`, one of its files damaged."""
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(original, path)
    pattern = data.draw(st.sampled_from(FILES))
    for file in sorted((path / "runs" / "study").glob(pattern))[:1]:
        file.write_bytes(data.draw(damages(file.read_bytes())))


def fuzz(examples: int) -> settings:
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "here"
    path.mkdir()
    monkeypatch.setenv("ANLP_RUNS", str(path / "grid" / "runs"))
    monkeypatch.setenv("ANLP_DATA", str(path / "data"))
    monkeypatch.setenv("COLUMNS", "100")
    return path


def check(
    original: Path,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    data: st.DataObject,
    commands: Sequence[tuple[Main, Sequence[str]]],
) -> None:
    damage(data, original, here / "grid")
    monkeypatch.chdir(here / "grid")
    run_all(commands)
    monkeypatch.chdir(here)


@fuzz(40)
@given(data=st.data())
def test_commands_that_show_a_grid(
    original: Path, here: Path, monkeypatch: pytest.MonkeyPatch, data: st.DataObject
) -> None:
    check(original, here, monkeypatch, data, VIEWS)


@fuzz(30)
@given(data=st.data())
def test_commands_that_change_a_grid(
    original: Path, here: Path, monkeypatch: pytest.MonkeyPatch, data: st.DataObject
) -> None:
    check(original, here, monkeypatch, data, CHANGES)


@fuzz(20)
@given(data=st.data())
def test_numbers(
    original: Path, here: Path, monkeypatch: pytest.MonkeyPatch, data: st.DataObject
) -> None:
    check(original, here, monkeypatch, data, NUMBERS)


@pytest.mark.slow
@fuzz(4)
@given(data=st.data())
def test_charts_and_the_report(
    original: Path, here: Path, monkeypatch: pytest.MonkeyPatch, data: st.DataObject
) -> None:
    check(original, here, monkeypatch, data, CHARTS)


DEEP = b"[" * 200_000
ABSURD = b'{"epoch": 1' + b"0" * 400 + b"}\n"


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        (
            "result.json",
            b'{"run_id": "x", "outcome": "ok", "metrics": {}, "provenance": 5}',
            "provenance: ",
        ),
        ("result.json", DEEP, "nested more than"),
        ("result.json", b'{"run_id": 1' + b"0" * 400 + b"}", "a whole number has 401 digits"),
        ("spec.json", DEEP, "nested more than"),
        ("attempts/000001.json", b'{"pid": "x"}', "host: expected a text"),
    ],
)
def test_one_damaged_file_is_named_and_the_other_runs_are_shown(
    original: Path,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    content: bytes,
    why: str,
) -> None:
    shutil.copytree(original, here / "grid")
    (here / "grid" / "runs" / "study" / DONE[0].run_id / name).write_bytes(content)
    monkeypatch.chdir(here / "grid")

    run_all([(status.main, ["study"]), (tables.main, ["study"])])

    printed = capsys.readouterr()
    assert ("3 done" if name == "result.json" else "4 done") in printed.out
    assert "80.000" in printed.out  # of another run
    if not name.startswith("attempts"):  # a lease is not read where there is a result
        assert why in printed.err
        assert name in printed.err


@pytest.mark.parametrize(
    "line", [DEEP + b"\n", b'{"event": "ended", "tag": 5, "index": []}\n', b"5\n"]
)
def test_damaged_lines_of_a_journal_are_counted(
    original: Path,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    line: bytes,
) -> None:
    shutil.copytree(original, here / "grid")
    journal = here / "grid" / "runs" / "study" / "journal.jsonl"
    tag = json.loads(journal.read_text().splitlines()[0])["tag"].encode()
    journal.write_bytes(journal.read_bytes() + line.replace(b'"tag": 5', b'"tag": "%s"' % tag) * 3)
    monkeypatch.chdir(here / "grid")

    run_all([(status.main, ["study"])])

    printed = capsys.readouterr()
    assert "4 done" in printed.out
    assert f"left out 3 damaged lines: the first: {journal}: line " in printed.err


@pytest.mark.parametrize("line", [ABSURD, b'{"epoch": ' + b"9" * 30 + b"}\n", b'{"epoch": "x"}\n'])
def test_absurd_epochs_are_left_out(
    original: Path,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    line: bytes,
) -> None:
    shutil.copytree(original, here / "grid")
    run = here / "grid" / "runs" / "study" / LIVE.run_id
    (run / "metrics.jsonl").write_bytes((run / "metrics.jsonl").read_bytes() + line)
    monkeypatch.chdir(here / "grid")

    run_all([(status.main, ["study", "--all"]), (convergence.main, ["study"])])

    printed = capsys.readouterr()
    assert "epoch 2/10" in printed.out
    assert f"{run / 'metrics.jsonl'}: line 4: " in printed.err
