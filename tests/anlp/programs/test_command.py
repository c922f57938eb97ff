"""The command of a run: macros, flags as the program declares them, and no shell anywhere."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from anlp.core.spec import Scalar
from anlp.programs.command import RunValues, args_json, macros_in, render_command
from anlp.records.program import Program, program_from_json

DEFAULT = ("python", "${program}", "${args}")
PROGRAM = Program(name="train.py", project="/p", path="train.py", command=DEFAULT, gpus=4)
RUN = RunValues(
    {"lr": 0.1, "model": "small", "fast": True},
    3,
    "abcdef123456",
    "/code/train.py",
    Path("/runs/g/abcdef123456/files"),
    Path("/runs/g/abcdef123456/args.json"),
)


def words(program: Program = PROGRAM, **settings: Scalar) -> list[str]:
    run = replace(RUN, settings=settings) if settings else RUN
    return render_command(program, run)


def test_the_default_command_passes_every_setting_by_name() -> None:
    assert words() == [
        *("python", "/code/train.py", "--lr", "0.1", "--model", "small", "--fast", "True"),
    ]


def test_the_seed_is_passed_where_the_program_takes_one() -> None:
    assert words(replace(PROGRAM, seed_flag="--seed"), lr=0.5)[2:] == ["--lr", "0.5", "--seed", "3"]


def test_a_seed_that_the_command_names_is_passed_once() -> None:
    command = ("python", "${program}", "--random-state", "${seed}", "${args}")

    found = words(replace(PROGRAM, command=command, seed_flag="--seed"), lr=0.5)

    assert found[2:] == ["--random-state", "3", "--lr", "0.5"]


@pytest.mark.parametrize("value", [-1e-5, -3, "-x", "--help"])
def test_a_value_that_looks_like_an_option_stays_a_value(value: float | str) -> None:
    assert words(lr=value)[2:] == [f"--lr={value}"]


@pytest.mark.parametrize(
    ("style", "value", "wanted"),
    [
        ("store_true", True, ["--fast"]),
        ("store_true", False, []),
        ("store_false", False, ["--fast"]),
        ("store_false", True, []),
        ("optional_boolean", True, ["--fast"]),
        ("optional_boolean", False, ["--no-fast"]),
    ],
)
def test_a_flag_without_a_value_is_given_as_its_parser_wants_it(
    style: str, value: bool, wanted: list[str]
) -> None:
    program = replace(PROGRAM, flags={"fast": "--fast"}, styles={"fast": style})

    assert words(program, fast=value)[2:] == wanted


def test_positional_arguments_come_first_and_in_the_order_of_the_parser() -> None:
    program = replace(PROGRAM, flags={"source": "", "target": "", "lr": "--learning-rate"})

    assert words(program, lr=0.1, target="b", source="a")[2:] == [
        *("a", "b", "--learning-rate", "0.1"),
    ]


def test_several_words_of_one_setting_are_split() -> None:
    program = replace(PROGRAM, flags={"hidden": "--hidden"}, styles={"hidden": "words"})

    assert words(program, hidden="64 32")[2:] == ["--hidden", "64", "32"]


def test_a_value_that_is_the_default_is_not_passed() -> None:
    program = replace(PROGRAM, defaults={"lr": 0.1, "n": 1})

    assert words(program, lr=0.1, n=True)[2:] == ["--n", "True"]


def test_hydra_gets_its_settings_without_hyphens() -> None:
    program = replace(PROGRAM, command=("python", "${program}", "${args_no_hyphens}"))

    assert render_command(program, replace(RUN, settings={"optimizer.lr": 0.1, "+x": "a b"})) == [
        *("python", "/code/train.py", "optimizer.lr=0.1", "+x=a b"),
    ]


@pytest.mark.parametrize(
    ("macro", "wanted"),
    [
        ("args_no_equals", ["--lr", "0.1", "--seed", "3"]),
        ("args_append_hydra", ["+lr=0.1", "+seed=3"]),
        ("args_override_hydra", ["++lr=0.1", "++seed=3"]),
    ],
)
def test_further_macros_of_wandb(macro: str, wanted: list[str]) -> None:
    program = replace(PROGRAM, command=("x", f"${{{macro}}}"), seed_flag="--seed")

    assert words(program, lr=0.1)[1:] == wanted


def test_a_variable_of_the_environment_is_filled_in_and_without_a_value_its_name() -> None:
    program = replace(PROGRAM, command=("x", "--data=${envvar:DATA}", "${envvar:NONE}"))

    found = render_command(program, replace(RUN, environment={"DATA": "/a b; c"}))

    assert found == ["x", "--data=/a b; c", "NONE"]


def test_booleans_are_present_or_absent_on_request() -> None:
    program = replace(PROGRAM, command=("x", "${args_no_boolean_flags}"))

    assert words(program, fast=True, slow=False, lr=1)[1:] == ["--fast", "--lr", "1"]


def test_json_forms_hold_typed_values() -> None:
    program = replace(
        PROGRAM, command=("x", "${args_json}", "--config=${args_json_file}"), seed_flag="--seed"
    )

    found = render_command(program, RUN)

    assert json.loads(found[1]) == {"lr": 0.1, "model": "small", "fast": True, "seed": 3}
    assert found[2] == f"--config={RUN.json_file}"
    assert json.loads(args_json(RUN.settings, "", 3)) == dict(RUN.settings)


def test_macros_of_the_run_and_of_single_settings_are_filled_in() -> None:
    command = ("${env}", "torchrun", "--nproc-per-node=${gpus}", "${program}", "${lr}", "${run_id}")

    found = words(replace(PROGRAM, command=(*command, "${run_dir}/x", "${args}")), lr=0.2, n=1)

    assert found == [
        *("/usr/bin/env", "torchrun", "--nproc-per-node=4", "/code/train.py", "0.2"),
        *("abcdef123456", "/runs/g/abcdef123456/files/x", "--n", "1"),
    ]


def test_hostile_values_stay_single_words() -> None:
    text = "a; rm -rf $HOME `x` ${seed} \n'\""

    assert words(name=text)[2:] == ["--name", text]


def test_a_doubled_dollar_is_no_macro() -> None:
    assert words(replace(PROGRAM, command=("x", "$${HOME}")), lr=1) == ["x", "${HOME}"]
    assert macros_in("$${HOME} ${lr}") == ["lr"]


def test_a_program_is_read_back_as_it_was_written() -> None:
    program = replace(PROGRAM, truths={"fast": ("yes", "no")}, resume_code=3, defaults={"a": 1.5})

    again = program_from_json(json.loads(json.dumps({**program.to_json(), "of_later": 1})))

    assert again.to_json() == program.to_json()
    assert again.digest == program.digest
    assert words(again, fast=False)[2:] == ["--fast", "no"]
