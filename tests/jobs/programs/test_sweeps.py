"""Sweep files of wandb become grid files of the same meaning, or are refused in sentences."""

from __future__ import annotations

import math
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml

from anlp.core.errors import SpecError
from jobs.config.yaml_tree import Faults, parse_yaml
from jobs.gridfile.sampling import DRAWS, ROWS, draw_numbers, row_values, stream
from jobs.programs.sweep_parameters import _DISTRIBUTIONS
from jobs.programs.sweeps import grid_of_sweep, is_sweep
from jobs.programs.yaml_text import yaml_scalar

SWEEP = """\
program: train.py
method: random
name: My first sweep!
description: |
  Which optimizer?
project: digits
entity: team
run_cap: 30
metric: {name: val/loss, goal: minimize, target: 0.1}
early_terminate: {type: hyperband, min_iter: 3}
command: ["${env}", "${interpreter}", "-u", "${program}", "${args_no_hyphens}"]
parameters:
  epochs: {value: 10}
  optimizer: {values: [adam, sgd]}
  dropout: {values: [0.1, 0.5], probabilities: [0.7, 0.3]}
  lr: {distribution: log_uniform_values, min: 1e-5, max: 0.1}
  layers: {min: 1, max: 4}
  momentum: {min: 0, max: 0.9}
  width: {distribution: q_log_uniform_values, min: 8, max: 256, q: 8}
  model:
    parameters:
      depth: {values: [2, 4]}
      norm: {value: null}
"""


def translate(content: str, path: Path = Path("sweep.yaml"), **options: Any) -> dict[str, Any]:
    """The grid file as YAML has it; our own YAML takes 1e-05 as a number, too."""
    text = grid_of_sweep(textwrap.dedent(content), path, **options)
    faults = Faults(path)
    assert parse_yaml(text, faults) is not None
    assert not faults.found
    loaded: dict[str, Any] = yaml.safe_load(text.replace("1e-05", "0.00001"))
    return loaded


def faults_of(content: str) -> tuple[str, ...]:
    with pytest.raises(SpecError) as refused:
        grid_of_sweep(textwrap.dedent(content), Path("sweep.yaml"))
    return refused.value.faults


def test_a_whole_sweep_becomes_a_whole_grid_file() -> None:
    assert grid_of_sweep(SWEEP, Path("sweep.yaml")) == textwrap.dedent("""\
        # The grid of sweep.yaml, a sweep of wandb.
        # Which optimizer?
        # early_terminate is left out: every run here trains to its end. Instead, draw more points
        #   with fewer epochs, and repeat the best with --confirm
        # metric.target is left out: all runs of a grid are executed
        # model: nested parameters are settings with a dot, passed as --model.NAME VALUE; wandb
        #   passes one dictionary
        # name: My first sweep!
        program: train.py
        command: ["${env}", "${interpreter}", "-u", "${program}", "${args_no_hyphens}"]
        name: My-first-sweep
        fixed:
          epochs: 10
          model.norm: None
        random:
          samples: 30
          optimizer: {choice: [adam, sgd]}
          dropout: {choice: [0.1, 0.5], weights: [0.7, 0.3]}
          lr: {loguniform: [1e-05, 0.1]}
          layers: {int: [1, 4]}
          momentum: {uniform: [0, 0.9]}
          width: {qloguniform: [8, 256, 8]}
          model.depth: {choice: [2, 4]}
        metrics: {select: val/loss, goal: minimize}
        wandb: {project: digits, entity: team}
        """)


def test_a_grid_search_has_the_values_that_wandb_tries() -> None:
    found = translate("""\
        program: train.py
        method: grid
        metric: {name: accuracy, goal: maximize}
        parameters:
          lr: {values: [0.1, 0.01]}
          layers: {min: 2, max: 4}
          dropout: {distribution: q_uniform, min: 0, max: 0.5, q: 0.25}
          seed: {values: [0, 1, 2]}
          command_line: {value: "a b: c"}
        """)

    assert found == {
        "program": "train.py",
        "fixed": {"command_line": "a b: c"},
        "grid": {
            "lr": [0.1, 0.01],
            "layers": {"range": [2, 5]},
            "dropout": {"range": [0, 0.5, 0.25]},
        },
        "seeds": [0, 1, 2],
        "metrics": {"select": "accuracy", "goal": "maximize"},
    }
    assert row_values("range", found["grid"]["layers"]["range"]) == [2, 3, 4]
    assert row_values("range", found["grid"]["dropout"]["range"]) == [0, 0.25]  # as numpy.arange
    assert ROWS["range"].fault(found["grid"]["dropout"]["range"]) is None


# wandb's distribution, its keys, and the draw of the same meaning.
DISTRIBUTIONS = [
    ("uniform", "min: 0, max: 2", {"uniform": [0, 2]}),
    ("int_uniform", "min: 0, max: 2", {"int": [0, 2]}),
    ("q_uniform", "min: 0, max: 2, q: 0.5", {"quniform": [0, 2, 0.5]}),
    ("q_uniform", "min: 0, max: 2", {"quniform": [0, 2, 1]}),
    ("log_uniform", "min: -2, max: 0", {"loguniform": [0.135335283237, 1.0]}),
    ("log_uniform_values", "min: 0.1, max: 1", {"loguniform": [0.1, 1]}),
    ("inv_log_uniform", "min: 0, max: 2", {"loguniform": [0.135335283237, 1.0]}),
    ("inv_log_uniform_values", "min: 0.1, max: 1", {"loguniform": [0.1, 1]}),
    ("q_log_uniform", "min: 0, max: 5, q: 2", {"qloguniform": [1.0, 148.413159103, 2]}),
    ("q_log_uniform_values", "min: 1, max: 99", {"qloguniform": [1, 99, 1]}),
    ("normal", "mu: 1, sigma: 2", {"normal": [1, 2]}),
    ("normal", "", {"normal": [0, 1]}),
    ("q_normal", "q: 0.5", {"qnormal": [0, 1, 0.5]}),
    ("log_normal", "mu: -3", {"lognormal": [-3, 1]}),
    ("q_log_normal", "sigma: 2", {"qlognormal": [0, 2, 1]}),
    ("beta", "a: 2", {"beta": [2, 1]}),
    ("q_beta", "a: 2, b: 3, q: 0.1", {"qbeta": [2, 3, 0.1]}),
]


@pytest.mark.parametrize(("distribution", "keys", "draw"), DISTRIBUTIONS)
def test_distributions_have_a_draw_of_the_same_meaning(
    distribution: str, keys: str, draw: dict[str, Any]
) -> None:
    listed = ", ".join([f"distribution: {distribution}", *filter(None, [keys])])
    found = translate(
        f"program: t.py\nmethod: random\nrun_cap: 5\nparameters: {{x: {{{listed}}}}}\n"
    )

    assert found["random"] == {"samples": 5, "x": draw}
    ((rule, arguments),) = draw.items()
    assert len(arguments) in DRAWS[rule].counts
    assert DRAWS[rule].fault(arguments) is None
    assert len(draw_numbers(rule, arguments, 5, stream(0, "x"), whole=False)) == 5


def test_every_distribution_of_wandb_is_tried() -> None:
    assert {name for name, *_ in DISTRIBUTIONS} == set(_DISTRIBUTIONS)


def test_exponents_are_said() -> None:
    text = grid_of_sweep(
        "program: t.py\nmethod: random\nrun_cap: 5\n"
        "parameters: {lr: {distribution: log_uniform, min: -9.2103, max: -2.3026}}\n",
        Path("sweep.yaml"),
    )

    assert "so the values are from 0.000100004 to 0.0999985" in text.replace("\n#  ", "")
    assert math.isclose(math.exp(-9.2103), 0.000100004, rel_tol=1e-4)


def test_values_that_are_no_scalars_are_the_text_that_wandb_passes() -> None:
    found = translate("""\
        program: t.py
        method: grid
        parameters:
          hidden: {values: [[64, 64], [128], null]}
          options: {value: {a: 1, b: [x]}}
        """)

    assert found["grid"]["hidden"] == ["[64, 64]", "[128]", "None"]
    assert found["fixed"]["options"] == "{'a': 1, 'b': ['x']}"


def test_seeds_of_a_random_search_are_run_for_each_point() -> None:
    sweep = """\
        program: t.py
        method: random
        run_cap: 20
        parameters: {lr: {min: 0.1, max: 1}, seed: {values: [1, 2, 3]}}
        """

    found = translate(sweep)

    assert found["random"]["samples"] == 6
    assert found["seeds"] == [1, 2, 3]
    assert "6 x 3 = 18 runs" in grid_of_sweep(textwrap.dedent(sweep), Path("s.yaml"))


def test_a_seed_that_is_drawn_is_one_seed() -> None:
    sweep = """\
        program: t.py
        method: random
        parameters: {lr: {min: 0.1, max: 1}, seed: {min: 0, max: 9}}
        """

    assert "seeds" not in translate(sweep, samples=3)
    assert "every point has the seed 0" in grid_of_sweep(
        textwrap.dedent(sweep), Path("s.yaml"), samples=3
    )


def test_the_usual_command_is_left_out_and_a_program_is_found_in_it() -> None:
    usual = translate("""\
        command: ["${env}", "${interpreter}", "${program}", "${args}"]
        program: train.py
        method: grid
        parameters: {lr: {values: [1]}}
        """)
    own = translate("""\
        command: [torchrun, --nproc-per-node, 2, train.py, "${args}"]
        method: grid
        parameters: {lr: {values: [1]}}
        """)

    assert "command" not in usual
    assert own["program"] == "train.py"
    assert own["command"] == ["torchrun", "--nproc-per-node", "2", "${program}", "${args}"]


def test_a_program_that_is_named_from_the_working_folder_is_named_from_the_sweep_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").touch()
    sweep = "program: train.py\nmethod: grid\nparameters: {lr: {values: [1]}}"

    assert translate(sweep, Path("sweeps/a.yaml"))["program"] == "../train.py"
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps/train.py").touch()
    assert translate(sweep, Path("sweeps/a.yaml"))["program"] == "train.py"


def test_only_files_with_a_method_and_parameters_are_sweeps() -> None:
    assert is_sweep(parse_yaml(SWEEP, Faults("sweep.yaml")))
    assert is_sweep({"method": "grid", "parameters": {}})
    assert not is_sweep(parse_yaml("task: mnist\ngrid: {lr: [1]}", Faults("a.yaml")))
    assert not is_sweep({"parameters": {}})
    assert not is_sweep(None)


HEAD = "program: t.py\nmethod: random\nrun_cap: 5\nparameters:\n  "


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("", "sweep.yaml:1: expected a sweep with program, method and parameters, got an empty f"),
        ("- 1", "sweep.yaml:1: expected a sweep with program, method and parameters, got a list"),
        (
            "program: t.py\nmethod: bayes\nparameters: {x: {values: [1]}}",
            "sweep.yaml:2: method: bayes chooses a point by the results of earlier runs, and the "
            "runs of a grid are submitted together; use method: random with run_cap: as many "
            "points, drawn at once",
        ),
        (
            "program: t.py\nmethod: gird\nparameters: {x: {values: [1]}}",
            "sweep.yaml:2: method: expected one of grid, random, bayes, got 'gird' (did you mean "
            "'grid'?)",
        ),
        (
            "program: t.py\nmethod: random\nparameters: {x: {min: 1, max: 2}}",
            "sweep.yaml:2: method: random needs the number of points: write run_cap: 50 (wandb "
            "would draw until it is stopped)",
        ),
        (
            "program: t.py\nmethod: grid\nrun_cap: 3\nparameters: {x: {values: [1, 2, 3, 4]}}",
            "sweep.yaml:3: run_cap: the grid has 4 combinations, and all of them would run; list "
            "fewer values, or use method: random to draw 3 points",
        ),
        (
            "program: t.py\nmethod: grid\nparameters: {x: {min: 0.1, max: 1}}",
            "sweep.yaml:3: parameters.x: method: grid needs values, a whole min and max, or "
            "q_uniform; draws need method: random",
        ),
        ("method: grid\nparameters: {x: {values: [1]}}", "sweep.yaml:1: expected the key 'program"),
        ("program: t.py\nparameters: {x: {values: [1]}}", "sweep.yaml:1: expected the key 'method"),
        (
            "program: t.py\nmethod: grid\nparameters: [1]",
            "sweep.yaml:3: parameters: expected parameters such as lr: {values: [0.1, 0.01]}, got "
            "a list",
        ),
        (
            "program: t.py\nprograms: t.py\nmethod: grid\nparameters: {x: {values: [1]}}",
            "sweep.yaml:2: unknown key 'programs' (did you mean 'program'? known: command, ",
        ),
        (
            "program: t.py\nmethod: grid\nmetric: {name: a, gaol: minimize}\n"
            "parameters: {x: {values: [1]}}",
            "sweep.yaml:3: metric: unknown key 'gaol' (did you mean 'goal'? known: ",
        ),
        (
            "program: t.py\nmethod: grid\nmetric: loss\nparameters: {x: {values: [1]}}",
            "sweep.yaml:3: metric: expected a mapping such as {name: val_loss, goal: minimize}, "
            "got 'loss'",
        ),
        (
            "program: t.py\nmethod: grid\nmetric: {name: a, goal: minimise}\n"
            "parameters: {x: {values: [1]}}",
            "sweep.yaml:3: metric.goal: expected one of minimize, maximize, got 'minimise' (did "
            "you mean 'minimize'?)",
        ),
        (
            "program: t.py\nmethod: grid\ncommand: python t.py\nparameters: {x: {values: [1]}}",
            "sweep.yaml:3: command: expected a list of words",
        ),
        (
            "program: t.py\nmethod: grid\nparameters:\n  seed: {values: [a]}",
            "sweep.yaml:4: parameters.seed: expected at most 1,000 seeds that are whole numbers",
        ),
        (
            HEAD + "x: 3",
            "sweep.yaml:5: parameters.x: expected a mapping such as {values: [1, 2]} or {min: "
            "0.1, max: 1}, got 3",
        ),
        (HEAD + "x: {vals: [1]}", "parameters.x: unknown key 'vals' (did you mean 'values'?"),
        (HEAD + "x: {}", "parameters.x: expected value, values, min and max, or a distribution"),
        (HEAD + "x: {values: []}", "parameters.x.values: expected a list of values, got a list"),
        (HEAD + "x: {min: 1}", "parameters.x: expected the key 'max'"),
        (HEAD + "x: {min: 2, max: 1}", "parameters.x: expected min < max, got 2 and 1"),
        (HEAD + "x: {min: a, max: 1}", "parameters.x.min: expected a number, got 'a'"),
        (HEAD + "x: {min: 1, max: 2, q: 1}", "parameters.x: unknown key 'q' ("),
        (
            HEAD + "x: {distribution: lognormal, mu: 1}",
            "parameters.x.distribution: expected the name of a distribution, got 'lognormal' (did "
            "you mean 'log_normal'?)",
        ),
        (
            HEAD + "x: {distribution: log_uniform, min: 1, max: 1000}",
            "parameters.x: min and max of log_uniform are exponents of e; for the values "
            "themselves use log_uniform_values",
        ),
        (
            HEAD + "x: {values: [1, 2], probabilities: [1]}",
            "parameters.x.probabilities: expected 2 probabilities, one for each value, got a list",
        ),
        (
            HEAD + "x: {parameters: {y: {values: [1]}}, min: 1}",
            "parameters.x: unknown key 'min' (known: parameters)",
        ),
        (
            HEAD + "x.y: {values: [1]}\n  x: {parameters:\n    {y: {values: [2]}}}",
            "sweep.yaml:7: parameters.x.parameters.y: x.y is also given on line 5; keep one of",
        ),
    ],
)
def test_mistakes_are_one_sentence_with_their_line(content: str, fault: str) -> None:
    found = faults_of(content)

    assert len(found) == 1
    assert fault in found[0]


def test_all_faults_are_told_at_once_in_the_order_of_their_lines() -> None:
    found = faults_of("method: bayes\nfoo: 1\nparameters:\n  x: 1\n  y: {min: 3, max: 1}\n")

    assert [fault.split(": ")[0] for fault in found] == [
        "sweep.yaml:1",
        "sweep.yaml:1",
        "sweep.yaml:2",
        "sweep.yaml:4",
        "sweep.yaml:5",
    ]


@pytest.mark.parametrize(
    "value",
    [
        "plain",
        "1e-5",
        "true",
        "null",
        "",
        "a: b",
        "#x",
        "[1]",
        "${x}",
        "ä",
        "*a",
        "- a",
        "'",
        "a\nb",
    ],
)
def test_text_stays_text(value: str) -> None:
    tree = parse_yaml(f"x: [{yaml_scalar(value)}]", Faults("x"))

    assert tree.entries["x"].tree.items[0].value == value  # type: ignore[union-attr]  # it is a list in a table
