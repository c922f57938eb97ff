from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from anlp.core.errors import SpecError
from anlp.tasks import TASKS
from jobs.gridfile import load_grid

TASK_NAMES = ", ".join(sorted(TASKS))
Faults = Callable[..., list[str]]


@pytest.fixture
def faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Faults:
    """The faults of a file `lr.yaml` with this content, as a person in its folder sees them."""
    monkeypatch.chdir(tmp_path)

    def load(content: str | bytes, task: str = "task: mnist\n") -> list[str]:
        path = Path("lr.yaml")
        path.write_bytes(content if isinstance(content, bytes) else (task + content).encode())
        with pytest.raises(SpecError) as caught:
            load_grid(path)
        return list(caught.value.faults)

    return load


VALUES = [
    ("grid: {lr: [fast]}", "lr.yaml:2: grid.lr[0]: expected a number > 0, got 'fast'"),
    ("fixed: {lr: -1}", "lr.yaml:2: fixed.lr: expected a number > 0, got -1"),
    ("fixed: {lr: true}", "lr.yaml:2: fixed.lr: expected a number > 0, got true"),
    ("fixed: {lr: .inf}", "lr.yaml:2: fixed.lr: expected a number > 0, got .inf"),
    ("fixed: {lr: .nan}", "lr.yaml:2: fixed.lr: expected a number > 0, got .nan"),
    ("fixed: {lr: 1e999}", "lr.yaml:2: fixed.lr: expected a number > 0, got 1e999"),
    ("fixed: {lr:}", "lr.yaml:2: fixed.lr: expected a number > 0, got nothing"),
    ("fixed: {lr: [0.1]}", "lr.yaml:2: fixed.lr: expected a number > 0, got a list"),
    ("grid: {lr: [[0.1]]}", "lr.yaml:2: grid.lr[0]: expected a number > 0, got a list"),
    ("fixed: {dropout: 1}", "lr.yaml:2: fixed.dropout: expected a number >= 0 and < 1, got 1"),
    ("fixed: {hidden: 1.5}", "lr.yaml:2: fixed.hidden: expected a whole number >= 1, got 1.5"),
    ("fixed: {nesterov: yes}", "lr.yaml:2: fixed.nesterov: expected true or false, got 'yes'"),
    ("fixed: {nesterov: 1}", "lr.yaml:2: fixed.nesterov: expected true or false, got 1"),
    (
        "fixed: {optimizer: sdg}",
        "lr.yaml:2: fixed.optimizer: expected one of sgd, adam, "
        "adamw, rmsprop, got 'sdg' (did you mean 'sgd'?)",
    ),
    (
        "fixed: {optimizer: no}",
        "lr.yaml:2: fixed.optimizer: expected one of sgd, adam, adamw, rmsprop, got 'no'",
    ),
    ("fixed: {model: true}", "lr.yaml:2: fixed.model: expected one of dense, cnn, got true"),
]

AXES = [
    ("grid: {lr: []}", "lr.yaml:2: grid.lr: expected at least one value, got an empty list"),
    (
        "grid: {lr: {logspace: [0, 1, 3]}}",
        "expected bounds > 0 (they are values, not exponents), got 0 and 1",
    ),
    (
        "grid: {lr: {logspace: [1, 2]}}",
        "lr.yaml:2: grid.lr.logspace: expected numbers [lo, hi, n], got 2 values",
    ),
    (
        "grid: {lr: {logspace: 3}}",
        "lr.yaml:2: grid.lr.logspace: expected numbers [lo, hi, n], got 3",
    ),
    (
        "grid: {lr: {linspace: [1, b, 3]}}",
        "lr.yaml:2: grid.lr.linspace: expected numbers [lo, hi, n], got 'b'",
    ),
    ("grid: {lr: {linspace: [1, 2, 0]}}", "expected a number of values from 1 to 100,000, got 0"),
    (
        "grid: {lr: {linspace: [1, 2, 1e9]}}",
        "expected a number of values from 1 to 100,000, got 1e+09",
    ),
    (
        "grid: {hidden: {range: [1, 1000000000]}}",
        "expected at most 100,000 values, got 999,999,999",
    ),
    ("grid: {hidden: {range: [1, 9, 0]}}", "expected a step other than 0"),
    (
        "grid: {hidden: {range: [9, 1]}}",
        "empty axis: the step leads away from stop (stop itself is left out)",
    ),
    (
        "grid: {hidden: {range: [1, .inf]}}",
        "expected numbers [start, stop or start, stop, step], got .inf",
    ),
    (
        "grid: {hidden: {range: [1e300, 1]}}",
        "expected numbers [start, stop or start, stop, step], got 1e300",
    ),
    (
        "grid: {hidden: {logspace: [32, 512, 4]}}",
        "lr.yaml:2: grid.hidden: logspace gives a wrong value: "
        "expected a whole number >= 1, got 80.6349471933",
    ),
    (
        "grid: {lr: {logspce: [1, 2, 3]}}",
        "lr.yaml:2: grid.lr: expected one of {logspace: […]}, "
        "{linspace: […]}, {range: […]}, got logspce "
        "(did you mean 'logspace'? known: linspace, logspace, range)",
    ),
    ("grid: [lr]", "lr.yaml:2: grid: expected a mapping of settings, got a list"),
    ("grid:", "lr.yaml:2: grid: expected a mapping of settings, got nothing"),
    (
        "zip: {lr: [0.1, 0.2], hidden: [1, 2, 3]}",
        "lr.yaml:2: zip: expected equally many values for settings "
        "that move together, got: lr has 2, hidden has 3",
    ),
    (
        "random: {lr: {uniform: [0, 1]}}",
        "lr.yaml:2: random: expected the key 'samples', the number of points to draw",
    ),
    ("random: {samples: 3}", "expected a setting to draw, such as lr: {loguniform: [1e-5, 0.1]}"),
    (
        "random: {samples: 3, lr: {uniform: [2, 1]}}",
        "lr.yaml:2: random.lr.uniform: expected lo < hi, got 2 and 1",
    ),
    ("random: {samples: 3, hidden: {int: [1.5, 3]}}", "expected whole bounds, got 1.5 and 3"),
    (
        "random: {samples: 3, lr: {choice: []}}",
        "random.lr.choice: expected at least one value, got an empty list",
    ),
    (
        "random: {samples: 3, lr: 0.1}",
        "random.lr: expected a way to draw such as {uniform: [0, 0.5]}, got 0.1",
    ),
    ("random: {samples: 0, lr: {uniform: [1, 2]}}", "random.samples: expected a whole number >= 1"),
    (
        "random: {samples: 9, dropout: {uniform: [0, 2]}}",
        "random.dropout: uniform gives a wrong value: expected",
    ),
]

STRUCTURE = [
    ("grid: {lr: [1]}\ngrid: {lr: [2]}", "lr.yaml:3: duplicate key 'grid' (first on line 2)"),
    ("fixed:\n  lr: 1\n  lr: 2", "lr.yaml:4: fixed: duplicate key 'lr' (first on line 3)"),
    ("gird: {lr: [1]}", "lr.yaml:2: unknown key 'gird' (did you mean 'grid'? known: "),
    (
        "fixed: {learning_rte: 1}",
        "lr.yaml:2: fixed: unknown setting 'learning_rte' (did you mean 'lr'? known: ",
    ),
    (
        "fixed: {seed: 1}",
        "lr.yaml:2: fixed: 'seed' is no setting; write `seeds: 5` or `seeds: [1, 2]` beside grid",
    ),
    (
        "fixed: {lr: 1}\ngrid: {lr: [1]}",
        "lr.yaml:3: grid.lr: lr is also given on line 2 (fixed.lr); keep one of the two",
    ),
    (
        "zip: {lr: [1]}\ngrid: {lr: [1]}",
        "lr.yaml:3: grid.lr: lr is also given on line 2 (zip.lr); keep one of the two",
    ),
    (
        "grid: {lr: [1]}\nwhen: [{if: {model: cnn}, grid: {lr: [1]}}]",
        "lr.yaml:3: when[0].grid.lr: lr is also given on line 2 (grid.lr); keep one of the two",
    ),
    (
        "when: [{grid: {lr: [1]}}]",
        "lr.yaml:2: when[0]: expected the key 'if', such as if: {model: cnn}",
    ),
    ("when: [{if: {model: cnn}}]", "lr.yaml:2: when[0]: expected fixed, grid or zip beside if"),
    ("when: [{if: {model: cnn}, gird: {}}]", "when[0]: unknown key 'gird' (did you mean 'grid'?"),
    (
        "when: {if: {model: cnn}}",
        "lr.yaml:2: when: expected a list such as - {if: {…}, grid: {…}}, got a mapping",
    ),
    (
        "when: [{if: {}, fixed: {lr: 1}}]",
        "when[0].if: expected at least one setting, got an empty mapping",
    ),
    (
        "exclude: {lr: 1}",
        "exclude: expected a list of mappings such as - {lr: 0.1, optimizer: sgd}, got a mapping",
    ),
    (
        "exclude: ['lrr>1']",
        "lr.yaml:2: exclude[0]: filter 'lrr>1': unknown name 'lrr' (did you mean 'lr'? known: ",
    ),
    ("exclude: ['lr>']", "lr.yaml:2: exclude[0]: filter 'lr>': expected NAME=VALUE"),
    ("exclude: ['']", "exclude[0]: expected a filter such as 'lr>0.01 optimizer=adam', got ''"),
    ("exclude: [3]", "exclude[0]: expected a mapping such as {model: cnn}, got 3"),
    (
        "exclude: [{seed: -1}]",
        "exclude[0].seed: expected a whole number from 0 to 4294967295, got -1",
    ),
    ("include: [{model: cnn, lr: x}]", "lr.yaml:2: include[0].lr: expected a number > 0, got 'x'"),
    ("seeds: 0", "lr.yaml:2: seeds: expected a whole number >= 1 and <= 100000, got 0"),
    ("seeds: true", "lr.yaml:2: seeds: expected a whole number >= 1 and <= 100000, got true"),
    ("seeds: [1, 2, 1]", "lr.yaml:2: seeds: expected distinct seeds, got 1 more than once"),
    ("seeds: [-1]", "lr.yaml:2: seeds[0]: expected a whole number from 0 to 4294967295, got -1"),
    ("union: []", "lr.yaml:2: union: expected at least one block"),
    ("union: [3]", "lr.yaml:2: union[0]: expected a block (a mapping with fixed, grid, …), got 3"),
    ("union: [{name: x}]", "lr.yaml:2: union[0]: unknown key 'name'"),
    ("grid: {lr: [1]}\nunion: [{}]", "lr.yaml:2: grid: move it into a block of union (line 3)"),
    (
        "union: [{grid: {lr: [x]}}]",
        "lr.yaml:2: union[0].grid.lr[0]: expected a number > 0, got 'x'",
    ),
]

OPTIONS = [
    (
        "name: a/b",
        "lr.yaml:2: name: expected a name of letters, digits, "
        "'.', '-' and '_' (at most 100), got 'a/b'",
    ),
    (
        "resources: {gpu: 1}",
        "lr.yaml:2: resources: unknown key 'gpu' (did you mean "
        "'gpus'? known: account, constraint, cpus,",
    ),
    (
        "resources: {gpus: -1}",
        "lr.yaml:2: resources.gpus: expected a whole number from 0 to 1,000,000, got -1",
    ),
    (
        "resources: {cpus: true}",
        "lr.yaml:2: resources.cpus: expected a whole number from 1 to 1,000,000, got true",
    ),
    (
        "resources: {mem: 8X}",
        "lr.yaml:2: resources.mem: expected an amount of memory such as 8G or 500M, got '8X'",
    ),
    (
        "resources: {mem: " + "9" * 400 + "T}",
        "resources.mem: expected an amount of memory such as 8G or 500M",
    ),
    (
        "resources: {time: soon}",
        "lr.yaml:2: resources.time: expected a time such as 30m, 1h30m or 01:30:00, got 'soon'",
    ),
    (
        "resources: 3",
        "lr.yaml:2: resources: expected a mapping with gpus, cpus, mem, time, queue, partition,",
    ),
    (
        "wandb: {mode: off}",
        "lr.yaml:2: wandb.mode: expected one of auto, online, offline, "
        "disabled, got 'off' (did you mean 'offline'?)",
    ),
    ("wandb: {project: }", "lr.yaml:2: wandb.project: expected text, got nothing"),
    ("wandb: {tags: {a: b}}", "lr.yaml:2: wandb.tags: expected a list of texts, got a mapping"),
    (
        "container: true",
        "lr.yaml:2: container: expected the path of an image, or false for none, got true",
    ),
    (
        "fallback: digit",
        "lr.yaml:2: fallback: expected one of mnist, digits, got 'digit' (did you mean 'digits'?)",
    ),
    ("stop_after: -1", "lr.yaml:2: stop_after: expected a whole number >= 0 and <= 1000, got -1"),
    ("retries: many", "lr.yaml:2: retries: expected a whole number >= 0 and <= 100, got 'many'"),
    (
        "checkpoints: {every: 0}",
        "lr.yaml:2: checkpoints.every: expected a whole number from 1 to 1,000,000, got 0",
    ),
    ("predictions: all", "lr.yaml:2: predictions: expected true or false, got 'all'"),
    (
        "checkpoints: {keep: all}",
        "lr.yaml:2: checkpoints.keep: expected one of none, best, last, got 'all'",
    ),
]


@pytest.mark.parametrize(("text", "expected"), [*VALUES, *AXES, *STRUCTURE, *OPTIONS])
def test_a_fault_is_one_sentence_with_its_place(faults: Faults, text: str, expected: str) -> None:
    found = faults(text)

    assert len(found) == 1
    assert found[0].startswith("lr.yaml:")
    assert expected in found[0]
    assert "\n" not in found[0]


SYNTAX = [
    (b"", "lr.yaml:1: expected a mapping with task, grid, \u2026, got an empty file"),
    (b"# nothing\n", "lr.yaml:1: expected a mapping with task, grid, \u2026, got an empty file"),
    (b"- a\n", "lr.yaml:1: expected a mapping with task, grid, \u2026, got a list"),
    (b"hello", "lr.yaml:1: expected a mapping with task, grid, \u2026, got 'hello'"),
    (b"a: [1\nb: 2", "lr.yaml:2: column 2: not valid YAML: expected ',' or ']', but got ':'"),
    (
        b"a:\n\tb: 1",
        "lr.yaml:2: column 1: a tab stands where YAML wants blanks; indent with blanks",
    ),
    (b"a: *b", "lr.yaml:1: column 4: not valid YAML: found undefined alias 'b'"),
    (
        b"task: mnist\n---\ntask: mnist\n",
        "lr.yaml:2: column 1: expected one document, got a second one after ---",
    ),
    (b"\x00\x01\xff\xfe\x93", "lr.yaml:1: expected UTF-8 text, got the byte 0xff"),
    (b"task: mnist\n# caf\xe9\n", "lr.yaml:2: expected UTF-8 text, got the byte 0xe9"),
    (b"task: mnist\nname: \x07", "lr.yaml:2: expected text, got the control character 7"),
    (b"[" * 1000, "lr.yaml:1: expected a grid file, got lists or mappings nested hundreds deep"),
    (b"x" * 1_000_001, "lr.yaml: expected a grid file of at most 1 MB, got 1.0 MB"),
]


@pytest.mark.parametrize(("content", "expected"), SYNTAX)
def test_a_file_that_is_no_grid_file_is_one_sentence(
    faults: Faults, content: bytes, expected: str
) -> None:
    found = faults(content)

    assert len(found) == 1
    assert found[0].startswith(expected)


@pytest.mark.parametrize(
    "tag", ["!!python/object/apply:os.system [ls]", "!mine 3", "!!set {a}", "!!float abc"]
)
def test_tags_build_no_objects(faults: Faults, tag: str) -> None:
    assert "name: expected" in faults(f"name: {tag}")[0]


def test_all_faults_of_a_file_come_at_once_in_the_order_of_its_lines(faults: Faults) -> None:
    found = faults(
        "seeds: 0\nresources: {mem: much}\ngrid:\n  lr: [fast, 0.1, "
        "slow]\n  model: [cn]\nfixed: {epochs: -1, lr: 1}\n",
        task="task: mnst\n",
    )

    assert [fault.split(": ")[0] for fault in found] == [
        "lr.yaml:1",
        "lr.yaml:2",
        "lr.yaml:3",
        "lr.yaml:5",
        "lr.yaml:5",
        "lr.yaml:5",
        "lr.yaml:6",
        "lr.yaml:7",
    ]
    hint = f"(did you mean 'mnist'? known: {TASK_NAMES})"
    assert found[0] == f"lr.yaml:1: task: expected the name of a task, got 'mnst' {hint}"


def test_a_file_without_a_task_names_the_tasks(faults: Faults) -> None:
    assert faults("seeds: 1", task="") == [
        f"lr.yaml:1: expected the key 'task' (known: {TASK_NAMES}) or 'program'"
    ]


@pytest.mark.parametrize("key", ["api_key", "apikey", "WANDB_API_KEY", "password", "token"])
@pytest.mark.parametrize(
    "place", ["{key}: {value}", "wandb: {{{key}: {value}}}", "fixed: {{{key}: {value}}}"]
)
def test_secrets_are_refused_and_never_repeated(faults: Faults, key: str, place: str) -> None:
    found = faults(place.format(key=key, value="0123456789abcdef"))

    assert len(found) == 1
    assert "put the key in the environment (WANDB_API_KEY) or ~/.netrc" in found[0]
    assert "0123456789abcdef" not in found[0]


def test_aliases_that_multiply_neither_hang_nor_pass(faults: Faults) -> None:
    laughs = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    laughs += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    laughs += ["grid: {lr: *a11}"]

    assert any(
        "grid.lr[0]: expected a number > 0, got a list" in fault
        for fault in faults("\n".join(laughs))
    )


def test_merge_keys_that_multiply_are_stopped(faults: Faults) -> None:
    base = "fixed: &b {" + ", ".join(f"k{i}: 1" for i in range(2000)) + "}\n"

    found = faults(base + "\n".join(f"m{i}: {{<<: *b}}" for i in range(100)))

    assert any("expected at most 100,000 merged entries in a file" in fault for fault in found)


@pytest.mark.parametrize("text", ["a: &a [*a]", "a: &a {b: *a}", "a: &a {<<: *a}"])
def test_an_alias_that_contains_itself_is_a_fault(faults: Faults, text: str) -> None:
    assert any("an alias that contains itself" in fault for fault in faults(text))


def test_combinations_the_task_refuses_are_told_once_per_reason(faults: Faults) -> None:
    found = faults(
        "grid: {nesterov: [false, true], optimizer: [sgd, adam], lr: [0.1, 0.2]}\nseeds: 3"
    )

    assert found == [
        "lr.yaml:1: nesterov: true needs momentum > 0, got momentum: "
        "0; 2 combinations are refused, the first: "
        "nesterov=true optimizer=sgd lr=0.1 (leave them out "
        "with exclude, or put the axis under when)"
    ]


def test_refused_combinations_of_a_large_grid_end_its_runs(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    path.write_text(
        "task: mnist\ngrid: {nesterov: [true, false], hidden: "
        "{range: [1, 2001]}}\nfixed: {optimizer: sgd}"
    )
    runs = load_grid(path).runs()

    with pytest.raises(
        SpecError, match="2,000 combinations are refused, the first: nesterov=true hidden=1 "
    ):
        next(runs)


def test_an_endless_grid_of_refused_combinations_ends(tmp_path: Path) -> None:
    path = tmp_path / "endless.yaml"
    axes = (
        "hidden: {range: [1, 100000]}, epochs: {range: [1, "
        "100000]}, batch_size: {range: [1, 100000]}"
    )
    path.write_text(f"task: mnist\ngrid: {{{axes}}}\nfixed: {{optimizer: sgd, nesterov: true}}")

    with pytest.raises(SpecError, match="10,000 combinations or more are refused"):
        next(load_grid(path).runs())


def test_a_missing_file_names_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "mnist.yaml").write_text("task: mnist")

    with pytest.raises(SpecError) as caught:
        load_grid(tmp_path / "mnits.yaml")

    assert (
        str(caught.value)
        == f"{tmp_path}/mnits.yaml: no such file (grid files here: {tmp_path}/mnist.yaml)"
    )


@pytest.mark.parametrize("name", ["", "a\0b", "x/" * 3, "y" * 300])
def test_what_cannot_be_a_file_is_one_sentence(tmp_path: Path, name: str) -> None:
    with pytest.raises(SpecError) as caught:
        load_grid(tmp_path / name)

    assert len(caught.value.faults) == 1


def test_a_file_name_that_cannot_name_a_folder_asks_for_a_name(tmp_path: Path) -> None:
    path = tmp_path / "my grid.yaml"
    path.write_text("task: mnist")

    with pytest.raises(SpecError, match="got the file name 'my grid'; give one with `name:`"):
        load_grid(path)


def test_hidden_files_are_no_grids_and_those_of_the_folder_grids_are_offered(
    tmp_path: Path,
) -> None:
    (tmp_path / "grids").mkdir()
    for name in (".yamllint.yaml", "grids/mnist.yaml"):
        (tmp_path / name).write_text("task: mnist\n")

    with pytest.raises(SpecError) as raised:
        load_grid(tmp_path / "mnits.yaml")

    assert str(raised.value).endswith(
        f"no such file (grid files here: {tmp_path}/grids/mnist.yaml)"
    )
