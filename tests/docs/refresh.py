"""Rewrites the outputs that README and docs/ show from what the commands print now.

    .venv/bin/python -m tests.docs.refresh                     every page
    .venv/bin/python -m tests.docs.refresh docs/verdicts.md      these

An output that still agrees is left as it is. Where a page shortens an output by a line `...`, it
stays shortened.
A command that fails without showing an output is reported and nothing is changed for it.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.docs.doc_blocks import PAGES, ROOT, Block, read_blocks, read_commands
from tests.docs.doc_compare import shorten_as
from tests.docs.doc_stage import Outcome, build_stage, copy_stage, run_page


def main(names: list[str]) -> int:
    """Refreshes the named pages, or all."""
    pages = [ROOT / name for name in names] or list(PAGES)
    failed = 0
    with tempfile.TemporaryDirectory() as temporary:
        base = Path(temporary) / "base"
        base.mkdir()
        build_stage(base)
        for number, page in enumerate(pages):
            blocks = read_blocks(page)
            if not any(block.is_run and read_commands(block) for block in blocks):
                continue
            outcomes = run_page(blocks, copy_stage(base, Path(temporary) / str(number)))
            wrong = [one for one in outcomes if one.fault]
            for one in wrong:
                print(f"{one.block.where}: {one.command}: {one.fault}")
            failed += sum(not one.shown for one in wrong)
            for block in reversed(blocks):
                of_block = [one for one in outcomes if one.block is block and one.shown]
                if any(one.fault for one in of_block):
                    _rewrite(page, block, of_block)
    return 1 if failed else 0


def _rewrite(page: Path, block: Block, outcomes: list[Outcome]) -> None:
    """Replaces the outputs of one block; blocks below it must have been rewritten before."""
    body = block.text
    end = len(body)
    for one in reversed(outcomes):
        shown = f"{one.shown}\n"
        start = body.rindex(shown, 0, end)
        if one.fault:
            actual = shorten_as(shown, one.actual.strip("\n")).rstrip()
            body = f"{body[:start]}{actual}\n{body[start + len(shown) :]}"
        end = start
    lines = page.read_text().splitlines(keepends=True)
    first = block.line - 1
    size = len(block.text.splitlines())
    lines[first : first + size] = [
        f"{block.indent}{line}".rstrip() + "\n" for line in body.splitlines()
    ]
    page.write_text("".join(lines))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
