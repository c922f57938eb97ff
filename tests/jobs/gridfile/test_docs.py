"""docs/grid-file.md shows what is true: its examples load, and its faults are the ones that are
told.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from anlp.core.errors import SpecError
from jobs.gridfile import load_grid
from jobs.gridfile.load import _TOP_KEYS
from tests.support.paths import ROOT

PAGE = (ROOT / "docs" / "grid-file.md").read_text()
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize(("text", "runs"), list(zip(EXAMPLES, [80, 4, 100, 6, 5, 22], strict=True)))
def test_an_example_has_as_many_runs_as_the_page_says(tmp_path: Path, text: str, runs: int) -> None:
    path = tmp_path / "example.yaml"
    path.write_text(text)
    grid = load_grid(path)

    assert len(list(grid.runs())) == runs
    assert grid.notes == ()


def test_the_faults_on_the_page_are_those_of_its_faulty_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    faulty, faults = re.findall(r"```yaml faulty\n(.*?)```.*?```text\n(.*?)```", PAGE, re.DOTALL)[0]
    Path("lr.yaml").write_text(faulty)

    with pytest.raises(SpecError) as caught:
        load_grid(Path("lr.yaml"))

    assert str(caught.value) == faults.strip()


def test_the_page_names_every_key() -> None:
    # `program` and the keys beside it have a page of their own; only its row stands here
    assert {*_TOP_KEYS, "program"} == set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
