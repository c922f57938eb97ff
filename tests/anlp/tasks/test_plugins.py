"""Tasks that other packages bring: found by their entry points, without a fork of this one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import anlp
from anlp.core.errors import UserError
from anlp.tasks import TASKS
from anlp.tasks.mnist import MnistSettings
from anlp.tasks.registry import TaskRegistry
from anlp.tasks.task import Task
from tests.support.paths import ROOT

PLUGIN = """
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import anlp
from anlp.core.spec import Scalar
from pydantic import Field


class ParitySettings(anlp.TrainingSettings):
    data: Literal["words"] = "words"
    bits: Annotated[int, Field(ge=2, le=16)] = 8
    model: Literal["plain"] = "plain"
    width: Annotated[int, Field(ge=1)] = 16

    smoke: ClassVar[Mapping[str, Scalar]] = {"epochs": 1, "bits": 4}
    loaders: ClassVar[Mapping[str, str]] = {"words": "anlp_parity.parts:make_words"}
    loader_args: ClassVar[tuple[str, ...]] = ("bits",)


anlp.register_task("parity", ParitySettings, "anlp_parity.parts:build")
"""
PARTS = """
import torch
from anlp.data import DataSet, Samples
from anlp.models.mlp import Mlp
from anlp.workloads import seeding
from anlp.workloads.objectives import Classification
from anlp.workloads.splits import make_splits
from anlp.workloads.workload import Workload


def make_words(data_dir, name, *, bits):
    words = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * bits)
    odd = words.sum(1).long() % 2
    tested = torch.arange(len(words)) % 4 == 0
    train, test = (Samples((words[part],), (odd[part],)) for part in (~tested, tested))
    return DataSet(name, train, test, ("even", "odd"))


def build(settings, seed, datasets, device):
    data = datasets.get(settings.data_key())
    torch.manual_seed(seeding.key(seed, "init"))
    model = Mlp(settings.bits, 2, depth=2, width=settings.width).to(device)
    train, val, test = make_splits(data, settings, seed, device)
    return Workload(model, train, val, test, Classification(), names=data.names)
"""
GRID = """
task: parity
fixed: {bits: 6, epochs: 2, lr: 0.01}
grid: {width: [8, 16]}
wandb: {mode: disabled}
"""
ASK = """
import sys
from anlp.console.command import run_command
from anlp.tasks import TASKS

def main():
    if sys.argv[1] == "list":
        print(*TASKS)
    else:
        print(TASKS[sys.argv[1]].builder)
    return 0

raise SystemExit(run_command(main))
"""


def install(site: Path, package: str, module: str, *names: str, **files: str) -> None:
    """Write a package as pip would leave it, with an entry point for each task."""
    folder = site / module
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    info = site / f"{package.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = "".join(f"{name} = {module}\n" for name in names)
    (info / "entry_points.txt").write_text(f"[anlp.tasks]\n{lines}")


def python(site: Path, *argv: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    paths = [str(site), str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), **variables}
    return subprocess.run(
        [sys.executable, *map(str, argv)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
        check=False,
    )


def ask(site: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return python(site, "-c", ASK, *words)


def register_only(*names: str) -> str:
    lines = [f'anlp.register_task({name!r}, anlp.TrainingSettings, "p:build")' for name in names]
    return "\n".join(["import anlp", *lines])


@pytest.mark.slow
def test_a_grid_of_a_task_of_another_package_trains(tmp_path: Path) -> None:
    install(tmp_path / "site", "anlp-parity", "anlp_parity", "parity", __init__=PLUGIN, parts=PARTS)
    (tmp_path / "parity.yaml").write_text(GRID)

    done = python(
        tmp_path / "site",
        *("-m", "jobs.submit", tmp_path / "parity.yaml", "--on", "local", "--device", "cpu", "-y"),
        ANLP_RUNS=str(tmp_path / "runs"),
    )

    assert done.returncode == 0, done.stdout + done.stderr
    results = [json.loads(path.read_text()) for path in tmp_path.glob("runs/*/*/result.json")]
    assert [result["outcome"] for result in results] == ["ok", "ok"]
    assert results[0]["provenance"]["data"]["names"] == ["even", "odd"]


@pytest.mark.slow
def test_all_tasks_are_listed_with_those_of_other_packages(tmp_path: Path) -> None:
    install(tmp_path, "anlp-parity", "anlp_parity", "parity", __init__=register_only("parity"))

    names = ask(tmp_path, "list").stdout.split()

    assert names == [*TASKS.built_in, "parity"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import nowhere_to_be_found", "cannot be loaded (ModuleNotFoundError: No module named"),
        ("", "its module registers no task of this name"),
        ("import anlp; anlp.register_task('parity', anlp.TaskSettings, 'p')", "'module:function'"),
    ],
)
def test_a_broken_package_is_named_where_its_task_is_asked_for(
    tmp_path: Path, text: str, reason: str
) -> None:
    install(tmp_path, "anlp-parity", "anlp_parity", "parity", __init__=text)

    asked, listed = ask(tmp_path, "parity"), ask(tmp_path, "list")

    assert asked.returncode == 2
    assert len(asked.stderr.splitlines()) == 1
    assert reason in asked.stderr
    assert asked.stderr.endswith("fix or uninstall anlp-parity\n")
    assert (listed.returncode, listed.stdout.split()) == (0, list(TASKS.built_in))


@pytest.mark.slow
def test_a_name_that_two_packages_bring_is_refused(tmp_path: Path) -> None:
    for package in ("first", "second"):
        install(tmp_path, f"anlp-{package}", f"anlp_{package}", "parity", __init__=register_only())
        (tmp_path / f"anlp_{package}" / "__init__.py").write_text(
            f"import anlp\nclass S(anlp.TaskSettings): ...\n"
            f"anlp.register_task('parity', S, 'anlp_{package}:build')"
        )

    asked = ask(tmp_path, "parity")

    assert asked.returncode == 2
    assert "has a task of this name; fix or uninstall anlp-" in asked.stderr
    assert "anlp-first" in asked.stderr
    assert "anlp-second" in asked.stderr


@pytest.mark.slow
def test_a_task_of_this_package_stays_where_another_package_takes_its_name(tmp_path: Path) -> None:
    install(tmp_path, "anlp-bad", "anlp_bad", "mnist", __init__=register_only("mnist"))

    asked, listed = ask(tmp_path, "mnist"), ask(tmp_path, "list")

    assert asked.stdout.strip() == "anlp.builders.mnist:build"
    assert listed.stderr == (
        "warning: task 'mnist' of anlp-bad: anlp has a task of this name; "
        "fix or uninstall anlp-bad\n"
    )


@pytest.mark.slow
def test_a_package_imported_before_its_entry_point_is_read_is_no_clash(tmp_path: Path) -> None:
    text = "import anlp\nclass S(anlp.TaskSettings): ...\nanlp.register_task('parity', S, 'b:b')"
    install(tmp_path, "anlp-parity", "anlp_parity", "parity", __init__=text)

    done = python(tmp_path, "-c", "import anlp_parity; from anlp.tasks import TASKS; print(*TASKS)")

    assert done.stdout.split()[-1] == "parity"


def registry(**given: str) -> TaskRegistry:
    return TaskRegistry({"mnist": "anlp.tasks.mnist:MnistSettings", **given})


def test_a_task_may_be_registered_twice_but_not_changed() -> None:
    tasks = registry()
    tasks.register("other", MnistSettings, "mine:build")
    tasks.register("other", MnistSettings, "mine:build")

    assert tasks["other"] == Task(MnistSettings, "mine:build")
    with pytest.raises(UserError, match="task 'other' of anlp: anlp has a task of this name"):
        tasks.register("other", MnistSettings, "theirs:build")
    with pytest.raises(UserError, match="task 'mnist' of anlp: anlp has a task of this name"):
        tasks.register("mnist", MnistSettings, "theirs:build")


def modules_after(code: str, *, of: Sequence[str]) -> list[str]:
    shown = f"{code}; import sys; print(*[name for name in {list(of)} if name in sys.modules])"
    return python(ROOT, "-c", shown).stdout.split()


@pytest.mark.slow
def test_import_anlp_is_light_and_a_run_reads_no_entry_points() -> None:
    heavy = ["pydantic", "torch", "anlp.tasks", "importlib.metadata"]

    assert modules_after("import anlp", of=heavy) == []
    assert (
        modules_after(
            "from anlp.tasks import TASKS; TASKS['mnist']", of=["torch", "anlp.tasks.points"]
        )
        == []
    )


def test_the_public_names_of_anlp() -> None:
    names = ["Run", "TaskSettings", "TrainingSettings", "__version__", "register_task"]
    assert anlp.__all__ == names
    assert all(hasattr(anlp, name) for name in anlp.__all__)
    assert issubclass(anlp.TrainingSettings, anlp.TaskSettings)
    assert anlp.__version__ == "0.1.0"
