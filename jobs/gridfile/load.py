"""Loads a grid file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from anlp.core.errors import did_you_mean
from anlp.tasks import TASKS
from anlp.tasks.user_code import is_function
from jobs.config.yaml_tree import Faults, Items, Leaf, Table, Tree, parse_yaml, read_text, show
from jobs.gridfile.blocks import Block
from jobs.gridfile.grid import GridSpec
from jobs.gridfile.options import OPTION_KEYS, read_options
from jobs.gridfile.overrides import override_block, read_overrides, read_seeds
from jobs.gridfile.parse_blocks import BLOCK_KEYS, read_blocks
from jobs.gridfile.parse_function import FUNCTION_KEYS, read_function_grid
from jobs.gridfile.parse_program import PROGRAM_KEYS, check_program, read_program_grid
from jobs.gridfile.parser import GridParser
from jobs.gridfile.settings import Vocabulary, vocabulary_of
from jobs.programs.program import ProgramBlock
from jobs.programs.sweeps import is_sweep, read_sweep

TRY_ALL_UP_TO = (
    2_000  # combinations that are expanded while loading, so that all faults are told at once
)

_TOP_KEYS = (*BLOCK_KEYS, "union", *OPTION_KEYS)


def load_grid(
    path: Path,
    *,
    overrides: Sequence[str] = (),
    seeds: str | None = None,
    data: str | None = None,
    in_image: bool | None = None,
    beside: Path | None = None,
) -> GridSpec:
    """Return the grid in a file.

    Args:
        path: a YAML file, see docs/grid-file.md; or a sweep file of wandb, which means one.
        overrides: `NAME=VALUE[,VALUE…]` each, over what the file says (`--set`).
        seeds: a count or a list `1,2,3`, over what the file says (`--seeds`).
        data: the data set to take instead of the grid's own (`fallback`).
        in_image: whether a program is started in an image, where commands are that this machine
            does not have; None: the file says.
        beside: the folder that paths in the file are relative to; None: its own.

    Raises:
        SpecError: every fault of the file and the overrides, sorted by line. What only the task as
            a whole refuses is found here for up to 2,000 combinations, else by the expansion.
    """
    text = read_text(path)
    faults = Faults(path)
    tree = parse_yaml(text, faults)
    if not isinstance(tree, Table):
        if not faults.found:
            got = "an empty file" if tree is None else show(tree)
            faults.add(1, "", f"expected a mapping with task, grid, …, got {got}")
        faults.raise_if_any()
        raise AssertionError("a tree that is no table has a fault")
    is_of_sweep = is_sweep(tree)
    if is_of_sweep:
        text, tree = read_sweep(tree, path)
    if not isinstance(tree, Table):
        raise AssertionError("a sweep means a grid file")
    words, program = _vocabulary(tree, faults, beside or path.parent, in_image)
    reader = GridParser(words, faults)
    reader.only(tree, "", (*_TOP_KEYS, *_keys_of_program(tree)))
    options = read_options(reader, tree, path)
    blocks = read_blocks(reader, tree)
    blocks = _overridden(blocks, words, faults, overrides, seeds, data)
    faults.raise_if_any()
    if program is not None:
        _check_program(program, words, blocks, tree, faults)
        faults.raise_if_any()
    grid = GridSpec(
        source=path,
        text=text,
        words=words,
        blocks=blocks,
        program=program,
        is_of_sweep=is_of_sweep,
        notes=tuple(reader.notes),
        **options,
    )
    return _tried(grid)


def _keys_of_program(top: Table) -> tuple[str, ...]:
    if "program" in top.entries:
        return PROGRAM_KEYS
    return ("program", *(FUNCTION_KEYS if _is_function_grid(top) else ()))


def _check_program(
    program: ProgramBlock,
    words: Vocabulary,
    blocks: Sequence[Block],
    top: Table,
    faults: Faults,
) -> None:
    """Note what the program's command needs and the grid does not give."""
    given = {name for block in blocks for name in block.named()}
    everywhere = set.intersection(*(set(block.named()) for block in blocks)) if blocks else set()
    entry = next(top.entries[key] for key in ("command", "program", "task") if key in top.entries)
    check_program(program, words, given, everywhere, entry.line, faults)


def _vocabulary(
    top: Table, faults: Faults, beside: Path, in_image: bool | None
) -> tuple[Vocabulary, ProgramBlock | None]:
    """Return what can be written about the file's task or program.

    The words of the first task if it names no existing one.
    """
    if "program" in top.entries:
        found = read_program_grid(top, faults, beside, in_image=in_image)
    elif _is_function_grid(top):
        found = read_function_grid(top, faults, beside)
    else:
        return _words_of_task(top, faults), None
    if "program" in top.entries and "task" in top.entries:
        line = top.entries["program"].line
        faults.add(top.entries["task"].line, "task", f"keep one of task and program (line {line})")
    faults.raise_if_any()
    if found is None:
        raise AssertionError("what is not found has a fault")
    return found


def _is_function_grid(top: Table) -> bool:
    tree = top.entries["task"].tree if "task" in top.entries else None
    return isinstance(tree, Leaf) and is_function(tree.text)


def _words_of_task(top: Table, faults: Faults) -> Vocabulary:
    """Return the words of the file's task; those of the first task if it names no existing one."""
    named = [(top.entries["task"].tree, "task")] if "task" in top.entries else []
    union = top.entries["union"].tree if "union" in top.entries else None
    for index, block in enumerate(union.items if isinstance(union, Items) else ()):
        if isinstance(block, Table) and "task" in block.entries:
            named.append((block.entries["task"].tree, f"union[{index}].task"))
    if not named:
        faults.add(
            top.line, "", f"expected the key 'task' (known: {', '.join(TASKS)}) or 'program'"
        )
    found = [_task(tree, where, faults) for tree, where in named]
    for (tree, where), task in zip(named, found, strict=True):
        if task != found[0]:
            faults.add(
                tree.line,
                where,
                f"expected the task {found[0]!r} of the first block, got {task!r}: one task a file",
            )
    return vocabulary_of(found[0] if found else next(iter(TASKS)))


def _task(tree: Tree, path: str, faults: Faults) -> str:
    if isinstance(tree, Leaf) and tree.text in TASKS:
        return tree.text
    hint = did_you_mean(tree.text if isinstance(tree, Leaf) else "", TASKS)
    faults.add(tree.line, path, f"expected the name of a task, got {show(tree)}{hint}")
    return next(iter(TASKS))


def _overridden(
    blocks: tuple[Block, ...],
    words: Vocabulary,
    faults: Faults,
    overrides: Sequence[str],
    seeds: str | None,
    data: str | None,
) -> tuple[Block, ...]:
    changes = read_overrides(overrides, words, faults)
    if data is not None:
        changes += read_overrides([f"data={data}"], words, faults, option="fallback")
    for change in changes:
        blocks = tuple(override_block(block, change, faults) for block in blocks)
    if seeds is not None:
        chosen = read_seeds(seeds, words, faults)
        blocks = tuple(replace(block, seeds=chosen) for block in blocks)
    return blocks


def _tried(grid: GridSpec) -> GridSpec:
    """Return the grid with the notes that its combinations give, where these are not too many.

    Raises:
        SpecError: the task's settings refuse some of them.
    """
    if grid.size_hint > TRY_ALL_UP_TO:
        return grid
    return replace(grid, notes=grid.expand().notes)
