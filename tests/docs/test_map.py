"""docs/map.md names every folder of the three packages, and every path in the documentation
exists.
"""

from __future__ import annotations

import importlib
import re

import pytest

from tests.docs.doc_blocks import PAGES, ROOT

MAP = (ROOT / "docs" / "map.md").read_text()
NAME = re.compile(r"`(?:python -m )?((?:jobs|anlp|analysis)\.[a-z_.]+)`")
PATH = re.compile(
    r"`((?:jobs|anlp|analysis|docs|profiles|containers|grids|tests|benchmarks)/[\w/.-]*)`"
)


@pytest.mark.parametrize("package", ["jobs", "anlp", "analysis"])
def test_the_map_has_a_line_for_every_folder_of_a_package_and_no_other(package: str) -> None:
    named = re.findall(rf"^\| `({package}/\w+/)` \|", MAP, re.MULTILINE)
    folders = {
        f"{package}/{path.parent.name}/" for path in (ROOT / package).glob("[a-z]*/__init__.py")
    }

    assert sorted(named) == sorted(folders)


@pytest.mark.parametrize("package", ["jobs", "anlp", "analysis"])
def test_the_map_names_the_commands_of_a_package(package: str) -> None:
    section = MAP.partition(f"## {package}: ")[2].partition("\n## ")[0]
    commands = re.findall(r"^Commands: (.*)$", section, re.MULTILINE)[0]
    modules = {path.stem for path in (ROOT / package).glob("[a-z]*.py")}
    forwarding = {"pool", "slurm_element"}  # for images with older job scripts

    assert set(re.findall(r"`(\w+)`", commands)) == modules - forwarding


@pytest.mark.parametrize("name", [str(page.relative_to(ROOT)) for page in PAGES])
def test_every_path_of_the_repository_that_a_page_names_exists(name: str) -> None:
    paths = PATH.findall((ROOT / name).read_text())

    missing = [path for path in paths if "parity" not in path and not (ROOT / path).exists()]
    assert not missing


@pytest.mark.parametrize("name", [str(page.relative_to(ROOT)) for page in PAGES])
def test_every_module_and_name_in_the_text_exists(name: str) -> None:
    others = {"anlp.tasks", "anlp.schedulers", "anlp.sif", "anlp.py"}  # entry points, files
    names = set(NAME.findall((ROOT / name).read_text())) - others

    missing = [one for one in names if not _exists(one)]
    assert not missing


def _exists(name: str) -> bool:
    module, _, attribute = name.rpartition(".")
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        try:
            return hasattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError:
            return False
    return True
