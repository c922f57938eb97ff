"""Align texts in columns on a terminal, in any alphabet."""

from __future__ import annotations

from collections.abc import Sequence


def cell_width(text: str) -> int:
    """Count the terminal cells that a text takes: some letters take two, some none.

    >>> cell_width("lr=0.1"), cell_width("語学")
    (6, 4)
    """
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # only where it is needed: most screens are ASCII

    return cell_len(text)


def clip(text: str, width: int) -> str:
    """Cut a text to so many cells, with an ellipsis where something is missing.

    >>> clip("learning", 6), clip("語学語学", 6), clip("short", 6)
    ('learn…', '語学…', 'short')
    """
    if cell_width(text) <= width:
        return text
    if text.isascii():
        return text[: width - 1] + "…"
    kept = text
    while kept and cell_width(kept) > width - 1:
        kept = kept[:-1]
    return kept + "…"


def align(rows: Sequence[Sequence[str]], is_number: Sequence[bool] | None = None) -> list[str]:
    """Render one line for each row, columns two blanks apart, numbers set to the right.

    >>> align([("語学", "9"), ("lr", "10")], (False, True))
    ['語学   9', 'lr    10']

    Args:
        rows: cells, equally many in each row.
        is_number: for each column; None: every column is text.
    """
    widths = [max(map(cell_width, column)) for column in zip(*rows, strict=True)]
    numbers = is_number or [False] * len(widths)
    lines = []
    for row in rows:
        cells = map(_pad, row, widths, numbers)
        lines.append("  ".join(cells).rstrip())
    return lines


def _pad(cell: str, width: int, is_number: bool) -> str:
    blanks = " " * (width - cell_width(cell))
    return blanks + cell if is_number else cell + blanks
