"""`docs/map.md` names every module of the three packages, and nothing that is not there."""

from __future__ import annotations

import re

import pytest

from tests.support.paths import ROOT

MAP = (ROOT / "docs" / "map.md").read_text()


def sections() -> dict[str, set[str]]:
    """The names in back quotes below the heading of each package."""
    parts = re.split(r"^## (\w+):? .*$", MAP, flags=re.MULTILINE)
    return {
        name: set(re.findall(r"`([\w/]+)`", text))
        for name, text in zip(parts[1::2], parts[2::2], strict=True)
    }


def modules(package: str) -> set[str]:
    """Modules and folders right below a package, and the single schedulers."""
    below = {path for path in (ROOT / package).iterdir() if path.name[0] not in "_."}
    names = {path.stem for path in below if path.suffix == ".py"}
    folders = {f"{path.name}/" for path in below if (path / "__init__.py").exists()}
    if package == "jobs":
        names |= {path.stem for path in (ROOT / "jobs" / "schedulers").glob("[a-z]*.py")}
    return names | folders


@pytest.mark.parametrize("package", ["jobs", "anlp", "analysis"])
def test_the_map_names_every_module_of_a_package_and_no_other(package: str) -> None:
    named = sections()[package] - {"__main__", "training/tasks/", f"{package}/"}

    assert (modules(package) - named, named - modules(package)) == (set(), set())


def test_every_path_that_the_map_sends_a_reader_to_exists() -> None:
    paths = re.findall(
        r"`((?:jobs|anlp|analysis|docs|profiles|containers|grids|tests|benchmarks)/[\w/.-]*)`", MAP
    )

    assert len(paths) > 20
    assert [path for path in paths if not (ROOT / path).exists()] == []
