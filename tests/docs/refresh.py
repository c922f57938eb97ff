"""Rewrites the outputs that README and docs/ show from what the commands print now.

    .venv/bin/python tests/docs/refresh.py                       every page
    .venv/bin/python tests/docs/refresh.py docs/verdicts.md      these

An output that still agrees is left as it is. Where a page shortens an output by a line `...`, it stays shortened.
A command that fails without showing an output is reported and nothing is changed for it.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from doc_blocks import PAGES, ROOT, read_blocks, read_commands
from doc_compare import shorten_as
from doc_stage import Outcome, build_stage, copy_stage, run_page


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
            _rewrite(page, [one for one in wrong if one.shown])
    return 1 if failed else 0


def _rewrite(page: Path, outcomes: list[Outcome]) -> None:
    lines = page.read_text().splitlines(keepends=True)
    for one in reversed(outcomes):
        first = one.block.line - 1
        size = len(one.block.text.splitlines())
        indent = one.block.indent
        body = "".join(line.removeprefix(indent) for line in lines[first : first + size])
        actual = shorten_as(f"{one.shown}\n", one.actual.strip("\n")).rstrip()
        renewed = body.replace(f"{one.shown}\n", f"{actual}\n", 1)
        renewed_lines = [f"{indent}{line}".rstrip() + "\n" for line in renewed.splitlines()]
        lines[first : first + size] = renewed_lines
    page.write_text("".join(lines))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
