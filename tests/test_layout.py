"""The layout of the code: commands on top, folders that a reader takes in, no circle of imports."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.support.paths import ROOT

PACKAGES = ("jobs", "anlp", "analysis")
MOST_MODULES = 16  # of a folder
MANY_MODULES = ("analysis/plots",)  # a module for each chart
MOST_CONTRACT_LINES = 60


def folders_of(package: str) -> list[Path]:
    """Every folder with modules below a package, relative to the checkout."""
    found = {path.parent for path in (ROOT / package).rglob("*.py")}
    return sorted(path.relative_to(ROOT) for path in found if path != ROOT / package)


def modules_in(folder: Path) -> list[Path]:
    return sorted(path for path in (ROOT / folder).glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize("package", PACKAGES)
def test_no_folder_has_more_modules_than_a_reader_takes_in(package: str) -> None:
    counts = {str(folder): len(modules_in(folder)) for folder in folders_of(package)}

    large = {name for name, count in counts.items() if count > MOST_MODULES}
    assert large <= set(MANY_MODULES)


@pytest.mark.parametrize("package", PACKAGES)
def test_the_top_of_a_package_holds_commands_only(package: str) -> None:
    others = [
        path.name
        for path in modules_in(Path(package))
        if 'if __name__ == "__main__":' not in path.read_text()
    ]

    assert others == []


def test_the_contracts_fit_on_a_screen() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    sections = re.split(r"^(?=\[)", text, flags=re.MULTILINE)
    contracts = "".join(
        part for part in sections if part.lstrip("[").startswith("tool.importlinter.contracts")
    )

    lines = [line for line in contracts.splitlines() if line.strip() and line[0] != "#"]
    assert 20 < len(lines) <= MOST_CONTRACT_LINES


@pytest.mark.parametrize("package", PACKAGES)
def test_no_module_imports_itself_by_way_of_others(package: str) -> None:
    """Imports at the top of modules; those within functions are there to be late."""
    try:
        tuple(TopologicalSorter(imports_of(package)).static_order())
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' -> '.join(error.args[1])}")


def imports_of(package: str) -> Mapping[str, set[str]]:
    """For each module of a package, those of the package that it imports when it is imported."""
    modules = {name_of(path): path for path in (ROOT / package).rglob("*.py")}
    found: dict[str, set[str]] = defaultdict(set)
    for name, path in modules.items():
        for imported in top_imports(path):
            parts = imported.split(".")
            # `from a.b import c`: the module a.b.c, or the name c of the module a.b
            candidates = (imported, ".".join(parts[:-1]))
            known = next((each for each in candidates if each in modules), None)
            if known is not None and known != name:
                found[name].add(known)
    return found


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def top_imports(path: Path) -> Iterator[str]:
    for statement in ast.parse(path.read_text()).body:
        if isinstance(statement, ast.Import):
            yield from (alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom) and statement.module is not None:
            yield from (f"{statement.module}.{alias.name}" for alias in statement.names)


@pytest.mark.parametrize("package", PACKAGES)
def test_tests_mirror_the_folders(package: str) -> None:
    tests = {path.parent for path in (ROOT / "tests" / package).rglob("test_*.py")}
    strange = [
        folder for folder in tests if not (ROOT / folder.relative_to(ROOT / "tests")).is_dir()
    ]

    assert tests
    assert strange == []
