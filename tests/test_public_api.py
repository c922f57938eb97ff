"""The public names of the packages, and the examples of docs/python-api.md, which are run."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "python-api.md"
PUBLIC = {
    "anlp": ["Run", "TaskSettings", "TrainingSettings", "__version__", "register_task"],
    "jobs": ["Overrides", "RunStatus", "Submission", "grid_status", "submit_grid"],
    "analysis": [
        *("Plan", "Runs", "Table", "importance_table", "load"),
        *("render_table", "results_table", "verdict_table"),
    ],
}


@pytest.mark.parametrize("package", PUBLIC)
def test_the_public_names_are_these(package: str) -> None:
    module = import_module(package)

    assert module.__all__ == PUBLIC[package]
    assert [name for name in module.__all__ if getattr(module, name, None) is None] == []


@pytest.mark.parametrize("package", PUBLIC)
def test_an_unknown_name_is_an_attribute_error(package: str) -> None:
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'nothing'"):
        _ = import_module(package).nothing


@pytest.mark.parametrize("package", ["anlp", "jobs", "analysis"])
def test_a_package_is_typed_and_loads_nothing_by_itself(package: str) -> None:
    assert (ROOT / package / "py.typed").read_bytes() == b""

    code = (
        f"import sys, {package}; heavy = {{'torch', 'pandas', 'numpy', 'rich', 'yaml'}}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300
    )
    assert done.stdout == "[]\n"


def test_a_command_stays_a_module() -> None:
    submit = import_module("jobs.submit")
    jobs = import_module("jobs")

    assert jobs.submit is submit
    assert callable(jobs.submit_grid)


@pytest.mark.slow
def test_the_examples_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "grids").mkdir()
    (tmp_path / "grids" / "demo.yaml").write_text((ROOT / "grids" / "demo.yaml").read_text())
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.delenv("ANLP_RUNS", raising=False)
    session = "\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL))

    done = subprocess.run(
        [sys.executable, "-c", session],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
    )

    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "18 runs are missing"
    assert re.fullmatch(r"[0-9a-f]{12} 0\.01 0\.\d+", lines[-2])
    assert "learning_rate" in lines[-1]
    assert "did you mean 'lr'" in lines[-1]
