from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis import parallel
from analysis.plots.parallel import JITTER
from analysis.plots.scale import BELOW
from analysis.web.page import component_script, render_component, render_page, script_json
from analysis.web.selection import page_form, page_info
from anlp.core.errors import UserError
from anlp.records.results import Outcome
from benchmarks.web_page import made_runs
from tests.support.run_folders import Grid

MIB = 2**20
HOSTILE = '</script><img src=x onerror="alert(1)">'


def form_of(runs: pd.DataFrame, metric: str = "val/acc", **info: Any) -> dict[str, Any]:
    """The form as the page reads it."""
    form: dict[str, Any] = json.loads(
        json.dumps(page_form(page_info(runs, metric, **info)), allow_nan=False)
    )
    return form


def column_of(form: dict[str, Any], name: str) -> dict[str, Any]:
    return next(column for column in form["columns"] if column["name"] == name)


def codes_of(column: dict[str, Any]) -> list[int]:
    return [int(code) for code in np.frombuffer(base64.b64decode(column["codes"]), dtype="<u2")]


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_runs_without_a_score_come_first_then_the_worst_and_the_best_last(grid: Grid) -> None:
    for score, lr in [(0.9, 0.1), (0.99, 0.01), (0.5, 0.001)]:
        grid.add(score, lr=lr)
    grid.add(outcome=Outcome.DIVERGED, lr=1.0)
    grid.add(outcome=None, lr=2.0)

    info = page_info(grid.frame(), "val/acc")

    scores = next(column.values for column in info.columns if column.name == "val/acc")
    assert scores == (None, None, 0.5, 0.9, 0.99)
    assert set(next(column.values for column in info.columns if column.name == "outcome")[:2]) == {
        "diverged",
        "unfinished",
    }


def test_a_score_of_a_run_that_diverged_is_none(grid: Grid) -> None:
    grid.add(0.9, lr=0.1)
    grid.add(0.99, lr=1.0, outcome=Outcome.DIVERGED)

    assert page_info(grid.frame(), "val/acc").columns[-3].values == (None, 0.9)


def test_axes_are_the_settings_that_vary_and_the_metric_last(grid: Grid) -> None:
    grid.add(0.9, lr=0.1, model="cnn")
    grid.add(0.8, lr=0.01, model="dense")

    form = form_of(grid.frame())

    assert [column["label"] for column in form["columns"] if column["isAxis"]] == [
        "lr",
        "model",
        "val/acc [%]",
    ]
    assert dict(map(tuple, form["common"]))["optimizer"] == "adam"


def test_the_seed_is_an_axis_where_nothing_else_varies(grid: Grid) -> None:
    grid.add_seeds([0.9, 0.8])

    assert [column["name"] for column in form_of(grid.frame())["columns"] if column["isAxis"]] == [
        "seed",
        "val/acc",
    ]


def test_few_values_are_codes_in_their_order_and_many_are_bytes() -> None:
    runs = made_runs(400)
    ordered = runs.set_index("run_id").loc[list(page_info(runs, "val/acc").run_ids)]

    form = form_of(runs)

    rate, decay = column_of(form, "lr"), column_of(form, "weight_decay")
    assert rate["texts"] == ["1e-05", "0.0001", "0.001", "0.01", "0.1"]
    assert [rate["levels"][code] for code in codes_of(rate)] == ordered["lr"].tolist()
    assert rate["hasLevels"]
    values = np.frombuffer(base64.b64decode(decay["values"]), dtype="<f8")
    assert values.tolist() == ordered["weight_decay"].tolist()
    assert not decay["hasLevels"]
    assert decay["range"] == [
        ordered["weight_decay"][ordered["weight_decay"] > 0].min(),
        ordered["weight_decay"].max(),
    ]


def test_missing_values_are_a_level_of_their_own_below_the_axis() -> None:
    filters = column_of(form_of(made_runs(100)), "filters")

    assert filters["texts"] == ["16", "32", "64", "–"]
    assert filters["places"][-1] == BELOW
    assert filters["levels"][-1] is None


def test_run_ids_are_packed_where_they_are_the_suites_own() -> None:
    runs = made_runs(3)

    ids = form_of(runs)["ids"]

    assert base64.b64decode(ids).hex() == "".join(page_info(runs, "val/acc").run_ids)
    assert form_of(runs.assign(run_id=["a", "b", HOSTILE]))["ids"][-1] in {"a", "b", HOSTILE}


def test_the_data_of_ten_thousand_runs_stay_below_a_mebibyte() -> None:
    runs = made_runs(10_000)
    for name in ("lr", "dropout", "batch_size"):  # a random search: four of eight axes are continua
        runs[name] = np.random.default_rng(0).random(len(runs))

    data = json.dumps(form_of(runs), separators=(",", ":"))

    assert len(data) < MIB
    assert len(render_page(page_info(runs, "val/acc"))) - len(data) < 100_000


@pytest.mark.parametrize(("theme", "rises"), [("light", False), ("dark", True)])
def test_the_best_stands_out_against_the_paper_and_every_rank_reads_in_grey(
    theme: str, rises: bool
) -> None:
    shades = form_of(made_runs(5))["shades"][theme]

    steps = [after - before for before, after in pairwise(map(luminance, shades))]
    assert all(step > 0 for step in steps) if rises else all(step < 0 for step in steps)


def test_the_scripts_place_values_as_the_static_chart_does() -> None:
    script = component_script()

    assert f"const BELOW = {BELOW};" in script
    assert f"const JITTER = {JITTER};" in script


def test_the_policy_allows_the_pages_own_script_and_style_and_nothing_else() -> None:
    page = render_page(page_info(made_runs(5), "val/acc"))

    found = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert found
    policy = dict(part.split(" ", 1) for part in found[1].split("; "))
    for name, tag in (("script-src", "script"), ("style-src", "style")):
        content = page.rpartition(f"<{tag}>")[2].partition(f"</{tag}>")[0]
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert policy.pop(name) == f"'sha256-{digest}'"
    assert policy == {"default-src": "'none'", "base-uri": "'none'", "form-action": "'none'"}
    assert not re.search(r"""(src|href)=["'](?!#)|https?:|url\(|@import| style=""", page)


def test_names_stay_inside_what_surrounds_them() -> None:
    runs = made_runs(5).rename(columns={"val/acc": f"a/{HOSTILE}"}).assign(model=HOSTILE)

    component = render_component(page_info(runs, f"a/{HOSTILE}", grid=HOSTILE), "one")

    assert "<img" not in component
    assert component.count("</script>") == 1
    assert html.escape(HOSTILE) in component
    assert json.loads(script_json(json.dumps(HOSTILE))) == HOSTILE


def test_two_components_share_one_script() -> None:
    info = page_info(made_runs(5), "val/acc")

    both = render_component(info, "a") + render_component(info, "b")

    assert re.findall(r'<section class="pc" id="(\w+)"', both) == ["a", "b"]
    assert both.count("<script>") == 0


def test_the_command_writes_a_page_beside_the_runs_and_says_where(
    grid: Grid, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(grid.path.parent.parent)
    grid.add(0.9, lr=0.1)
    grid.add(0.05, lr=1.0)

    assert parallel.main(["study", "--html"]) == 0
    assert capsys.readouterr().out == "runs/study/study-parallel.html\n"
    page = (grid.path / "study-parallel.html").read_text()
    assert "baseline (11.35 %)" in page
    assert '"startsBetter":false' in page
    assert parallel.main(["study", "--html", "--above", "0.5", "-o", "out/some.html"]) == 0
    assert '"boundText":"50 %","startsBetter":true' in Path("out/some.html").read_text()


def test_mistakes_of_a_page_are_one_sentence(grid: Grid, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(grid.path.parent.parent)
    grid.add(0.9, lr=0.1)

    with pytest.raises(
        UserError, match=r"chart.png: --html writes a page, expected a file that ends in .html"
    ):
        parallel.main(["study", "--html", "-o", "chart.png"])
    with pytest.raises(UserError, match="cannot be written"):
        parallel.main(["study", "--html", "-o", "/dev/null/page.html"])


def test_axes_stand_in_the_order_asked_for_and_others_come_before(grid: Grid) -> None:
    for lr, dropout, model in product([0.1, 0.01], [0.0, 0.5], ["cnn", "dense"]):
        grid.add(0.9 + lr, lr=lr, dropout=dropout, model=model)

    info = page_info(grid.frame(), "val/acc", order=["model", "lr"])

    assert [column.name for column in info.columns if column.is_axis] == [
        "dropout",
        "model",
        "lr",
        "val/acc",
    ]


def test_numbers_are_read_with_six_digits_and_kept_with_all_of_them() -> None:
    rates = [10 ** (-k / 3) for k in (1, 2, 4)]
    form = _rates_form(rates)

    assert form["texts"] == ["0.0464159", "0.215443", "0.464159"]
    assert form["levels"] == sorted(rates)
    assert _rates_form([0.1, 0.100000001])["texts"] == ["0.1", "0.100000001"]


def _rates_form(rates: list[float]) -> dict[str, Any]:
    """The column lr of the page of runs with these rates."""
    ids = [f"{number:012x}" for number in range(len(rates))]
    runs = pd.DataFrame({"run_id": ids, "seed": 0, "outcome": "ok", "lr": rates, "val/acc": rates})
    column: dict[str, Any] = page_form(page_info(runs, "val/acc"))["columns"][0]
    return column
