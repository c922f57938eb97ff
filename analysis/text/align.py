"""Text in columns that line up on a terminal, whatever alphabet it is in."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len


def align(rows: Sequence[Sequence[str]], is_number: Sequence[bool]) -> list[str]:
    """One line per row, columns two blanks apart, numbers set to the right.

    Widths are in terminal cells, of which some letters take two and some none.

    Args:
        rows: cells, equally many in each row.
        is_number: per column.
    """
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(_padded, cells, widths, is_number)).rstrip() for cells in rows]


def _padded(cell: str, width: int, is_number: bool) -> str:
    blanks = " " * (width - cell_len(cell))
    return blanks + cell if is_number else cell + blanks
