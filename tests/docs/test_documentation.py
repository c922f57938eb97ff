"""README, CONTRIBUTING and docs/ show what is true: commands run, outputs come out, options exist,
examples load.

Where an output has changed on purpose: `.venv/bin/python -m tests.docs.refresh` rewrites the pages.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
from pathlib import Path

import pytest
import yaml

from jobs.gridfile import load_grid
from tests.docs.doc_blocks import PAGES, ROOT, Block, read_blocks, read_commands
from tests.docs.doc_compare import render_difference, shorten_as
from tests.docs.doc_parsers import options_of, parser_of, render_fault, split_line
from tests.docs.doc_stage import build_stage, copy_stage, run_page
from tests.support.once import build_once

NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
COMMANDS = (
    *(
        f"jobs.{verb}"
        for verb in ("submit", "status", "logs", "explain", "cancel", "retry", "sync")
    ),
    *(f"analysis.{verb}" for verb in ("tables", "parallel", "curves", "plot", "convergence")),
    *(f"analysis.{verb}" for verb in ("importance", "report", "claims", "export")),
    *("anlp.run", "anlp.spectrograms", "anlp.tracking.upload"),
    *("benchmarks.overhead", "benchmarks.grid_wall"),
)
# Options of other programs that pages speak of, by program.
FOREIGN = {
    *("--version", "--print-completion"),  # anlp
    *("--lr", "--fast", "--seed"),  # of a program of the user's own
    *(
        "--partition",
        "--account",
        "--gres",
        "--cpus-per-task",
        "--mem",
        "--time",
        "--requeue",
    ),  # sbatch
    *("--array", "--dependency", "--kill-on-invalid-dep", "--signal"),  # sbatch
    *("--add-subuids", "--add-subgids"),  # usermod
    *("--nv", "--cleanenv", "--no-eval", "--bind", "--sandbox"),  # apptainer
    *(
        "--cpu",
        "--base",
        "--torch",
        "--lock",
        "--stage",
        "--staged",
        "--from",
    ),  # containers/build.sh
    *("--strict", "--out", "--json", "--only", "--reruns"),
    *("--lr", "--fast", "--model", "--seed", "--flag", "--no-flag"),  # programs of examples
}


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stage with two trained grids."""
    return build_once(tmp_path_factory, "documentation", build_stage)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_commands_and_snippets_of_a_page_do_what_it_shows(
    name: str, base: Path, tmp_path: Path
) -> None:
    blocks = read_blocks(ROOT / name)
    if not any(block.is_run and _does_something(block) for block in blocks):
        return
    outcomes = run_page(blocks, copy_stage(base, tmp_path / "stage"))

    faults = [f"{one.block.where}: {one.command}: {one.fault}" for one in outcomes if one.fault]
    assert not faults, "\n\n".join(faults)


def _does_something(block: Block) -> bool:
    return bool(read_commands(block)) or block.language == "python"


@pytest.mark.parametrize("name", NAMES)
def test_every_command_line_is_accepted_by_its_parser(name: str) -> None:
    faults = []
    for block in read_blocks(ROOT / name):
        for command in read_commands(block):
            found = [render_fault(words) for words in split_line(command.text)]
            faults += [f"{block.where}: {command.text}: {fault}" for fault in found if fault]

    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("name", NAMES)
def test_every_option_in_the_text_exists(name: str) -> None:
    known = FOREIGN.union(*(options_of(parser) for parser in map(parser_of, COMMANDS) if parser))
    unknown = []
    for number, line in enumerate(_prose(ROOT / name), 1):
        for code in INLINE.findall(line):
            options = re.findall(r"(?<![\w-])--[a-z][a-z-]+", code)
            unknown += [f"{name}:{number}: {option}" for option in options if option not in known]

    assert not unknown, "\n".join(unknown)


def _prose(page: Path) -> list[str]:
    """The lines of a page, those of fenced blocks blank."""
    text = re.sub(
        r"^ *```.*?^ *```$",
        lambda block: "\n" * block[0].count("\n"),
        page.read_text(),
        flags=re.MULTILINE | re.DOTALL,
    )
    return text.splitlines()


@pytest.mark.parametrize("name", NAMES)
def test_yaml_examples_load(name: str, tmp_path: Path) -> None:
    for block in read_blocks(ROOT / name):
        if block.language != "yaml" or block.is_faulty or "file" in block.markers:
            continue  # what becomes a file is submitted by the commands of its page
        form = yaml.safe_load(block.text)
        if isinstance(form, dict) and {"task", "program"} & form.keys():
            (tmp_path / "train.py").touch()
            path = tmp_path / "example.yaml"
            path.write_text(block.text)
            assert list(load_grid(path).runs()), block.where


@pytest.mark.parametrize("name", NAMES)
def test_python_examples_import_what_exists(name: str) -> None:
    blocks = read_blocks(ROOT / name)
    of_page = {Path(block.markers["file"]).stem for block in blocks if "file" in block.markers}
    for block in blocks:
        if block.language != "python":
            continue
        for node in ast.walk(ast.parse(block.text, filename=block.where)):
            if isinstance(node, ast.ImportFrom) and node.module:
                if node.module.rpartition(".")[2] in of_page:
                    continue
                names = [one.name for one in node.names]
                missing = [name for name in names if not _has(node.module, name)]
                assert not missing, f"{block.where}: {node.module} has no {', '.join(missing)}"


def _has(module: str, name: str) -> bool:
    if hasattr(importlib.import_module(module), name):
        return True
    return importlib.util.find_spec(f"{module}.{name}") is not None


def test_every_block_of_commands_has_a_language_that_is_tested() -> None:
    unmarked = []
    for page in PAGES:
        unmarked += [block.where for block in read_blocks(page) if not block.language]

    assert not unmarked, "blocks without a language (use text for what is no command)"


def test_a_changed_word_or_number_is_noticed() -> None:
    shown = "demo: 36 runs, submitted 16 s ago, in /home/ada/runs/demo\n...\n  done  0.98 [%]"

    same = (
        "demo: 36 runs, submitted 4 min 2 s ago, in /tmp/x/runs/demo\none\ntwo\n  done     0.99 [%]"
    )
    assert render_difference(shown, same, measured=True) == ""
    assert "0.98" in render_difference(shown, same)
    assert "35 runs" in render_difference(shown, same.replace("36", "35"), measured=True)
    assert "leaves out" in render_difference(shown, f"{same}\nmore", measured=True)


def test_an_option_that_does_not_exist_is_noticed() -> None:
    assert "--nope" in render_fault(["python", "-m", "jobs.submit", "grids/demo.yaml", "--nope"])
    assert "nope" in render_fault(["python", "-m", "analysis.plot", "nope", "demo"])
    assert "nope" in render_fault(["anlp", "nope"])
    assert render_fault(["anlp", "submit", "grids/demo.yaml", "-n"]) == ""
    assert render_fault(["squeue", "--nope"]) == ""


def test_a_refreshed_output_is_shortened_where_the_old_one_was() -> None:
    actual = "head 2\na\nb\nmid 3\nc\nlast 4"

    assert (
        shorten_as("head 1\n...\nmid 1\n...\nlast 1\n", actual) == "head 2\n...\nmid 3\n...\nlast 4"
    )
    assert shorten_as("head 1\na\n...\n", actual) == "head 2\na\n..."
    assert shorten_as("head 1\n", actual) == actual
