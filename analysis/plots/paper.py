"""The paper that charts are drawn on: one look, the same bytes every time, no global state of matplotlib's."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from anlp.errors import UserError

FORMATS = ("png", "svg", "pdf")
DPI = 150
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.parse_math": False,  # names may hold $
    "svg.hashsalt": "anlp",  # ids in SVG would be random
    "svg.fonttype": "none",
}
OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")  # told apart by all eyes


@contextlib.contextmanager
def paper(width: float, height: float) -> Iterator[Figure]:
    """An empty figure in our style, in inches; draw and save it inside."""
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # a box is drawn for a letter without form
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure


def save(figure: Figure, path: Path) -> None:
    """Writes the figure in the format that the suffix says, without dates.

    Raises:
        UserError: the format is unknown or the file cannot be written.
    """
    form = path.suffix.lstrip(".").lower()
    if form not in FORMATS:
        raise UserError(f"{path}: expected a file that ends in {', '.join('.' + known for known in FORMATS)}")
    metadata = {"png": {"Software": ""}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[form]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format=form, dpi=DPI, metadata=metadata)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from error


def shortened(text: str, length: int = 20) -> str:
    """The text, its middle left out where it is longer than `length`."""
    plain = " ".join(text.split())
    if len(plain) <= length:
        return plain
    tail = (length - 1) // 2
    return f"{plain[: length - 1 - tail]}…{plain[-tail:]}"
