"""Style of all charts: one look, the same bytes every time, no global state of matplotlib."""

from __future__ import annotations

import contextlib
import textwrap
import warnings
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter

from analysis.text.output import write_file
from anlp.core.errors import UserError

FORMATS = ("png", "svg", "pdf")
DPI = 150
CHARACTERS_PER_INCH = 12.5  # of a title
SHORT_LOG = 1000  # an axis over less has ticks at 2 and 5, too
FULL = 100.6  # percent, with room for a marker
MARGIN = 1.2  # inches beside it
LABELS = 0.6  # inches of a margin beside the names of its rows
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
OKABE_ITO = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#000000",
)  # told apart by all eyes


@contextlib.contextmanager
def new_figure(width: float, height: float) -> Iterator[Figure]:
    """Yield an empty figure in the common style, in inches; draw and save it inside."""
    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()  # a matplotlibrc would make other charts of the same runs
        mpl.rcParams.update(STYLE)
        warnings.filterwarnings(
            "ignore", message="Glyph .* missing from"
        )  # a box is drawn for a letter without form
        figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure


def save(figure: Figure, path: Path, *, alt: str = "") -> None:
    """Write the figure in the format of the suffix, without dates; `alt` becomes its description.

    Raises:
        UserError: the format is unknown or the file cannot be written.
    """
    form = path.suffix.lstrip(".").lower()
    if form not in FORMATS:
        raise UserError(
            f"{path}: expected a file that ends in {', '.join('.' + known for known in FORMATS)}"
        )
    known: Mapping[str, Mapping[str, str | None]] = {
        "png": {"Software": "", "Description": alt},
        "svg": {"Date": None, "Description": alt or None},
        "pdf": {"CreationDate": None, "Subject": alt or None},
    }
    content = BytesIO()
    write(figure, content, form, known[form])
    write_file(path, content.getvalue())


def write(figure: Figure, target: BytesIO, form: str, metadata: Mapping[str, str | None]) -> None:
    """Lay the figure out, then draw it once: `savefig` alone would draw rasterised parts twice."""
    figure.draw_without_rendering()
    figure.set_layout_engine(None)
    figure.savefig(target, format=form, dpi=figure.dpi, metadata=dict(metadata))


def set_head(ax: Axes, *lines: str) -> None:
    """Set the title, broken to the width of the figure; row names must be there already."""
    figure = ax.get_figure(root=True)
    inches = figure.get_size_inches()[0] if figure is not None else 6.0
    width = max(24, round(CHARACTERS_PER_INCH * (inches - _margin(ax))))
    broken = [
        part for line in lines if line for part in textwrap.wrap(line, width, break_long_words=True)
    ]
    ax.set_title("\n".join(broken), linespacing=1.4, pad=10, fontsize=9.5)


def _margin(ax: Axes) -> float:
    """Return the inches that the title cannot use: it begins right of the names of the rows."""
    names = ax.get_yticklabels() if isinstance(ax.yaxis.get_major_locator(), FixedLocator) else []
    longest = max((len(line) for name in names for line in name.get_text().splitlines()), default=0)
    return max(MARGIN, LABELS + longest / CHARACTERS_PER_INCH)


def set_log(ax: Axes, which: Literal["x", "y"] = "y") -> None:
    """Makes an axis on which everything is drawn already logarithmic; its ticks are plain numbers.

    The usual ticks are formulas, which our style does not set.
    """
    (ax.set_xscale if which == "x" else ax.set_yscale)("log")
    axis = ax.xaxis if which == "x" else ax.yaxis
    low, high = ax.get_xlim() if which == "x" else ax.get_ylim()
    is_short = low > 0 and high / low < SHORT_LOG
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if is_short else (1.0,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def keep_shares(ax: Axes, which: Literal["x", "y"]) -> None:
    """Ends an axis of percentages at 100: its margin would have a tick at what cannot be."""
    low, high = ax.get_xlim() if which == "x" else ax.get_ylim()
    (ax.set_xlim if which == "x" else ax.set_ylim)(low, min(high, FULL))


def shortened(text: str, length: int = 20) -> str:
    """Return the text, its middle left out where it is longer than `length`."""
    plain = " ".join(text.split())
    if len(plain) <= length:
        return plain
    tail = (length - 1) // 2
    return f"{plain[: length - 1 - tail]}…{plain[-tail:]}"
