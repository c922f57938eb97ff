"""A grid file of the user's own program or function: what it may say, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from anlp.core.errors import SpecError
from anlp.core.spec import RunSpec
from anlp.tasks import spec_from_json
from jobs.gridfile import GridSpec, load_grid

PROGRAM = """
import argparse

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.01)
parser.add_argument("--model", choices=["small", "large"], default="small")
parser.add_argument("--batch-size", type=int, default=64)
parser.add_argument("--fast", action="store_true")
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()
"""
FUNCTION = '''
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Gt

import torch_is_not_imported_here


@dataclass
class Settings:
    """What may vary."""

    epochs: int
    lr: Annotated[float, Gt(0)] = 1e-3
    model: Literal["small", "large"] = "small"


def train(settings: Settings, run):
    pass
'''


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "train.py").write_text(PROGRAM)
    (tmp_path / "study.py").write_text(FUNCTION)
    (tmp_path / "run.sh").write_text("#!/bin/sh\n")
    (tmp_path / "run.sh").chmod(0o755)
    return tmp_path


def grid(project: Path, text: str, overrides: Sequence[str] = ()) -> GridSpec:
    (project / "mine.yaml").write_text(text)
    return load_grid(project / "mine.yaml", overrides=overrides)


def runs(project: Path, text: str, overrides: Sequence[str] = ()) -> list[RunSpec]:
    return list(grid(project, text, overrides).runs())


def faults(project: Path, text: str) -> list[str]:
    with pytest.raises(SpecError) as raised:
        list(grid(project, text).runs())
    return [fault.removeprefix(f"{project}/mine.yaml:") for fault in raised.value.faults]


def test_a_program_is_a_grid_in_three_lines(project: Path) -> None:
    found = runs(
        project, "program: train.py\ngrid: {lr: [0.1, 0.01], model: [small, large]}\nseeds: 3"
    )

    assert len(found) == 12
    assert found[0].task == "program:train.py"
    assert found[0].settings.values() == {
        "lr": 0.1,
        "model": "small",
        "batch_size": 64,
        "fast": False,
    }


def test_writing_a_default_out_makes_no_other_run(project: Path) -> None:
    plain = runs(project, "program: train.py\ngrid: {lr: [0.1]}")
    spelled = runs(
        project, "program: train.py\nfixed: {batch-size: 64, fast: false}\ngrid: {lr: [0.1]}"
    )

    assert [run.run_id for run in plain] == [run.run_id for run in spelled]


def test_the_id_covers_program_command_and_settings(project: Path) -> None:
    base = runs(project, "program: train.py\nfixed: {lr: 0.1}")[0]
    (project / "other.py").write_text(PROGRAM)

    others = [
        runs(project, "program: train.py\nfixed: {lr: 0.2}")[0],
        runs(project, "program: other.py\nfixed: {lr: 0.1}")[0],
        runs(
            project,
            'program: train.py\nfixed: {lr: 0.1}\ncommand: [python, "${program}", x, "${args}"]',
        )[0],
    ]

    assert len({run.run_id for run in [base, *others]}) == 4


def test_the_id_does_not_cover_metrics_content_or_place(project: Path) -> None:
    base = runs(project, "program: train.py\nfixed: {lr: 0.1}")[0]
    (project / "train.py").write_text(PROGRAM + "# edited\n")
    (project / "grids").mkdir()
    (project / "grids" / "a.yaml").write_text(
        "program: ../train.py\nfixed: {lr: 0.1}\nsnapshot: none\n"
        "metrics: {select: val_acc, report: test_acc}"
    )

    again = next(load_grid(project / "grids" / "a.yaml").runs())

    assert again.run_id == base.run_id


def test_a_run_is_read_back_from_its_json_alone(project: Path) -> None:
    run = runs(project, "program: train.py\nfixed: {lr: 0.1, fast: true}")[0]

    assert spec_from_json(run.to_json()).run_id == run.run_id
    assert spec_from_json(run.to_json()).values == run.values


def test_unknown_names_wrong_types_and_choices_are_refused_with_their_line(project: Path) -> None:
    found = faults(
        project,
        "program: train.py\ngrid:\n  lr: [fast]\n  modle: [small]\n  model: [tiny]\n  fast: [1]",
    )

    assert found == [
        "3: grid.lr[0]: expected a number, got 'fast'",
        "4: grid: unknown setting 'modle' "
        "(did you mean 'model'? known: batch_size, fast, lr, model)",
        "5: grid.model[0]: expected one of small, large, got 'tiny'",
        "6: grid.fast[0]: expected true or false, got 1",
    ]


def test_names_of_the_suite_are_refused(project: Path) -> None:
    (project / "free.py").write_text("import sys; print(sys.argv)")

    assert faults(project, "program: free.py\nfixed: {task: x}") == [
        "2: fixed: 'task' is a name of the suite; pass it in `command` instead",
    ]


def test_settings_of_a_program_without_a_parser_are_those_of_the_grid(project: Path) -> None:
    (project / "free.py").write_text("import sys; print(sys.argv)")

    found = runs(project, "program: free.py\ngrid: {x: [1, 2.5, a], optimizer.lr: [1e-3]}")

    assert [run.settings.values()["x"] for run in found] == [1, 2.5, "a"]
    assert found[0].settings.values()["optimizer.lr"] == 0.001


def test_settings_can_be_declared_in_the_file(project: Path) -> None:
    text = (
        "program: run.sh\nsettings:\n  lr: {type: float, above: 0, default: 0.001}\n"
        "  model: {choices: [a, b]}\n  n: int\n"
    )

    found = runs(project, text + "fixed: {model: a, n: 3}")
    wrong = faults(project, text + "fixed: {lr: 0, model: c, m: 3}")

    assert found[0].settings.values() == {"lr": 0.001, "model": "a", "n": 3}
    assert faults(project, text + "fixed: {model: a}") == [
        "1: program: run.sh does not start without 'n'; give it under fixed or grid"
    ]
    assert [fault.partition(": ")[2] for fault in wrong] == [
        "fixed.lr: expected a number > 0, got 0",
        "fixed.model: expected one of a, b, got 'c'",
        "fixed: unknown setting 'm' (known: lr, model, n)",
    ]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("program: missing.py", "no such file (there: study.py, train.py)"),
        ("program: [a]", "expected a path or a command, got a list"),
        ("program: nonexistent-command-xyz", "no such file"),
        ("program: train.py\ncommand: python train.py", "no shell reads it"),
        ("program: train.py\ncommand: [python, 'x${args}']", "as a word of its own"),
        ("program: train.py\ncommand: [python, '${lrr}']", "unknown macro ${lrr}"),
        ("program: train.py\nsnapshot: git", "is in no git work tree; use files or none"),
        ("program: train.py\nsnapshot: gti", "did you mean 'git'?"),
        ("program: train.py\nworkdir: nowhere", "expected one of project, code, run or a folder"),
        ("program: train.py\nmetrics: {selects: a}", "did you mean 'select'?"),
        ("program: train.py\nmetrics: {goal: maximize}", "expected the key 'select' beside goal"),
        ("program: train.py\nresume: {exit_code: 0}", "a whole number from 1 to 125"),
        ("program: train.py\ntask: mnist", "keep one of task and program"),
        ("program: train.py\ninterpreter: /nowhere", "which cannot be executed"),
        ("task: study.py:nothing\nfixed: {epochs: 1}", "no function 'nothing' (it has: train)"),
        ("task: nowhere.py:train", "no such file"),
        ("task: study.py:train\nfixed: {lr: 0.1}", "does not start without 'epochs'"),
        ("task: study.py:train\nfixed: {epochs: 1, lr: -1}", "expected a number > 0, got -1"),
        ("task: study.py:train\ncommand: [x]", "unknown key 'command'"),
    ],
)
def test_a_mistake_is_one_clear_sentence(project: Path, text: str, wanted: str) -> None:
    found = faults(project, text)

    assert any(wanted in fault for fault in found), found


SWITCHES = """
import argparse

parser = argparse.ArgumentParser()
parser.add_argument("--amp", action="store_true", default=True)
parser.add_argument("--lr", type=float, default=0.01)
args = parser.parse_args()
"""


@pytest.mark.parametrize(
    "text",
    [
        "fixed:\n  amp: false",
        "grid:\n  amp: [true, false]",
        "settings: {amp: bool}\nfixed:\n  amp: false",
    ],
)
def test_a_value_that_a_switch_cannot_be_told_is_refused(project: Path, text: str) -> None:
    (project / "train.py").write_text(SWITCHES)

    (found,) = faults(project, f"program: train.py\n{text}")

    assert "amp" in found
    assert "(action='store_true') can only set amp to true, which is its default" in found
    assert found.startswith(("3: ", "4: "))


def test_such_a_value_is_refused_on_the_command_line_too(project: Path) -> None:
    (project / "train.py").write_text(SWITCHES)

    with pytest.raises(SpecError, match=r"^--set amp=false: --amp .* so false cannot be passed"):
        grid(project, "program: train.py\nfixed: {lr: 0.1}", ["amp=false"])


@pytest.mark.parametrize("word", ["amp=${amp}", "${args_no_hyphens}", "${args_json}"])
def test_a_command_that_passes_it_otherwise_takes_any_value(project: Path, word: str) -> None:
    (project / "train.py").write_text(SWITCHES)

    found = runs(project, f"program: train.py\ncommand: [x, '{word}']\nfixed: {{amp: false}}")

    assert found[0].settings.values()["amp"] is False


def test_a_default_of_the_file_that_is_not_the_programs_own_is_passed(project: Path) -> None:
    found = grid(
        project,
        "program: train.py\nsettings: {lr: {type: float, default: 0.5}, model: str}"
        "\nfixed: {model: small}",
    )

    assert found.program is not None
    assert found.program.program.defaults["lr"] == 0.01
    assert next(found.runs()).settings.values()["lr"] == 0.5


def test_variables_of_the_environment_are_macros(project: Path) -> None:
    command = "command: [python, '${program}', '--data=${envvar:DATA}', '${args}']"

    assert runs(project, f"program: train.py\n{command}\nfixed: {{lr: 0.1}}")
    assert faults(project, f"program: train.py\n{command.replace('DATA', 'MY DATA')}") == [
        "2: command: expected the name of a variable in ${envvar:NAME}, got ${envvar:MY DATA}"
    ]


SWEEP = """\
name: Which one?
method: grid
program: train.py
metric:
  name: val_acc
  goal: maximize
parameters:
  seed: {values: [1, 2]}
  lr:
    values: [0.1, 0.01]
  model: {value: small}
project: digits
"""


def test_a_sweep_of_wandb_is_the_grid_that_it_means(project: Path) -> None:
    found = grid(project, SWEEP)
    changed = grid(project, SWEEP, ["lr=0.5"])

    assert found.is_of_sweep
    assert (found.name, found.wandb.project) == ("Which-one", "digits")
    assert found.program is not None
    assert found.program.program.metrics.select == "val/acc"
    assert len(list(found.runs())) == 4
    assert {run.settings.values()["lr"] for run in changed.runs()} == {0.5}
    (project / "again.yaml").write_text(found.text)
    again = load_grid(project / "again.yaml")
    assert [run.run_id for run in again.runs()] == [run.run_id for run in found.runs()]


def test_faults_of_a_sweep_have_its_own_lines(project: Path) -> None:
    text = SWEEP.replace("0.01]", "slow]").replace("small", "huge").replace("lr:", "lrr:")

    assert faults(project, text) == [
        "9: grid: unknown setting 'lrr' (did you mean 'lr'? known: batch_size, fast, lr, model)",
        "11: fixed.model: expected one of small, large, got 'huge'",
    ]
    assert faults(project, SWEEP.replace("method: grid", "method: bayes"))[0].startswith(
        "2: method: bayes"
    )


HYDRA = """
import hydra


@hydra.main(version_base=None, config_path=".")
def main(config):
    pass


main()
"""


def test_a_program_whose_arguments_cannot_be_known_says_so(project: Path) -> None:
    def note(text: str) -> str:
        found = grid(project, f"program: free.py\n{text}").program
        assert found is not None
        return found.note

    (project / "free.py").write_text(HYDRA)
    assert note("").startswith("free.py is a Hydra app: use command: [python,")
    assert note("command: [python, '${program}', '${args_no_hyphens}']") == ""
    (project / "free.py").write_text("import sys; print(sys.argv)")
    assert note("") == "free.py reads sys.argv by hand"
    assert note("settings: {lr: float}\nfixed: {lr: 1}") == ""


def test_a_syntax_error_is_told_with_its_line(project: Path) -> None:
    (project / "broken.py").write_text("import os\nif True\n    pass\n")

    assert any("broken.py:2" in fault for fault in faults(project, "program: broken.py"))


def test_a_file_that_cannot_be_executed_is_refused(project: Path) -> None:
    (project / "run.sh").chmod(0o644)

    assert any("not executable" in fault for fault in faults(project, "program: run.sh"))


def test_a_function_is_read_without_importing_it(project: Path) -> None:
    found = runs(project, "task: study.py:train\nfixed: {epochs: 2}\ngrid: {model: [small, large]}")

    assert [run.task for run in found] == ["study.py:train"] * 2
    assert found[0].settings.values() == {"lr": 0.001, "model": "small", "epochs": 2}


def test_settings_over_the_file_are_typed_as_well(project: Path) -> None:
    found = runs(project, "program: train.py\nfixed: {lr: 0.1}", ["lr=0.5,0.25"])

    assert [run.settings.values()["lr"] for run in found] == [0.5, 0.25]
