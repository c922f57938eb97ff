from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from analysis.results import cells
from analysis.results.caption import render_caption
from analysis.results.plan import Plan
from analysis.results.render import (
    RENDERERS,
    render_csv,
    render_html,
    render_json,
    render_latex,
    render_markdown,
    render_text,
)
from analysis.results.rows import Row
from analysis.results.table import Table
from analysis.results.ties import Ties
from analysis.stats.intervals import mean_interval
from analysis.text.escape import escape_markdown
from analysis.text.levels import render_level
from analysis.text.metrics import render_value
from analysis.text.tables import (
    Cell,
    TextTable,
    html_parts,
    latex_lines,
    markdown_lines,
    text_lines,
)

NASTY = r"50%_a&b #1 $x$ {c} ~d ^e \f <g> |h| *i* 数据 ﷽"
SCORES = (0.97, 0.98, 0.99)


@pytest.fixture
def table() -> Table:
    best = Row(
        (NASTY, 0.1),
        SCORES,
        3,
        0.98,
        0.01,
        mean_interval(SCORES),
        0.975,
        "search",
        "abc",
        is_best=True,
    )
    other = replace(
        best, levels=("b", None), scores=(0.9,), mean=0.9, sd=None, interval=None, is_best=False
    )
    baseline = Row((None, None), (), 0, 0.1, name="random")
    return Table(
        "study", Plan(), ("name", "lr"), (best, other, baseline), 2, 6, {"failed": 2}, 10_000
    )


def test_text_is_aligned_and_stars_the_best(table: Table) -> None:
    lines = render_text(replace(table, rows=table.rows[1:])).splitlines()

    assert lines[0].split() == ["name", "lr", "n", "mean", "val/acc", "[%]", "test/acc", "[%]"]
    assert lines[2].split() == ["b", "–", "1/3", "seeds", "97.500", "90.000"]
    assert lines[2].index("90.000") == lines[4].index("10.000")
    assert [line for line in render_text(table).splitlines() if line.endswith(" *")]


def test_bold_text_has_terminal_codes_and_no_star(table: Table) -> None:
    text = render_text(table, bold=True)

    assert text.count("\x1b[1m") == text.count("\x1b[0m") == 1
    assert "*: best" not in text


def test_markdown_escapes_pipes_and_keeps_its_columns(table: Table) -> None:
    lines = render_markdown(table).splitlines()

    assert r"\|h\|" in lines[2]
    assert r"\*i\*" in lines[2]
    assert "**98.000 ± 2.484**" in lines[2]
    assert {line.replace(r"\|", "").count("|") for line in lines[:5]} == {6}


def test_ties_are_marked_in_every_format(table: Table) -> None:
    tied = replace(
        table, rows=(table.rows[0], replace(table.rows[1], is_tied=True), *table.rows[2:])
    )

    assert [line.split()[-2:] for line in render_text(tied).splitlines() if "†" in line] == [
        ["90.000", "†"]
    ]
    assert "| 90.000 † |" in render_markdown(tied)
    assert r"90.000$^\dagger$ \\" in render_latex(tied)
    assert "90.000<sup>†</sup>" in render_html(tied)
    assert [row["mark"] for row in csv.DictReader(io.StringIO(render_csv(tied)))] == [
        "best",
        "tied",
        "",
    ]


def test_csv_has_raw_numbers(table: Table) -> None:
    first, second, baseline = csv.DictReader(io.StringIO(render_csv(table)))

    assert (first["name"], float(first["test/acc"]), int(first["n"])) == (NASTY, 0.98, 3)
    assert float(first["lo"]) == mean_interval(SCORES).low
    assert (second["lr"], second["lo"], second["n_total"]) == ("", "", "3")
    assert (baseline["row"], baseline["test/acc"]) == ("random", "0.1")


def test_json_has_the_caption_and_every_seed(table: Table) -> None:
    form = json.loads(render_json(table))

    assert form["rows"][0]["scores"] == list(SCORES)
    assert form["left_out"] == {"failed": 2}
    assert "2 of 6 runs left out" in form["caption"]


def test_latex_escapes_every_special_sign(table: Table) -> None:
    text = render_latex(table)

    assert (
        r"50\%\_a\&b \#1 \$x\$ \{c\} \textasciitilde{}d \textasciicircum{}e \textbackslash{}f "
        r"\textless{}g\textgreater{} \textbar{}h\textbar{}" in text
    )
    assert r"\textbf{98.000 $\pm$ 2.484} \\" in text
    assert [text.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 2, 1]


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("pdflatex") is None, reason="needs pdflatex: apt install texlive-latex-recommended"
)
def test_latex_compiles(table: Table, tmp_path: Path) -> None:
    ascii_only = replace(table.rows[0], levels=(NASTY.encode("ascii", "ignore").decode(), 0.1))
    tied = replace(table.rows[1], is_tied=True)
    body = render_latex(
        replace(
            table, rows=(ascii_only, tied, *table.rows[2:]), ties=(Ties("welch", 79, None, ()),)
        )
    )
    page = (
        rf"\documentclass{{article}}\usepackage{{booktabs}}\begin{{document}}{body}\end{{document}}"
    )
    (tmp_path / "table.tex").write_text(page)

    subprocess.run(
        ["pdflatex", "-halt-on-error", "table.tex"], cwd=tmp_path, check=True, capture_output=True
    )


def test_html_is_one_page_with_everything_escaped(table: Table) -> None:
    cells: list[str] = []

    class Cells(HTMLParser):
        def handle_data(self, data: str) -> None:
            cells.append(data)

    text = render_html(table)
    Cells().feed(text)

    assert NASTY in cells
    assert "http" not in text
    assert "<b>98.000 ± 2.484</b>" in text
    assert text.count("<tr") == 4


@pytest.mark.parametrize("form", RENDERERS)
def test_the_same_table_renders_to_the_same_text(table: Table, form: str) -> None:
    assert RENDERERS[form](table) == RENDERERS[form](table)


@pytest.mark.parametrize("form", RENDERERS)
def test_a_table_with_nothing_varying_renders(table: Table, form: str) -> None:
    rows = tuple(replace(row, levels=()) for row in table.rows)

    assert "98" in RENDERERS[form](replace(table, settings=(), rows=rows))


@pytest.mark.parametrize(
    ("level", "text"),
    [
        *[(0.1, "0.1"), (1e-05, "1e-05"), (16.0, "16"), (0.1234567891, "0.1234567891")],
        *[
            (0.30000000000000004, "0.3"),
            (True, "true"),
            ("a\nb", "a b"),
            (None, "–"),
            (float("nan"), "–"),
        ],
    ],
)
def test_levels_are_written_as_people_write_them(level: object, text: str) -> None:
    assert render_level(level) == text


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        *[
            ("test/acc", 0.98027, "98.027"),
            ("val/macro_f1", 1.0, "100.000"),
            ("val/loss", 0.068712, "0.06871"),
        ],
        *[
            ("val/loss", 123.456, "123.5"),
            ("val/loss", 0.0, "0.000"),
            ("val/loss", 1.5e-9, "1.500e-09"),
        ],
    ],
)
def test_accuracies_are_percent_and_losses_have_four_digits(
    metric: str, value: float, text: str
) -> None:
    assert render_value(metric, value) == text


@pytest.mark.parametrize("form", ["text", "md"])
def test_the_caption_is_wrapped_and_says_the_same(table: Table, form: str) -> None:
    rendered = RENDERERS[form](table)

    caption = rendered.rpartition("\n\n")[2].rstrip("\n")
    assert max(map(len, caption.splitlines())) <= 100
    whole = (
        escape_markdown(render_caption(table))
        if form == "md"
        else f"{render_caption(table)} *: best."
    )
    assert " ".join(caption.split()) == whole


def test_no_line_of_a_wrapped_caption_begins_a_list(table: Table) -> None:
    for width in range(1, 60):
        filter_text = "x" * width + " 1. - + # 12) 7."
        text = render_markdown(replace(table, plan=replace(table.plan, only=filter_text)))
        paragraph = text.partition("\n\n")[2].splitlines()
        assert not [line for line in paragraph if re.match(r"(\d+[.)]|[-+#=]+)(\s|$)", line)]


def test_a_new_column_is_one_entry(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    column = cells.Column(
        "seeds asked for",
        lambda line: line.row.n_total,
        cells.Printed("asked", lambda line: Cell(str(line.row.n_total)), place=9),
    )
    monkeypatch.setattr(cells, "COLUMNS", (*cells.COLUMNS, column))

    assert render_csv(table).splitlines()[0].endswith(",seeds asked for")
    assert json.loads(render_json(table))["rows"][0]["seeds asked for"] == 3
    assert render_markdown(table).splitlines()[0].endswith("| asked |")


def test_marks_belong_to_cells_in_every_format() -> None:
    lines = ((Cell("a|b"), Cell("1", "best")), (Cell("c"), Cell("2", "tied")))
    table = TextTable(("name", "score"), (False, True), lines, frozenset({1}))

    assert text_lines(table)[2:] == ["a|b       1 *", "─" * 13, "c         2 †"]
    assert markdown_lines(table)[2:] == [r"| a\|b | **1** |", "| c | 2 † |"]
    assert latex_lines(table)[4:7] == [
        r"a\textbar{}b & \textbf{1} \\",
        r"\midrule",
        r"c & 2$^\dagger$ \\",
    ]
    assert html_parts(table, scopes=True)[1].splitlines() == [
        '<tr><th scope="row" class=text>a|b</th><td><b>1</b></td></tr>',
        '<tr class=rule><th scope="row" class=text>c</th><td>2<sup>†</sup></td></tr>',
    ]
