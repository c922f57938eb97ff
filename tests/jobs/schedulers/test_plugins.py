"""A scheduler is a plug-in: the list, what other packages add, and that nothing else names one."""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from anlp.core.errors import UserError
from jobs.config.resources import ASKED, CLUSTER_ONLY, RESOURCE_KEYS
from jobs.schedulers import plugins, registry
from jobs.schedulers.base import JobHandle
from jobs.schedulers.batch import BatchScheduler
from jobs.schedulers.local.scheduler import LocalScheduler
from jobs.submission.arguments import add_submit_arguments

ROOT = Path(plugins.__file__).resolve().parents[2]
NAMES = [name for name in plugins.BUILT_IN if name != registry.LOCAL]
COMMANDS = "sbatch|squeue|sacct|scancel|qsub|qstat|qdel|bsub|bjobs|bkill"
WORDS = re.compile(rf"\b({'|'.join(NAMES)}|{COMMANDS})", re.IGNORECASE)
# Modules outside a backend's folder that name one in a string, and why.
ALLOWED = {
    "anlp/programs/tracebacks.py": "prefixes of lines that srun adds to what a program prints",
    "jobs/schedulers/plugins.py": "the list of schedulers",
    "anlp/runtime/slurm_task.py": "what a task of a Slurm array executes, on the node",
    "anlp/runtime/submitit_requeue.py": "submitit's contract for such a task",
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installed package that adds a scheduler, whose module is still to be written."""
    info = tmp_path / "anlp_made-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: anlp-made\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[anlp.schedulers]\nmade = anlp_made:Made\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    plugins._plugins.cache_clear()
    plugins._load_plugin.cache_clear()
    yield tmp_path / "anlp_made.py"
    sys.modules.pop("anlp_made", None)
    plugins._plugins.cache_clear()
    plugins._load_plugin.cache_clear()


MADE = """\
from jobs.schedulers.base import JobState, Phase
from jobs.schedulers.batch import BatchScheduler
from jobs.schedulers.local.scheduler import LocalScheduler
class Made(LocalScheduler):
    name = "made"
    title = "Made"
    can_exclude_nodes = True
    environment_prefixes = ("MADE_",)
    @classmethod
    def output_path(cls, batch, job, index):
        return batch.with_suffix(".made")
    def states(self, jobs):
        return dict.fromkeys(jobs, JobState(Phase.RUNNING))
"""


def test_a_scheduler_of_another_package_is_found_by_its_name(package: Path) -> None:
    package.write_text(MADE)

    assert plugins.names() == (*plugins.BUILT_IN, "made")
    assert registry.resolve_name("made", None) == "made"
    assert registry.get_scheduler("made").name == "made"
    assert registry.can_exclude_nodes("made")
    assert "MADE_" in registry.environment_prefixes()
    handle = JobHandle("made", "1", 0)
    assert [state.phase.value for state in registry.states([handle]).values()] == ["running"]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (
            "import nothing_of_the_kind",
            "ModuleNotFoundError: No module named 'nothing_of_the_kind'",
        ),
        ("x = 1", "AttributeError: module 'anlp_made' has no attribute 'Made'"),
        ("class Made: name = 'other'", "names no scheduler of that name in anlp_made:Made"),
    ],
)
def test_a_broken_plugin_is_one_sentence_that_names_its_package(
    package: Path, code: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    package.write_text(code)

    with pytest.raises(UserError) as caught:
        registry.get_scheduler("made")

    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("scheduler 'made': the package anlp-made ")
    assert said in str(caught.value)
    assert str(caught.value).endswith("update or remove the package")
    assert registry.environment_prefixes()  # the others work all the same
    assert capsys.readouterr().err == f"{caught.value}\n"


def test_an_unknown_name_is_refused_with_the_nearest_one(package: Path) -> None:
    with pytest.raises(UserError, match=r"--on: no scheduler 'mode' \(did you mean 'made'\?"):
        registry.resolve_name("mode", None)


def test_packages_are_not_searched_where_the_name_is_built_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse() -> None:
        raise AssertionError("searched")

    monkeypatch.setattr(plugins, "_plugins", refuse)

    for name in plugins.BUILT_IN:
        assert plugins.find(name).name == name
        assert registry.resolve_name(name, None) == name
        assert registry.can_exclude_nodes(name) in (True, False)


def test_a_scheduler_that_is_not_installed_any_more_harms_no_old_grid(tmp_path: Path) -> None:
    job = JobHandle("gone", "1", 0)

    assert not registry.can_exclude_nodes(job.scheduler)


def test_the_page_names_every_method_that_a_scheduler_must_have() -> None:
    page = (ROOT / "docs" / "new-scheduler.md").read_text()
    named = set(re.findall(r"`(\w+)(?:\([\w, ]*\))?`", page))

    assert set(BatchScheduler.__abstractmethods__) - named == set()


def test_a_registered_scheduler_replaces_one_of_the_same_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Other(LocalScheduler):
        pass

    monkeypatch.setattr(plugins, "_registered", {})
    plugins.register("local", Other)

    assert isinstance(registry.get_scheduler("local"), Other)


def test_no_module_outside_a_backends_folder_names_a_scheduler() -> None:
    folders = {ROOT / "jobs" / "schedulers" / name for name in plugins.BUILT_IN}
    found = set()
    for package in ("jobs", "anlp", "analysis"):
        for path in (ROOT / package).rglob("*.py"):
            if not folders & set(path.parents) and any(map(WORDS.search, strings_of(path))):
                found.add(str(path.relative_to(ROOT)))

    assert found == set(ALLOWED)


def strings_of(path: Path) -> Iterator[str]:
    """The strings of a module that are no docstrings."""
    tree = ast.parse(path.read_text())
    docs = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and node.body:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                docs.add(id(first.value))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.value


def test_keys_options_and_notes_of_resources_follow_from_their_fields() -> None:
    parser = argparse.ArgumentParser()
    add_submit_arguments(parser)
    options = parser.format_help()

    for name, asked in ASKED.items():
        assert all(RESOURCE_KEYS[key].field == name for key in asked.keys)
        assert all(f"{flag} {asked.metavar}" in options for flag in asked.flags)
        assert (name in CLUSTER_ONLY) == asked.clusters_only
