"""A real headless Chromium for the tests of interactive pages: Debian's package, driven by
playwright.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from analysis.web.page import render_page
from analysis.web.selection import page_info

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

METRIC = "val/acc"
MISSING = "needs a real browser: `apt-get install chromium` and `pip install playwright`"
SIZE = {"width": 1280, "height": 1100}


class Chart:
    """The page as a person meets it; keeps what it asked of the network and what it complained
    of.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.faults: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda message: self.faults.append(message.text))
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("dialog", lambda dialog: self.faults.append(f"dialog {dialog.message}"))
        page.on("request", lambda request: self.requests.append(request.url))

    @property
    def count(self) -> str:
        return self.page.inner_text(".pc-count")

    @property
    def axes(self) -> list[str]:
        """The names of the axes from left to right."""
        found = self.page.locator(".pc-axis").all()
        return [
            str(axis.locator(".pc-title").get_attribute("title"))
            for axis in sorted(found, key=_left)
        ]

    def axis(self, name: str) -> Locator:
        return self.page.locator(f'.pc-axis:has(.pc-title[title="{name}"])')

    def point(self, name: str, place: float) -> tuple[float, float]:
        """Where a position in [0, 1] of an axis is on the screen."""
        box = self.axis(name).locator(".pc-rail").bounding_box()
        assert box
        return box["x"] + box["width"] / 2, box["y"] + (1 - place) * box["height"]

    def drag(self, name: str, start: float, end: float) -> None:
        self.page.mouse.move(*self.point(name, start))
        self.page.mouse.down()
        self.page.mouse.move(*self.point(name, end), steps=4)
        self.page.mouse.up()

    def click(self, name: str, place: float) -> None:
        self.page.mouse.click(*self.point(name, place))

    def press(self, name: str, end: str, *keys: str) -> None:
        """Keys on the `lower` or `upper` end of an axis."""
        self.axis(name).locator(f".pc-{end}").focus()
        for key in keys:
            self.page.keyboard.press(key)

    def settle(self) -> None:
        """Returns when all is drawn and no axis moves any more."""
        self.page.evaluate("""async () => {
            const frame = () => new Promise(requestAnimationFrame);
            await frame();
            await frame();
            await Promise.allSettled(document.getAnimations().map((each) => each.finished));
            await frame();
            await frame();
        }""")

    def ends(self, name: str) -> tuple[float, float]:
        """The numbers at the ends of the brush, as a screen reader tells them."""
        low, high = (
            self.axis(name).locator(f".pc-{end}").get_attribute("aria-valuenow")
            for end in ("lower", "upper")
        )
        return float(low or "nan"), float(high or "nan")

    def rows(self) -> list[list[str]]:
        """Every row of the table, met by scrolling through it."""
        script = """async () => {
            const host = document.querySelector(".pc-rows");
            const found = new Map();
            for (let top = 0; ; top += 200) {
                host.scrollTop = top;
                await new Promise(requestAnimationFrame);
                await new Promise(requestAnimationFrame);
                for (const row of host.querySelectorAll("tr[data-row]"))
                    found.set(Number(row.dataset.row),
                        [...row.cells].map((cell) => cell.textContent));
                if (top > host.scrollHeight) break;
            }
            host.scrollTop = 0;
            return [...found.keys()].sort((a, b) => a - b).map((row) => found.get(row));
        }"""
        rows: list[list[str]] = self.page.evaluate(script)
        return rows

    def ids(self) -> list[str]:
        """The runs in the table, from top to bottom."""
        return [row[1] for row in self.rows()]

    def card(self) -> str:
        return self.page.inner_text(".pc-card")


Open = Callable[..., Chart]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    program = shutil.which("chromium")
    if program is None:
        pytest.skip(MISSING)
    api = pytest.importorskip("playwright.sync_api", reason=MISSING)
    with api.sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox"]
        )  # root has no sandbox
        yield running
        running.close()


@pytest.fixture
def open_page(browser: Browser, tmp_path: Path) -> Iterator[Open]:
    """Opens runs as a page from a file; at the end no page may have complained or asked for
    anything else.
    """
    charts: list[Chart] = []

    def show(
        runs: pd.DataFrame,
        *,
        metric: str = METRIC,
        context: dict[str, Any] | None = None,
        **info: Any,
    ) -> Chart:
        path = tmp_path / f"page{len(charts)}.html"
        path.write_text(
            render_page(page_info(runs, metric, **{"grid": "study", **info})), encoding="utf-8"
        )
        page = browser.new_context(viewport=SIZE, **(context or {})).new_page()  # type: ignore[arg-type] # plain dicts
        charts.append(Chart(page))
        page.goto(path.as_uri())
        page.wait_for_selector(".pc-count:not(:empty)")
        return charts[-1]

    yield show

    for chart in charts:
        chart.page.context.close()
    assert [fault for chart in charts for fault in chart.faults] == []
    assert [
        url for chart in charts for url in chart.requests if not url.startswith(tmp_path.as_uri())
    ] == []


def _left(axis: Locator) -> float:
    box = axis.locator(".pc-rail").bounding_box()
    assert box
    return box["x"]
