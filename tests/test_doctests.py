"""Examples in docstrings are run: every module of the three packages that has some."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

from tests.support.paths import ROOT

PACKAGES = ("anlp", "jobs", "analysis")


def modules_with_examples() -> list[str]:
    paths = (path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py")))
    return [_name(path) for path in paths if ">>> " in path.read_text()]


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("name", modules_with_examples())
def test_the_examples_of_a_module_come_out_as_they_say(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)

    assert found.attempted > 0
    assert found.failed == 0, capsys.readouterr().out


def test_modules_have_examples() -> None:
    assert len(modules_with_examples()) > 5
