from __future__ import annotations

import html
import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
import yaml

from analysis import report
from analysis.cli.arguments import select_loaded
from analysis.data.load import Runs, load
from analysis.effects.render import importance_rows
from analysis.reporting.blocks import Cells
from analysis.reporting.discussion import discussion_section
from analysis.reporting.effort import effort_section, planned_ids
from analysis.reporting.findings import Findings, LeftOut, Missing, find_out
from analysis.reporting.next_runs import advise, beyond, next_file, render_grid
from analysis.reporting.provenance import provenance_section
from analysis.reporting.render import render_html, render_markdown
from analysis.reporting.verdicts import fates_section
from analysis.results.caption import render_caption
from analysis.results.cells import make_text_table
from analysis.results.plan import Plan
from analysis.results.table import build_table
from analysis.text.tables import plain_cells
from anlp.core.errors import UserError
from anlp.records.cost import add_up
from anlp.records.elements import Element
from anlp.records.files import write_json, write_jsonl
from anlp.records.folders import GridFolder
from anlp.records.options import RunOptions
from anlp.tasks import make_spec
from jobs.gridfile import load_grid
from tests.support.run_folders import Grid

SECTIONS = (
    *("question", "effort", "results", "discussion", "parallel", "settings"),
    *("verdicts", "curves", "mistakes", "next", "provenance"),
)
HEAD = """\
# Does adam need a smaller rate
# than sgd?
#
#   python -m jobs.submit study.yaml

task: mnist
wandb: {mode: disabled}
"""


def curve(end: float, epochs: int = 12) -> list[dict[str, float]]:
    """Rises to `end` within the first third; chance throughout for an end at chance."""
    shares = [min(1.0, 3 * epoch / epochs) for epoch in range(epochs + 1)]
    return [
        {
            "epoch": k,
            "val/acc": 0.1 + (end - 0.1) * s,
            "train/loss": 2.3 - 2 * (end - 0.1) * s,
            "val/loss": 2.3 - s * end,
        }
        for k, s in enumerate(shares)
    ]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Grid:
    """sgd is best at 0.1, adam at 0.01; dropout does nothing; the largest lr of adam fails."""
    path = tmp_path_factory.mktemp("report") / "runs" / "study"
    path.mkdir(parents=True)
    grid = Grid(path)
    ends = {("sgd", 0.1): 0.95, ("sgd", 0.01): 0.8, ("sgd", 0.001): 0.5}
    ends |= {("adam", 0.1): 0.1, ("adam", 0.01): 0.97, ("adam", 0.001): 0.9}
    for (optimizer, lr), end in ends.items():
        for dropout in (0.0, 0.5):
            for seed in range(3):
                score = end + 0.001 * seed
                grid.add(
                    score,
                    seed=seed,
                    optimizer=optimizer,
                    lr=lr,
                    dropout=dropout,
                    epochs=12,
                    history=curve(score),
                )
    (path / "grid.yaml").write_text(HEAD)
    return grid


@pytest.fixture(scope="module")
def findings(study: Grid) -> Findings:
    return find_out(load(study.path), "study")


@pytest.fixture(scope="module")
def folder(study: Grid) -> Path:
    """A report as the command writes it."""
    return write(study, "first")


def write(study: Grid, name: str, *argv: str) -> Path:
    out = study.path.parent.parent / name
    assert report.main([str(study.path), "--out", str(out), *argv]) == 0
    return out


def files(folder: Path) -> dict[Path, bytes]:
    return {
        path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


@pytest.mark.slow
def test_the_page_and_its_markdown_have_every_section(folder: Path) -> None:
    page, text = (folder / "report.html").read_text(), (folder / "report.md").read_text()
    assert re.findall(r'<section id="([a-z]+)"', page) == list(SECTIONS)
    assert re.findall(r'<li><a href="#([a-z]+)"', page) == list(SECTIONS)
    assert len(re.findall(r"^## ", text, re.MULTILINE)) == len(SECTIONS)
    assert "Does adam need a smaller rate than sgd?" in page


@pytest.mark.slow
def test_the_same_runs_give_the_same_bytes(study: Grid, folder: Path) -> None:
    again = files(write(study, "again"))

    assert again == files(folder)
    assert len(again) > 8


def test_the_page_makes_no_request(folder: Path) -> None:
    page = (folder / "report.html").read_text()

    policy = html.unescape(re.findall(r'Content-Security-Policy" content="([^"]*)"', page)[0])
    assert policy.startswith("default-src 'none'; img-src data:; script-src 'sha256-")
    assert re.findall(r"""(?:src|href)=["'](?!#|data:)[^"']*""", page) == []
    assert not re.search(r"@import|url\(\s*['\"]?http", page)


def test_every_figure_of_the_markdown_lies_beside_it(folder: Path) -> None:
    names = re.findall(r"\]\((figures/[^)]+)\)", (folder / "report.md").read_text())
    assert {
        "figures/parallel.svg",
        "figures/curves.svg",
        "figures/divergent.svg",
        "figures/sweep.csv",
    } <= set(names)
    assert [name for name in names if not (folder / name).is_file()] == []


@pytest.mark.slow
def test_tables_are_those_of_the_commands(folder: Path, findings: Findings) -> None:
    page, text = (folder / "report.html").read_text(), (folder / "report.md").read_text()
    table = build_table(findings.runs, Plan(top=12), "study")

    for cell in (c.text for line in make_text_table(table).lines for c in line if "±" in c.text):
        assert cell in page
        assert cell in text
    assert html.escape(render_caption(table)) in page
    assert not isinstance(findings.importance, Missing)
    for row in importance_rows(findings.importance):
        assert f"{100 * row['total']:.1f} %" in page


def test_the_discussion_has_its_numbers_from_the_runs(findings: Findings) -> None:
    text = str(discussion_section(findings))

    assert (
        "Best lr for each optimizer, by mean val/acc: optimizer=adam "
        "at 0.01 (97.100 %), optimizer=sgd at 0.1" in text
    )
    assert "dropout hardly matters: 0.0 % of the variance" in text
    assert "30 of 36 runs (83 %) learned and kept what they learned; 6 did not." in text


def test_the_next_grid_can_be_submitted(study: Grid, findings: Findings) -> None:
    path = study.path.parent / "study-next.yaml"
    path.write_text(render_grid(advise(findings), findings))

    grid = load_grid(path)

    runs = list(grid.runs())
    assert len(runs) == advise(findings).n_runs
    assert min(spec.seed for spec in runs) == 3
    assert {spec.run_id for spec in runs}.isdisjoint(findings.runs["run_id"])
    assert yaml.safe_load(path.read_text())["wandb"] == {"mode": "disabled"}


def test_an_axis_whose_best_is_at_its_end_is_extended(grid: Grid) -> None:
    for lr, score in ((0.001, 0.5), (0.01, 0.7), (0.1, 0.9)):
        grid.add_seeds([score, score + 0.01, score - 0.01], lr=lr)
    found = find_out(load(grid.path), "study")

    points = [point for proposal in advise(found).proposals for point in proposal.points]

    assert {1.0, 10.0} <= {point.get("lr") for point in points}


def test_an_axis_is_not_extended_to_what_its_task_refuses(grid: Grid) -> None:
    for dropout, score in ((0.0, 0.5), (0.6, 0.9)):
        grid.add_seeds([score, score + 0.01, score - 0.01], dropout=dropout)
    found = find_out(load(grid.path), "study")

    assert [
        proposal for proposal in advise(found).proposals if proposal.reason.startswith("dropout")
    ] == []


def test_runs_that_still_improve_are_to_train_longer(grid: Grid) -> None:
    rising = [
        {"epoch": k, "val/acc": 0.1 + 0.07 * k, "train/loss": 2.3 - 0.18 * k} for k in range(13)
    ]
    for lr in (0.1, 0.01):
        grid.add(0.94, lr=lr, epochs=12, history=rising)
    found = find_out(load(grid.path), "study")

    longer = [
        proposal for proposal in advise(found).proposals if "still improving" in proposal.reason
    ]

    assert [point["epochs"] for proposal in longer for point in proposal.points] == [24]


def test_of_runs_too_short_to_judge_nothing_is_said(grid: Grid) -> None:
    for lr in (0.1, 0.01):
        grid.add(
            0.94,
            lr=lr,
            epochs=2,
            history=[{"epoch": k, "val/acc": 0.3 * k, "train/loss": 1.0} for k in range(3)],
        )

    said = str(fates_section(find_out(load(grid.path), "study")))

    assert "No run can be judged: a verdict takes at least 8 epochs" in said
    assert not [
        text for text in ("failed to learn", "convergent runs", "Share of the runs") if text in said
    ]


@pytest.mark.slow
def test_another_metric_is_reported_on_request(study: Grid) -> None:
    page = (write(study, "other", "--report", "val/acc") / "report.html").read_text()

    assert "val/acc in % on the val set" in page


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["nothing"], "nothing: no such grid in"),
        (
            ["study", "--select", "val/ac"],
            "--select: metric 'val/ac' is unknown (did you mean 'val/acc'?",
        ),
        (
            ["study", "--out", "grid.txt"],
            "cannot be written: grid.txt: File exists; move away what has this name",
        ),
    ],
)
def test_what_a_person_can_put_right_is_one_sentence(
    grid: Grid, monkeypatch: pytest.MonkeyPatch, argv: Sequence[str], sentence: str
) -> None:
    monkeypatch.chdir(grid.path.parent.parent)
    grid.add(0.9)
    Path("grid.txt").write_text("a file")

    with pytest.raises(UserError, match=re.escape(sentence)):
        report.main(argv)


@pytest.mark.slow
def test_a_report_in_the_grids_folder_is_no_run(grid: Grid) -> None:
    grid.add(0.9)
    report.main([str(grid.path)])

    again = load(grid.path)

    assert (grid.path / "report" / "report.html").is_file()
    assert again.notes == ()
    assert len(again.runs) == 1


def test_cost_is_that_of_the_attempts(grid: Grid) -> None:
    folder = grid.add(0.9)
    form = json.loads(folder.result.read_text())
    spent = {"since": 0.0, "ended": 3600.0, "batch": "b"}
    attempts = [{**spent, "ending": "killed"}, {**spent, "ending": "done", "cpu_s": 1800.0}]
    form["provenance"] = {"spent": attempts, "host": "n7", "peak_rss_mib": 100.0}
    write_json(folder.result, form)
    asked = {"gpus": 1, "cpus": 2, "nodes": 1}
    write_jsonl(GridFolder(grid.path).journal, [{"event": "intent", "tag": "b", "each": asked}])
    findings = find_out(load(grid.path), "study")

    cost = add_up(findings.usages, findings.shares)

    assert (cost.run_hours, cost.gpu_hours, cost.cpu_hours, cost.lost_hours) == (2.0, 2.0, 4.0, 1.0)
    assert (cost.used_cpu_hours, cost.cpu_efficiency) == (0.5, 0.25)
    assert "n7 (1)" in str(provenance_section(findings))


def test_a_filter_leaves_runs_out_everywhere_and_says_how_many(grid: Grid) -> None:
    for optimizer, score in (("adam", 0.9), ("sgd", 0.5)):
        for seed in range(3):
            grid.add(score, seed=seed, optimizer=optimizer, epochs=12, history=curve(score))
    killed = make_spec("mnist", {"optimizer": "sgd", "lr": 0.3}, 0)
    waiting = [make_spec("mnist", {"optimizer": name, "lr": 0.3}, 7) for name in ("adam", "sgd")]
    lines = [Element((spec,), RunOptions(batch="b")).to_json() for spec in (*waiting, killed)]
    GridFolder(grid.path).batches.mkdir()
    write_jsonl(GridFolder(grid.path).batches / "1.jsonl", lines)
    loaded = load(grid.path)
    chosen = select_loaded(loaded, "optimizer=adam")

    found = find_out(chosen, "g", left_out=LeftOut("optimizer=adam", 3))
    document = report.build_document(found, advise(found), "")
    text = render_markdown(document)

    assert len(found.usages) == len(found.origins) == len(found.runs) == 3
    assert set(chosen.history["run_id"]) == set(found.runs["run_id"])
    assert planned_ids(grid.path, "optimizer=adam") == {waiting[0].run_id}
    assert (
        "3 runs of 1 configurations. "
        "Only runs with optimizer=adam are in this report: 3 of 6 are left out." in text
    )
    assert "Of the 3 runs that ended." in text
    assert "sgd" not in text
    assert "python -m analysis.convergence g --all --only optimizer=adam" in text


def test_the_command_takes_a_filter(study: Grid) -> None:
    text = (write(study, "filtered", "--only", "optimizer=adam lr<0.1") / "report.md").read_text()

    assert "12 runs of 4 configurations." in text
    assert (
        r"Only runs with optimizer=adam lr\<0.1 are in this report: 24 of 36 are left out." in text
    )
    assert "Nothing was confirmed yet" not in text


def test_runs_that_were_submitted_and_never_began_are_counted(grid: Grid) -> None:
    grid.add(0.9)
    (grid.path / "batches").mkdir()
    write_jsonl(
        grid.path / "batches" / "1.jsonl",
        [Element((make_spec("mnist", {}, 7),), RunOptions()).to_json()],
    )
    findings = find_out(load(grid.path), "study")

    section = effort_section(findings)
    tables = [block.sheet for block in section.blocks if isinstance(block, Cells)]
    assert plain_cells(("submitted and not begun", "1")) in tables[0].lines


ODD = [
    "数据集",
    "x" * 300,
    "$a_1$ % & # \\ {",
    "a\nb",
    "",
    "🙂",
    "<script>alert(1)</script>",
    "![a](http://evil)",
    "| - # *",
]


@pytest.mark.slow
def test_commands_to_paste_are_safe_and_show_what_the_page_shows(grid: Grid) -> None:
    for lr in (0.1, 0.01):
        for seed in range(3):
            losses = {"val/loss": lr + seed / 100, "test/loss": lr + seed / 100}
            grid.add(0.9 - lr, seed=seed, lr=lr, metrics=losses, history=curve(0.9))
    address = "$(touch here); it's"
    found = find_out(load(grid.path), address, select="val/loss")

    text = render_markdown(report.build_document(found, advise(found), ""))

    commands = [shlex.split(line) for line in text.splitlines() if line.startswith("python -m")]
    assert [
        "python",
        "-m",
        "analysis.tables",
        address,
        "--select",
        "val/loss",
        "--report",
        "test/loss",
    ] in commands
    assert ["python", "-m", "analysis.convergence", address, "--all"] in commands
    assert "study.yaml --confirm 2 --seeds 5 --select val/loss repeats" in text


@pytest.mark.parametrize("name", ["a b<c>&$(x)", "数据", "-x", "y" * 200])
def test_the_next_grid_has_a_name_that_submit_takes(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "runs" / name
    folder.mkdir(parents=True)
    one = Grid(folder)
    for lr in (0.1, 0.01):
        one.add_seeds([0.9, 0.91, 0.92], lr=lr, history=curve(0.9))
    found = find_out(load(folder), name)

    path = tmp_path / next_file(name)
    path.write_text(render_grid(advise(found), found))

    assert len(list(load_grid(path).runs())) > 0


@pytest.mark.slow
def test_hostile_names_are_text_in_both_formats(tmp_path: Path) -> None:
    common = {"task": "odd", "purpose": "search", "seed": 0, "outcome": "ok"}
    rows = [
        {
            "run_id": f"r{i}",
            "config_id": f"c{i}",
            **common,
            "name": name,
            "val/acc": i / 10,
            "test/acc": i / 10,
        }
        for i, name in enumerate(ODD)
    ]
    history = [
        {"run_id": f"r{i}", "epoch": e, "val/acc": e / 2} for i in range(len(ODD)) for e in range(2)
    ]
    loaded = Runs(
        tmp_path / "<b>数据",
        pd.DataFrame(rows),
        pd.DataFrame(history),
        ("a note with <i>tags</i>",),
    )
    found = find_out(loaded, "<b>数据")

    document = report.build_document(found, advise(found), "")

    page, text = render_html(document), render_markdown(document)
    assert "<script>alert" not in page
    assert "<b>数据" not in page
    assert "<i>tags" not in page
    assert "![a](http" not in text
    assert not re.search(r"(?<!\\)<script>alert", text)


@pytest.mark.parametrize(
    ("levels", "way", "expected"),
    [
        ([0.001, 0.01, 0.1], 1, [1.0, 10.0]),
        ([0.001, 0.01, 0.1], -1, [0.0001, 0.00001]),
        ([0.0, 0.1, 0.3], 1, [0.5, 0.7]),
        ([16, 64, 256], 1, [1024, 4096]),
        ([1, 6], 1, [12, 24]),
        ([0.1, 0.5], -1, [-0.3, -0.7]),
        ([0, 2], 1, [4, 6]),
    ],
)
def test_the_next_values_of_an_axis_go_on_as_it_does(
    levels: list[float], way: int, expected: list[float]
) -> None:
    assert beyond(levels, way) == pytest.approx(expected)
