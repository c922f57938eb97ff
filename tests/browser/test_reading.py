from __future__ import annotations

from itertools import pairwise

import pandas as pd
import pytest

from benchmarks.web_page import made_runs
from tests.support.browser import METRIC, Open

pytestmark = pytest.mark.slow

LABEL = "val/acc [%]"
HOSTILE = "</script><img src=x onerror=alert(1)>"
CONTRAST = 4.5
# The lowest contrast of any text with what lies behind it, by the formula of WCAG 2.
LOWEST_CONTRAST = """() => {
  const rgba = (text) => [...text.match(/[\\d.]+/g).map(Number), 1].slice(0, 4);
  const light = (rgb) => rgb.slice(0, 3).map((part) => part / 255)
    .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
    .reduce((sum, part, i) => sum + part * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const found = getComputedStyle(at).backgroundColor;
      if (found.startsWith("rgb") && rgba(found)[3] === 1) return found;
    }
    return "rgb(255, 255, 255)";
  };
  const found = [];
  for (const element of document.querySelectorAll(".pc *")) {
    const isText = [...element.childNodes].some(
      (node) => node.nodeType === 3 && node.textContent.trim());
    if (!isText || ["SCRIPT", "NOSCRIPT"].includes(element.tagName)) continue;
    if (!element.checkVisibility()) continue;
    const [a, b] = [getComputedStyle(element).color, behind(element)].map(
      (text) => light(rgba(text)));
    found.push([(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05),
      `${element.tagName} ${element.className}`]);
  }
  return found.sort((a, b) => a[0] - b[0])[0];
}"""


@pytest.fixture(scope="module")
def runs() -> pd.DataFrame:
    return made_runs(120)


def test_hover_shows_the_run_under_the_pointer_and_its_commands(open_page: Open) -> None:
    few = made_runs(6, seed=1).assign(outcome="ok", **{METRIC: [0.1, 0.2, 0.4, 0.6, 0.8, 0.9]})
    chart = open_page(few)

    for run, score in zip(few.to_dict("records"), few[METRIC], strict=True):
        x, y = chart.point(LABEL, (score - 0.1) / 0.8)
        chart.page.mouse.move(x - 1, y)
        assert f"Run {run['run_id']}" in chart.card()
        assert chart.page.inner_text(".pc-tip") == f"{run['run_id']}  {LABEL} {100 * score:.3f}"
        assert f"python -m jobs.explain study {run['run_id']}" in chart.card()
        assert f"--only id={run['run_id']}" in chart.card()
        assert str(run["model"]) in chart.card()


def test_a_click_keeps_a_run_and_selects_its_row(open_page: Open) -> None:
    few = made_runs(6, seed=1).assign(outcome="ok", **{METRIC: [0.1, 0.2, 0.4, 0.6, 0.8, 0.9]})
    chart = open_page(few)
    kept = few["run_id"][2]

    x, y = chart.point(LABEL, 0.3 / 0.8)
    chart.page.mouse.click(x - 25, y)  # beside the axis, on the line
    chart.page.mouse.move(5, 5)

    if f"Run {kept}" not in chart.card():  # the line is steep: it was missed there
        chart.page.click(f"tr[data-row] td:text-is('{kept}')")
        chart.page.mouse.move(5, 5)
    assert f"Run {kept}" in chart.card()
    assert kept in chart.page.inner_text("tr[aria-selected=true]")
    assert "kept" in chart.card()


def test_a_command_is_copied_or_at_least_selected(open_page: Open, runs: pd.DataFrame) -> None:
    chart = open_page(runs)

    chart.page.click(".pc-card button >> nth=0")
    chart.page.wait_for_selector(".pc-card button:text-matches('Copied|Press')")

    said = chart.page.inner_text(".pc-card button >> nth=0")
    selected = chart.page.evaluate("String(getSelection())")
    assert said == "Copied" or (
        said == "Press Ctrl+C" and selected.startswith("python -m jobs.explain study ")
    )


def test_axes_move_by_keyboard_and_by_their_titles(open_page: Open, runs: pd.DataFrame) -> None:
    chart = open_page(runs)
    assert chart.axes[:3] == ["lr", "weight_decay", "model"]
    chart.click("lr", 0.5)
    chosen = chart.ids()

    chart.press("lr", "upper", "Shift+ArrowRight")
    chart.settle()
    assert chart.axes[:3] == ["weight_decay", "lr", "model"]
    chart.page.keyboard.press("Shift+ArrowRight")  # the focus went along
    chart.settle()
    assert chart.axes[:3] == ["weight_decay", "model", "lr"]

    box = chart.axis(LABEL).locator(".pc-title").bounding_box()
    assert box
    chart.page.mouse.move(box["x"] + 20, box["y"] + box["height"] - 5)
    chart.page.mouse.down()
    chart.page.mouse.move(60, box["y"] + 20, steps=8)
    chart.page.mouse.up()
    chart.settle()
    assert chart.axes[:2] == [LABEL, "weight_decay"]
    assert chart.ids() == chosen


def test_hover_finds_the_run_after_its_axis_was_moved(open_page: Open) -> None:
    few = made_runs(4, seed=2).assign(outcome="ok", **{METRIC: [0.1, 0.4, 0.6, 0.9]})
    chart = open_page(few)

    chart.press(LABEL, "upper", "Shift+ArrowLeft", "Shift+ArrowLeft")
    chart.settle()
    x, y = chart.point(LABEL, 0.5 / 0.8)
    chart.page.mouse.move(x - 1, y)

    assert f"Run {few['run_id'][2]}" in chart.card()


def test_columns_sort_both_ways_with_missing_values_last(
    open_page: Open, runs: pd.DataFrame
) -> None:
    chart = open_page(runs)
    filters = runs.set_index("run_id")["filters"]

    for direction, is_ascending in (("ascending", True), ("descending", False)):
        chart.page.click("th button:text-is('filters')")
        found = filters[chart.ids()]
        expected = filters.sort_values(ascending=is_ascending, na_position="last")
        assert found.fillna(-1).tolist() == expected.fillna(-1).tolist()
        assert (
            chart.page.get_attribute("th:has(button:text-is('filters'))", "aria-sort") == direction
        )


def test_only_rows_in_sight_exist_and_keys_reach_every_run(open_page: Open) -> None:
    chart = open_page(made_runs(3_000))

    chart.page.focus("table")
    chart.page.keyboard.press("End")
    chart.settle()

    assert chart.page.locator("tr[data-row]").count() < 40
    assert chart.page.get_attribute("table", "aria-rowcount") == "3001"
    last = chart.page.locator("tr.pc-active")
    assert last.get_attribute("aria-rowindex") == "3001"
    chart.page.keyboard.press("Enter")
    assert f"Run {last.locator('td').nth(1).inner_text()}" in chart.card()
    assert last.get_attribute("aria-selected") == "true"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_follows_the_system_and_its_button_and_stays_readable(
    open_page: Open, runs: pd.DataFrame, scheme: str
) -> None:
    chart = open_page(runs, context={"color_scheme": scheme}, bound=0.5, bound_name="baseline")
    paper = "getComputedStyle(document.body).backgroundColor"
    dark, light = "rgb(20, 22, 26)", "rgb(255, 255, 255)"
    chart.drag(LABEL, 0.2, 0.7)

    assert chart.page.evaluate(paper) == (dark if scheme == "dark" else light)
    lowest, where = chart.page.evaluate(LOWEST_CONTRAST)
    assert lowest >= CONTRAST, where
    chart.page.click(".pc-theme")
    assert chart.page.evaluate(paper) == (light if scheme == "dark" else dark)
    lowest, where = chart.page.evaluate(LOWEST_CONTRAST)
    assert lowest >= CONTRAST, where


@pytest.mark.parametrize(("wish", "seconds"), [("no-preference", "0.18s"), ("reduce", "0s")])
def test_nothing_glides_for_who_asked_for_less_motion(
    open_page: Open, runs: pd.DataFrame, wish: str, seconds: str
) -> None:
    chart = open_page(runs, context={"reduced_motion": wish})

    chart.press("lr", "upper", "Shift+ArrowRight")

    moves = "getComputedStyle(document.querySelector('.pc-axis')).transitionDuration"
    assert chart.page.evaluate(moves) == seconds


def test_hostile_names_are_text(open_page: Open, runs: pd.DataFrame) -> None:
    evil = runs.rename(columns={METRIC: f"a/{HOSTILE}"}).assign(model=HOSTILE + runs["model"])
    evil["'\"& <b>bold"] = runs["seed"]

    chart = open_page(evil, metric=f"a/{HOSTILE}", grid=HOSTILE)

    assert chart.page.locator("img, b").count() == 0
    assert chart.page.inner_text("h2") == HOSTILE
    assert chart.page.title().startswith(HOSTILE)
    assert f"'{HOSTILE}'" in chart.card()
    assert HOSTILE in chart.rows()[0][5]
    assert {f"a/{HOSTILE}", "'\"& <b>bold"} <= set(chart.axes)


def test_the_page_may_not_ask_the_network_for_anything(open_page: Open, runs: pd.DataFrame) -> None:
    chart = open_page(runs)
    asked = """() => new Promise((done) => {
        document.addEventListener("securitypolicyviolation",
            (event) => done(event.effectiveDirective));
        fetch("http://127.0.0.1:9/").catch(() => {});
    })"""

    assert chart.page.evaluate(asked) == "connect-src"
    assert len(chart.requests) == 1
    assert "Content Security Policy" in chart.faults[0]
    chart.faults.clear()


@pytest.mark.parametrize("count", [1, 2])
def test_a_run_alone_and_equal_scores_are_drawn(open_page: Open, count: int) -> None:
    few = made_runs(count).assign(outcome="ok", **{METRIC: 0.5})

    chart = open_page(few)

    assert chart.count == f"{count} shown / {count} total"
    assert chart.axes[-1] == LABEL


def test_runs_without_any_score_are_all_dashed(open_page: Open) -> None:
    none = made_runs(20).assign(outcome="failed", **{METRIC: float("nan")})

    chart = open_page(none)

    assert chart.count == "20 shown / 20 total"
    assert chart.page.is_visible(".pc-lost")
    assert not open_page(made_runs(20).assign(outcome="ok", **{METRIC: 0.5})).page.is_visible(
        ".pc-lost"
    )


def test_where_there_are_many_axes_the_chart_scrolls_and_titles_stay_apart(open_page: Open) -> None:
    wide = made_runs(30)
    for number in range(12):
        wide[f"a_setting_with_a_rather_long_name_{number}"] = wide["lr"] * (number + 1)

    chart = open_page(wide)

    boxes = [
        axis.locator(".pc-title").bounding_box() for axis in chart.page.locator(".pc-axis").all()
    ]
    lefts = sorted((box["x"], box["x"] + box["width"]) for box in boxes if box)
    assert len(lefts) == 20
    assert all(left[1] <= right[0] for left, right in pairwise(lefts))
    assert chart.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
