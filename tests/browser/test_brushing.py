from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from analysis.cli.arguments import select_runs
from benchmarks.web_page import drag_frames, made_runs, our_axis
from tests.support.browser import METRIC, Open

if TYPE_CHECKING:
    from playwright.sync_api import CDPSession

pytestmark = pytest.mark.slow

LABEL = "val/acc [%]"
FRAME_MS = 60  # processor time, of which a third is used


@pytest.fixture(scope="module")
def runs() -> pd.DataFrame:
    return made_runs(250)


def test_all_runs_are_shown_the_best_first_and_those_without_a_score_last(
    open_page: Open, runs: pd.DataFrame
) -> None:
    chart = open_page(runs)

    rows = chart.rows()

    by_id = runs.set_index("run_id")[METRIC]
    scores = by_id[[row[1] for row in rows]]
    assert chart.count == "250 shown / 250 total"
    assert len(rows) == 250
    assert scores.isna().sum() == runs[METRIC].isna().sum() > 0
    assert scores.dropna().is_monotonic_decreasing
    assert scores.isna().tolist() == sorted(scores.isna())
    assert [row[2] for row in rows][:3] == [f"{100 * score:.3f}" for score in scores[:3]]


def test_a_brush_leaves_exactly_the_runs_in_its_range(open_page: Open, runs: pd.DataFrame) -> None:
    chart = open_page(runs)

    chart.drag(LABEL, 0.35, 0.8)

    low, high = chart.ends(LABEL)
    span = runs[METRIC].max() - runs[METRIC].min()
    expected = runs[runs[METRIC].between(low, high)]
    assert low == pytest.approx(runs[METRIC].min() + 0.35 * span, abs=0.01 * span)
    assert high == pytest.approx(runs[METRIC].min() + 0.8 * span, abs=0.01 * span)
    assert set(chart.ids()) == set(expected["run_id"])
    assert chart.count == f"{len(expected)} shown / 250 total"


def test_a_brush_on_a_logarithmic_axis_and_its_zeros_below(
    open_page: Open, runs: pd.DataFrame
) -> None:
    chart = open_page(runs)
    decay = runs["weight_decay"]

    chart.drag("weight_decay", 0.5, 1.05)

    low, high = chart.ends("weight_decay")
    assert high == decay.max()
    assert low == pytest.approx((decay[decay > 0].min() * decay.max()) ** 0.5, rel=0.1)
    assert set(chart.ids()) == set(runs.loc[decay >= low, "run_id"])

    chart.press("weight_decay", "lower", "Escape")
    chart.click("weight_decay", -0.09)

    assert set(chart.ids()) == set(runs.loc[decay == 0, "run_id"])
    chart.page.click(".pc-all")
    chart.drag("weight_decay", 0.5, -0.09)
    assert set(chart.ids()) == set(runs.loc[decay <= chart.ends("weight_decay")[1], "run_id"])


def test_two_brushes_intersect_and_escape_and_all_clear_them(
    open_page: Open, runs: pd.DataFrame
) -> None:
    chart = open_page(runs)

    chart.click("model", 0.5)
    assert set(chart.ids()) == set(runs.loc[runs["model"] == "dense", "run_id"])
    chart.drag(LABEL, 0.5, 1.1)

    low, _ = chart.ends(LABEL)
    both = runs[(runs["model"] == "dense") & (runs[METRIC] >= low)]
    assert set(chart.ids()) == set(both["run_id"])
    chart.press("model", "upper", "Escape")
    assert set(chart.ids()) == set(runs.loc[runs[METRIC] >= low, "run_id"])
    chart.page.click(".pc-all")
    assert chart.count == "250 shown / 250 total"


def test_dragging_over_levels_takes_all_of_them(open_page: Open, runs: pd.DataFrame) -> None:
    chart = open_page(runs)

    chart.drag("lr", 0.2, 0.6)  # nearest to 1e-4 (0.25) and 1e-3 (0.5)

    assert set(chart.ids()) == set(runs.loc[runs["lr"].isin([1e-4, 1e-3]), "run_id"])


def test_a_brush_moves_with_its_middle_and_grows_with_its_end(
    open_page: Open, runs: pd.DataFrame
) -> None:
    chart = open_page(runs)
    span = runs[METRIC].max() - runs[METRIC].min()
    chart.drag(LABEL, 0.3, 0.5)
    before = chart.ends(LABEL)

    chart.drag(LABEL, 0.4, 0.6)
    moved = chart.ends(LABEL)
    box = chart.axis(LABEL).locator(".pc-upper").bounding_box()
    assert box
    chart.page.mouse.move(box["x"] + 9, box["y"] + 10)
    chart.page.mouse.down()
    chart.page.mouse.move(*chart.point(LABEL, 0.9), steps=3)
    chart.page.mouse.up()

    assert [new - old for new, old in zip(moved, before, strict=True)] == pytest.approx(
        [0.2 * span] * 2, abs=0.01
    )
    assert chart.ends(LABEL)[0] == moved[0]
    assert chart.ends(LABEL)[1] > moved[1]


def test_keys_move_the_ends_of_a_brush(open_page: Open, runs: pd.DataFrame) -> None:
    chart = open_page(runs)

    chart.press("lr", "upper", "ArrowDown", "ArrowDown")
    chart.press("lr", "lower", "ArrowUp")
    assert set(chart.ids()) == set(runs.loc[runs["lr"].isin([1e-4, 1e-3]), "run_id"])
    chart.press("lr", "lower", "Home")
    assert set(chart.ids()) == set(runs.loc[runs["lr"] <= 1e-3, "run_id"])
    chart.press("lr", "upper", "Escape")
    chart.press(LABEL, "lower", *["PageUp"] * 5)

    low, _ = chart.ends(LABEL)
    assert low == pytest.approx(
        runs[METRIC].min() + 0.49 * (runs[METRIC].max() - runs[METRIC].min()), abs=1e-6
    )
    assert set(chart.ids()) == set(runs.loc[runs[METRIC] >= low, "run_id"])


def test_a_finger_brushes_as_a_mouse_does(open_page: Open, runs: pd.DataFrame) -> None:
    chart = open_page(runs, context={"has_touch": True})
    session = chart.page.context.new_cdp_session(chart.page)

    for kind, place in [
        ("touchStart", 0.5),
        ("touchMove", 0.8),
        ("touchMove", 1.05),
        ("touchEnd", None),
    ]:
        points = [] if place is None else [dict(zip("xy", chart.point(LABEL, place), strict=True))]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    low, high = chart.ends(LABEL)
    assert high == runs[METRIC].max()
    assert set(chart.ids()) == set(runs.loc[runs[METRIC] >= low, "run_id"])
    assert len(chart.ids()) < 250


def test_better_than_a_bound_is_strict_and_on_the_same_axes(
    open_page: Open, runs: pd.DataFrame
) -> None:
    bound = float(runs[METRIC].dropna().sort_values().iloc[100])
    chart = open_page(runs, bound=bound, bound_name="baseline")

    chart.page.click(".pc-better")

    assert set(chart.ids()) == set(runs.loc[runs[METRIC] > bound, "run_id"])
    assert chart.page.get_attribute(".pc-better", "aria-pressed") == "true"
    assert open_page(runs, bound=bound, starts_better=True).ids() == chart.ids()
    assert open_page(runs, bound=2.0, starts_better=True).page.is_disabled(".pc-better")


def test_of_a_loss_the_low_ones_are_better(open_page: Open, runs: pd.DataFrame) -> None:
    losses = runs.assign(**{"val/loss": 1 - runs[METRIC]})
    chart = open_page(losses, metric="val/loss", bound=0.1)

    chart.page.click(".pc-better")

    ids = chart.ids()
    assert set(ids) == set(losses.loc[losses["val/loss"] < 0.1, "run_id"])
    assert losses.set_index("run_id")["val/loss"][ids].is_monotonic_increasing


def test_the_filter_of_a_selection_selects_the_same_runs_in_every_command(
    open_page: Open, runs: pd.DataFrame
) -> None:
    lettered = runs.assign(model=runs["model"].replace({"dense": "it's, a model"}))
    chart = open_page(lettered)

    chart.drag("model", 0.0, 0.5)
    chart.drag("weight_decay", 0.2, 0.9)
    chart.drag(LABEL, 0.2, 0.7)

    command = chart.page.inner_text(".pc-filter code")
    found = re.fullmatch(r"--only '(.*)'", command.replace("""'"'"'""", "\0"))
    assert found
    chosen = select_runs(lettered, found[1].replace("\0", "'"))
    assert set(chart.ids()) == set(chosen["run_id"])
    assert 0 < len(chosen) < 100


def test_a_selection_that_no_filter_can_say_is_not_given_one(
    open_page: Open, runs: pd.DataFrame
) -> None:
    chart = open_page(runs)

    chart.click("filters", -0.09)

    assert set(chart.ids()) == set(runs.loc[runs["filters"].isna(), "run_id"])
    assert "no filter names these values of filters" in chart.page.inner_text(".pc-filter")


def test_a_brush_on_ten_thousand_runs_keeps_up_with_the_pointer(open_page: Open) -> None:
    runs = made_runs(10_000)
    chart = open_page(runs)
    session = chart.page.context.new_cdp_session(chart.page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    before = busy_ms(session)
    frames = drag_frames(chart.page, *our_axis(chart.page))
    took = busy_ms(session) - before

    low, high = chart.ends(LABEL)
    assert chart.count == f"{runs[METRIC].between(low, high).sum():,} shown / 10,000 total"
    assert len(frames) > 10
    assert took / len(frames) < FRAME_MS


def busy_ms(session: CDPSession) -> float:
    """Processor time of the page's main thread, which other processes do not lengthen."""
    metrics = {
        each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]
    }
    return 1000 * float(metrics["TaskDuration"])
