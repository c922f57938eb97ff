from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from anlp.core.errors import SpecError
from jobs.gridfile import GridSpec, load_grid

Load = Callable[..., GridSpec]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def load_text(text: str, **options: Any) -> GridSpec:
        path = tmp_path / "study.yaml"
        path.write_text("task: mnist\n" + text)
        return load_grid(path, **options)

    return load_text


def column(grid: GridSpec, name: str) -> list[Any]:
    return [run.seed if name == "seed" else run.settings.values()[name] for run in grid.runs()]


def rows(grid: GridSpec, *names: str) -> list[tuple[Any, ...]]:
    return list(zip(*(column(grid, name) for name in names), strict=True))


def test_a_file_with_a_task_alone_is_one_run_of_the_defaults(load: Load) -> None:
    grid = load("")

    assert (grid.name, grid.task, grid.size_hint, grid.axes()) == ("study", "mnist", 1, {})
    assert rows(grid, "model", "lr", "seed") == [("dense", 0.001, 0)]


def test_the_last_axis_is_fastest_and_seeds_are_innermost(load: Load) -> None:
    grid = load("grid: {lr: [0.1, 0.2], model: [dense, cnn]}\nseeds: 2")

    assert rows(grid, "lr", "model", "seed") == [
        (lr, model, seed) for lr in (0.1, 0.2) for model in ("dense", "cnn") for seed in (0, 1)
    ]
    assert list(grid.axes().items()) == [
        ("lr", (0.1, 0.2)),
        ("model", ("dense", "cnn")),
        ("seed", (0, 1)),
    ]


def test_runs_can_be_iterated_again_with_the_same_result(load: Load) -> None:
    grid = load("grid: {lr: [0.1, 0.2], model: [dense, cnn]}")

    assert [run.run_id for run in grid.runs()] == [run.run_id for run in grid.runs()]


@pytest.mark.parametrize(
    ("axis", "values"),
    [
        ("lr: {logspace: [1e-5, 0.1, 5]}", [0.00001, 0.0001, 0.001, 0.01, 0.1]),
        ("lr: {logspace: [0.1, 0.001, 3]}", [0.1, 0.01, 0.001]),
        ("lr: {logspace: [0.5, 0.5, 1]}", [0.5]),
        ("dropout: {linspace: [0, 0.6, 4]}", [0.0, 0.2, 0.4, 0.6]),
        ("hidden: {linspace: [10, 30, 3]}", [10, 20, 30]),
        ("hidden: {logspace: [16, 256, 5]}", [16, 32, 64, 128, 256]),
        ("hidden: {range: [2, 5]}", [2, 3, 4]),
        ("hidden: {range: [6, 0, -2]}", [6, 4, 2]),
        ("dropout: {range: [0, 0.3, 0.1]}", [0.0, 0.1, 0.2]),
        (
            "dropout: {range: [0.2, 0.8, 0.1]}",
            [0.2, 0.3, 0.4, 0.5, 0.6, 0.7],
        ),  # 0.6 / 0.1 is a little more than 6
        ("lr: 0.5", [0.5]),
        ("lr: [1E-2, .5e-2, 1., '0.1', 1]", [0.01, 0.005, 1.0, 0.1, 1.0]),
        ("hidden: [1_000, 1e2]", [1000, 100]),
    ],
)
def test_an_axis_has_the_values_that_the_file_says(
    load: Load, axis: str, values: list[Any]
) -> None:
    name = axis.split(":")[0]

    found = column(load(f"grid: {{{axis}}}"), name)

    assert found == list(dict.fromkeys(values))
    assert {type(value) for value in found} == {int if name == "hidden" else float}


def test_settings_that_move_together_are_zipped(load: Load) -> None:
    grid = load("grid: {lr: [0.1, 0.2]}\nzip: {hidden: [64, 128], dropout: [0.5, 0.5]}")

    assert rows(grid, "lr", "hidden", "dropout") == [
        (0.1, 64, 0.5),
        (0.1, 128, 0.5),
        (0.2, 64, 0.5),
        (0.2, 128, 0.5),
    ]


def test_several_zip_groups_are_several_axes(load: Load) -> None:
    grid = load(
        "zip:\n- {hidden: [64, 128], dropout: [0.1, 0.5]}\n- "
        "{lr: {logspace: [0.1, 1, 2]}, epochs: [1, 2]}"
    )

    assert rows(grid, "hidden", "lr") == [(64, 0.1), (64, 1.0), (128, 0.1), (128, 1.0)]


def test_random_draws_lie_within_their_bounds_and_repeat(load: Load) -> None:
    text = """random:
      samples: 200
      sampling_seed: 7
      lr: {loguniform: [1e-5, 0.1]}
      dropout: {uniform: [0, 0.5]}
      hidden: {int: [32, 34]}
      units: {loguniform: [8, 1000]}
      optimizer: {choice: [sgd, adam]}"""
    grid = load(text)

    assert grid.size_hint == 200
    assert all(1e-5 <= lr <= 0.1 for lr in column(grid, "lr"))
    assert 60 < sum(lr < 1e-3 for lr in column(grid, "lr")) < 140  # even on a logarithmic scale
    assert all(0 <= dropout <= 0.5 for dropout in column(grid, "dropout"))
    assert set(column(grid, "hidden")) == {32, 33, 34}
    assert set(column(grid, "optimizer")) == {"sgd", "adam"}
    assert rows(load(text), "lr", "optimizer") == rows(grid, "lr", "optimizer")


def test_random_draws_are_pinned(load: Load) -> None:
    grid = load("random: {samples: 3, lr: {loguniform: [1e-5, 0.1]}, hidden: {int: [32, 512]}}")

    assert rows(grid, "lr", "hidden") == [
        (0.00127744928868, 330),
        (0.000103168226157, 144),
        (0.0865638144378, 47),
    ]


def test_another_random_axis_changes_no_draw_of_the_others(load: Load) -> None:
    one = load("random: {samples: 5, lr: {uniform: [0.1, 1]}}")
    two = load("random: {samples: 5, dropout: {uniform: [0, 0.5]}, lr: {uniform: [0.1, 1]}}")

    assert column(one, "lr") == column(two, "lr")


def test_another_sampling_seed_gives_other_draws(load: Load) -> None:
    one = load("random: {samples: 5, lr: {uniform: [0.1, 1]}}")
    two = load("random: {samples: 5, sampling_seed: 1, lr: {uniform: [0.1, 1]}}")

    assert not set(column(one, "lr")) & set(column(two, "lr"))


def test_random_points_are_combined_with_the_grid(load: Load) -> None:
    grid = load("random: {samples: 3, lr: {uniform: [0.1, 1]}}\ngrid: {model: [dense, cnn]}")

    assert column(grid, "model") == ["dense", "cnn"] * 3
    assert len(set(column(grid, "lr"))) == 3


def test_when_adds_axes_only_where_its_condition_holds(load: Load) -> None:
    grid = load(
        "grid: {model: [dense, cnn]}\nwhen: [{if: {model: cnn}, "
        "grid: {filters: [8, 32]}, fixed: {lr: 0.5}}]"
    )

    assert rows(grid, "model", "filters", "lr") == [
        ("dense", 16, 0.001),
        ("cnn", 8, 0.5),
        ("cnn", 32, 0.5),
    ]
    assert grid.axes() == {"model": ("dense", "cnn"), "lr": (0.001, 0.5), "filters": (8, 32)}


def test_later_whens_see_what_earlier_ones_set(load: Load) -> None:
    grid = load(
        "grid: {model: [dense, cnn]}\n"
        "when:\n"
        "- {if: {model: cnn}, grid: {optimizer: [sgd, adam]}}\n"
        "- {if: {model: [cnn, dense], optimizer: sgd}, zip: {lr: [0.1, 0.2], momentum: [0, 0.9]}}\n"
    )

    assert rows(grid, "model", "optimizer", "lr", "momentum") == [
        ("dense", "adam", 0.001, 0.0),
        ("cnn", "sgd", 0.1, 0.0),
        ("cnn", "sgd", 0.2, 0.9),
        ("cnn", "adam", 0.001, 0.0),
    ]


def test_conditions_that_cover_everything_leave_no_default_among_the_axes(load: Load) -> None:
    grid = load(
        "grid: {optimizer: [sgd, adam]}\n"
        "when:\n- {if: {optimizer: sgd}, grid: {lr: [0.1, 0.2]}}\n- "
        "{if: {optimizer: adam}, grid: {lr: [0.3]}}\n"
    )

    assert grid.axes()["lr"] == (0.1, 0.2, 0.3)
    assert column(grid, "lr") == [0.1, 0.2, 0.3]


@pytest.mark.parametrize(
    "rule",
    ["{lr: 0.2, optimizer: [adam, adamw]}", "'lr>0.1 optimizer=adam'", "'lr=0.2 optimizer!=sgd'"],
)
def test_excluded_combinations_are_left_out(load: Load, rule: str) -> None:
    grid = load(f"grid: {{lr: [0.1, 0.2], optimizer: [sgd, adam]}}\nexclude:\n- {rule}")

    assert rows(grid, "lr", "optimizer") == [(0.1, "sgd"), (0.1, "adam"), (0.2, "sgd")]
    assert grid.notes == ()


def test_exclude_can_name_a_seed(load: Load) -> None:
    grid = load("grid: {lr: [0.1, 0.2]}\nseeds: 2\nexclude: [{lr: 0.1, seed: 1}]")

    assert rows(grid, "lr", "seed") == [(0.1, 0), (0.2, 0), (0.2, 1)]


def test_included_points_stand_over_fixed_and_are_not_excluded(load: Load) -> None:
    grid = load(
        "fixed: {epochs: 3}\ngrid: {lr: [0.1]}\nexclude: "
        "['lr>0.2']\ninclude: [{lr: 0.5}, {model: cnn, epochs: 1}]"
    )

    assert rows(grid, "lr", "model", "epochs") == [
        (0.1, "dense", 3),
        (0.5, "dense", 3),
        (0.001, "cnn", 1),
    ]
    assert "'lr>0.2' matches no combination" in grid.notes[0]


@pytest.mark.parametrize(
    ("seeds", "expected"), [("3", [0, 1, 2]), ("[4, 0, '7']", [4, 0, 7]), ("[5]", [5])]
)
def test_seeds_are_a_count_or_a_list(load: Load, seeds: str, expected: list[int]) -> None:
    assert column(load(f"seeds: {seeds}"), "seed") == expected


def test_blocks_of_a_union_follow_each_other_over_what_is_fixed_for_all(load: Load) -> None:
    grid = load(
        "fixed: {epochs: 3, lr: 0.1}\nseeds: 2\nexclude: [{dropout: 0.5}]\n"
        "union:\n"
        "- {fixed: {model: dense, lr: 0.2}, grid: {dropout: [0, 0.5]}}\n"
        "- {fixed: {model: cnn}, grid: {epochs: [1, 2]}, seeds: [9]}\n"
    )

    assert rows(grid, "model", "lr", "epochs", "dropout", "seed") == [
        ("dense", 0.2, 3, 0.0, 0),
        ("dense", 0.2, 3, 0.0, 1),
        ("cnn", 0.1, 1, 0.0, 9),
        ("cnn", 0.1, 2, 0.0, 9),
    ]
    assert grid.axes()["model"] == ("dense", "cnn")
    assert grid.axes()["seed"] == (0, 1, 9)
    assert grid.blocks[1].fixed == {"lr": 0.1, "model": "cnn"}


def test_each_run_comes_once_however_often_the_file_names_it(load: Load) -> None:
    grid = load("union: [{grid: {lr: [0.1, 0.2]}}, {grid: {lr: [0.2, 0.3]}}]")
    expansion = grid.expand()

    assert [run.settings.values()["lr"] for run in expansion.runs] == [0.1, 0.2, 0.3]
    assert (expansion.combinations, expansion.duplicates, expansion.excluded) == (4, 1, 0)


def test_settings_without_effect_make_no_other_run(load: Load) -> None:
    grid = load("grid: {model: [dense, cnn], filters: [8, 16, 32]}")

    assert rows(grid, "model", "filters") == [("dense", 16), ("cnn", 8), ("cnn", 16), ("cnn", 32)]
    assert grid.notes == ()


def test_what_may_be_a_mistake_is_noted(load: Load) -> None:
    grid = load(
        "fixed: {filters: 8}\ngrid: {lr: [0.1, 1e-1, 0.2]}\nexclude: [{lr: 0.7}]\n"
        "when: [{if: {model: cnn}, fixed: {units: 3}}]"
    )

    source = grid.source
    assert grid.notes == (
        f"{source}:3: grid.lr: 3 values, 2 of them distinct; repeats are dropped",
        f"{source}:5: when[0]: its `if` fits no combination",
        f"{source}:4: exclude 'lr=0.7' matches no combination",
        f"{source}: filters has no effect in any run: it is used only where model is cnn",
        f"{source}: units has no effect in any run: it is used only where model is cnn",
    )


def test_no_off_and_1e_3_mean_what_people_mean(load: Load) -> None:
    grid = load(
        "grid: {lr: [1e-3, 1E5]}\nwandb: {project: no, tags: "
        "[on, 2024, v1]}\nresources: {time: 01:30:00}"
    )

    assert column(grid, "lr") == [0.001, 100000.0]
    assert (grid.wandb.project, grid.wandb.tags) == ("no", ("on", "2024", "v1"))
    assert grid.resources.walltime_min == 90


@pytest.mark.parametrize("value", ["1", "1.0", "'1'", "1e0", "+1"])
def test_one_value_written_in_many_ways_is_one_run(load: Load, value: str) -> None:
    assert (
        next(load(f"fixed: {{lr: {value}}}").runs()).run_id
        == next(load("fixed: {lr: 1}").runs()).run_id
    )


def test_minus_zero_is_zero(load: Load) -> None:
    assert (
        next(load("fixed: {dropout: -0.0}").runs()).run_id
        == next(load("fixed: {dropout: 0}").runs()).run_id
    )


def test_options_beside_the_settings_are_read(load: Load) -> None:
    grid = load(
        "name: my-study.2\nresources: {gpus: 1, cpus: 2, mem: 1.5G, time: 1h30m}\n"
        "wandb: {mode: offline, project: p, entity: e, tags: t}\n"
        "container: images/anlp.sif\nfallback: digits\nretries: "
        "2\nstop_after: 0\ncheckpoints: {every: 5, keep: none}\n"
        "predictions: true\n"
    )

    assert grid.name == "my-study.2"
    assert (grid.resources.gpus, grid.resources.cpus, grid.resources.mem_mib) == (1, 2, 1536)
    assert grid.resources.walltime_min == 90
    assert (grid.wandb.mode, grid.wandb.entity, grid.wandb.tags) == ("offline", "e", ("t",))
    assert (grid.container, grid.fallback, grid.retries, grid.stop_after) == (
        "images/anlp.sif",
        "digits",
        2,
        0,
    )
    assert (grid.checkpoint_every, grid.keep, grid.predictions) == (5, "none", True)


@pytest.mark.parametrize("none", ["null", "~", ""])
def test_nothing_can_be_said_about_a_container(load: Load, none: str) -> None:
    assert load(f"container: {none}").container is None


def test_no_container_can_be_said_over_the_profile(load: Load) -> None:
    assert load("container: false").container == ""


def test_anchors_and_merge_keys_work(load: Load) -> None:
    grid = load(
        "fixed: &base {epochs: 3, lr: 0.1}\nunion:\n- fixed: "
        "{<<: *base, lr: 0.2}\n- fixed: {<<: [*base]}"
    )

    assert rows(grid, "epochs", "lr") == [(3, 0.2), (3, 0.1)]


def test_a_huge_grid_loads_at_once_and_hands_out_runs_lazily(load: Load) -> None:
    axes = ", ".join(
        f"{name}: {{range: [1, 5000]}}"
        for name in ("hidden", "batch_size", "epochs", "train_samples")
    )

    grid = load(f"grid: {{{axes}}}")

    assert grid.size_hint == 4999**4
    assert next(grid.runs()).settings.values()["hidden"] == 1


def test_text_is_the_file_as_read(load: Load) -> None:
    grid = load("# a comment\n")

    assert grid.text == grid.source.read_text() == "task: mnist\n# a comment\n"


def test_a_grid_of_which_nothing_is_left_says_so(load: Load) -> None:
    with pytest.raises(SpecError, match="no run is left: exclude takes all 2 combinations"):
        load("grid: {lr: [0.1, 0.2]}\nexclude: ['lr>0']")


def test_draws_have_12_digits_as_ever_unless_the_file_asks_for_fewer(load: Load) -> None:
    draw = (
        "random: {{samples: 3{}, lr: {{loguniform: [0.001, 1]}}, dropout: {{choice: [0.12345]}}}}"
    )
    long = load(draw.format("")).axes()["lr"]
    short = load(draw.format(", digits: 3")).axes()["lr"]

    assert [len(f"{value:.12g}".lstrip("0.")) > 9 for value in long] == [True] * 3
    assert list(short) == [float(f"{value:.3g}") for value in long]
    (spec, *_) = load(draw.format(", digits: 3")).runs()
    assert spec.settings.values()["dropout"] == 0.12345


def test_exclude_compares_numbers_to_the_last_digit(load: Load) -> None:
    grid = load("grid: {lr: [0.12341, 0.1234]}\nexclude: ['lr=0.1234']")

    assert [spec.settings.values()["lr"] for spec in grid.runs()] == [0.12341]
