"""`python -m benchmarks.web_page`: frame times of the interactive page at thousands of runs.

The page and plotly's Parcoords of the same runs (`pip install plotly`; left out where it is
missing) in one headless Chromium, which draws in software: size of the file, time until it has
drawn, and the time that a frame takes in which a pointer drags a brush along the last axis.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import importlib.util
import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analysis.web.page import render_page
from analysis.web.selection import page_form, page_info
from anlp.console.command import run_command
from anlp.core.errors import EXIT_OK, UserError
from benchmarks.measure import describe_machine, load, spread

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = ("/usr/bin/chromium", "/usr/lib/chromium/chromium")
METRIC = "val/acc"
FAILED = 0.03  # of the runs
DRAG_STEPS = 20  # each way
TIMEOUT_MS = 180_000
ARGUMENTS = (
    "--no-sandbox",
    "--enable-unsafe-swiftshader",
)  # root has no sandbox; plotly needs WebGL, in software too
# Only frames with a pointer move to answer: frames without one cost nothing.
RECORD_FRAMES = """() => {
  window.frames_ms = []; window.recording = true;
  let before = performance.now(), isMoved = false, wasMoved = false;
  addEventListener("pointermove", () => { isMoved = true; }, true);
  const tick = (now) => {
    if (wasMoved) window.frames_ms.push(now - before);
    [before, wasMoved, isMoved] = [now, isMoved, false];
    if (window.recording) requestAnimationFrame(tick);
  };
  requestAnimationFrame(tick);
}"""
STOP_FRAMES = "() => { window.recording = false; return window.frames_ms; }"
Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one page."""

    mib: float
    drawn_s: float
    frames_ms: tuple[float, ...]


def made_runs(count: int, seed: int = 0) -> pd.DataFrame:
    """Return `count` runs of a made grid on eight axes, one of them continuous, some diverged."""
    rng = np.random.default_rng(seed)
    model = rng.choice(["cnn", "dense", "resnet"], count)
    lr, dropout = (
        rng.choice([1e-5, 1e-4, 1e-3, 1e-2, 1e-1], count),
        rng.choice([0, 0.1, 0.3, 0.5], count),
    )
    score = (
        1
        - 0.15 * np.abs(np.log10(lr) + 3) * rng.random(count)
        - 0.02 * rng.random(count)
        - 0.05 * dropout
    )
    is_ok = rng.random(count) >= FAILED
    ids = [hashlib.sha256(f"{seed} {number}".encode()).hexdigest()[:12] for number in range(count)]
    columns: dict[str, Any] = {
        "run_id": ids,
        "seed": np.arange(count) % 5,
        "outcome": np.where(is_ok, "ok", "diverged"),
        "lr": lr,
        "weight_decay": np.where(rng.random(count) < 0.2, 0, 10 ** rng.uniform(-6, -1, count)),
        "model": model,
        "optimizer": rng.choice(["adam", "rmsprop", "sgd"], count),
        "dropout": dropout,
        "filters": np.where(model == "cnn", rng.choice([16.0, 32.0, 64.0], count), np.nan),
        "batch_size": rng.choice([32, 64, 128, 256], count),
        "epochs": 10,
        METRIC: np.where(is_ok, np.round(score, 4), np.nan),
    }
    return pd.DataFrame(columns)


def our_page(runs: pd.DataFrame) -> str:
    """Return the page of `analysis.parallel --html`."""
    return render_page(page_info(runs, METRIC, grid="made"))


def plotly_page(runs: pd.DataFrame) -> str:
    """Write the runs as a plotly page with plotly.js inside; all axes are numbers there."""
    graph = importlib.import_module("plotly.graph_objects")  # not among our dependencies
    scored = runs[runs[METRIC].notna()]
    dimensions = []
    for name in (
        "lr",
        "weight_decay",
        "model",
        "optimizer",
        "dropout",
        "filters",
        "batch_size",
        METRIC,
    ):
        values = (
            pd.factorize(scored[name])[0]
            if scored[name].dtype.kind not in "if"
            else scored[name].fillna(0)
        )
        dimensions.append({"label": name, "values": values})
    figure = graph.Figure(graph.Parcoords(line={"color": scored[METRIC]}, dimensions=dimensions))
    return str(figure.to_html(include_plotlyjs=True, full_html=True))


def our_axis(page: Page) -> tuple[Point, Point]:
    """Top and bottom of the last axis on the screen."""
    return _ends(page, ".pc-axis:last-of-type .pc-rail", 0)


def plotly_axis(page: Page) -> tuple[Point, Point]:
    """Return the same of plotly's."""
    return _ends(page, ".axis-brush .background", 20)


@dataclass(frozen=True, slots=True)
class Side:
    """One way to such a page."""

    render: Callable[[pd.DataFrame], str]
    ready: str  # a selector of what is there once it has drawn
    axis: Callable[[Page], tuple[Point, Point]]


SIDES: Mapping[str, Side] = {
    "ours": Side(our_page, ".pc-rows td", our_axis),
    "plotly": Side(plotly_page, ".parcoords .axis-brush", plotly_axis),
}


def drag_frames(page: Page, top: Point, bottom: Point) -> list[float]:
    """Return the ms until the next frame after each move of a brush, down an axis and up again."""
    middle = (top[1] + bottom[1]) / 2
    page.mouse.move(top[0], middle)
    page.mouse.down()
    page.evaluate(RECORD_FRAMES)
    for end in (bottom[1] - 5, top[1] + 5):
        page.mouse.move(top[0], end, steps=DRAG_STEPS)
    frames: list[float] = page.evaluate(STOP_FRAMES)
    page.mouse.up()
    return frames


def measure(browser: Browser, side: Side, runs: pd.DataFrame, folder: Path) -> Figures:
    """Return one page, from its file to the end of a drag."""
    path = folder / "page.html"
    path.write_text(side.render(runs), encoding="utf-8")
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    started = time.perf_counter()
    page.goto(path.as_uri(), timeout=TIMEOUT_MS)
    page.wait_for_selector(side.ready, timeout=TIMEOUT_MS)
    drawn_s = time.perf_counter() - started
    page.wait_for_timeout(2_000)  # until all lines are drawn
    frames = drag_frames(page, *side.axis(page))
    page.close()
    return Figures(path.stat().st_size / 2**20, drawn_s, tuple(frames))


def find_chromium() -> str:
    """Debian's Chromium.

    Raises:
        UserError: it is not installed.
    """
    found = [path for path in CHROMIUM if Path(path).exists()]
    if not found:
        raise UserError("no Chromium: apt-get install chromium")
    return found[0]


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.web_page", description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000, help="(%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="sides in turns (%(default)s)")
    parser.add_argument("--side", choices=SIDES, help="only this one")
    options = parser.parse_args(argv)
    from playwright.sync_api import sync_playwright

    print("\n".join(f"{name}: {value}" for name, value in describe_machine().items()))
    runs = made_runs(options.runs)
    known = [name for name in SIDES if name == "ours" or importlib.util.find_spec(name)]
    names = [options.side] if options.side else known
    found: dict[str, list[Figures]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=list(ARGUMENTS))
        print(f"chromium: {browser.version}")
        for _ in range(options.rounds):
            for name in names:
                print(f"… {name}", file=sys.stderr)
                found[name].append(measure(browser, SIDES[name], runs, Path(folder)))
        browser.close()
    _print(found, runs)
    return EXIT_OK


def _ends(page: Page, selector: str, margin: float) -> tuple[Point, Point]:
    """Top and bottom of the last element of that kind, without its margins."""
    box = page.locator(selector).last.bounding_box()
    if box is None:
        raise UserError(f"the page has no {selector} on the screen")
    x = box["x"] + box["width"] / 2
    return (x, box["y"] + margin), (x, box["y"] + box["height"] - margin)


def _print(found: Mapping[str, Sequence[Figures]], runs: pd.DataFrame) -> None:
    data = json.dumps(page_form(page_info(runs, METRIC)), separators=(",", ":"))
    print(f"{len(runs):,} runs, 8 axes; our data: {len(data) / 2**20:.2f} MiB")
    if "plotly" in found:
        print(f"plotly: {version('plotly')}")
    for name, rounds in found.items():
        medians = spread([spread(figures.frames_ms).median for figures in rounds])
        worst = spread([float(np.quantile(figures.frames_ms, 0.95)) for figures in rounds])
        drawn = spread([figures.drawn_s for figures in rounds])
        print(
            f"{name}: {rounds[0].mib:.2f} MiB; drawn {drawn.render()} s; "
            f"frame median {medians.render(1)} ms, "
            f"95 % {worst.render(1)} ms"
        )
    if len(found) > 1:
        ratios = [
            spread(theirs.frames_ms).median / spread(ours.frames_ms).median
            for ours, theirs in zip(found["ours"], found["plotly"], strict=True)
        ]
        print(f"plotly / ours, median frame: {spread(ratios).render()}")
    print(f"load afterwards: {load()}")


if __name__ == "__main__":
    sys.exit(run_command(main))
