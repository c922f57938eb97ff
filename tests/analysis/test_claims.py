from __future__ import annotations

from pathlib import Path

import pytest

from analysis import claims
from anlp.core.errors import UserError
from tests.support.run_folders import Grid


@pytest.fixture(autouse=True)
def study(grid: Grid, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(grid.path.parent.parent)
    grid.add_seeds([0.97, 0.975, 0.98, 0.975], lr=0.1)
    grid.add_seeds([0.5, 0.6], lr=0.01)
    Path("text.md").write_text(
        "The best has 97.500 ± 0.650 %,\nits best seed 98.0 %, of 1,006 runs none failed."
    )


def write(*entries: str) -> Path:
    path = Path("claims.toml")
    path.write_text(
        "".join(f'[[claim]]\nfile = "text.md"\ngrid = "study"\n{entry}\n' for entry in entries)
    )
    return path


def entry(statistic: str, text: str, more: str = 'metric = "test/acc"\nonly = "lr=0.1"') -> str:
    return f'statistic = "{statistic}"\ntext = "{text}"\n{more}'


def test_numbers_that_the_runs_give_hold(capsys: pytest.CaptureFixture[str]) -> None:
    path = write(
        entry("mean", "97.500"),
        entry("half_width", "± 0.650 %"),
        entry("max", "seed 98.0 %"),
        entry("runs", "of 1,006 runs", "value = 6"),
        entry("configurations", "none failed", "value = 2"),
    )

    assert claims.main([str(path)]) == 0
    assert capsys.readouterr().out == "5 of 5 claims hold\n"


def test_a_number_that_the_runs_do_not_give_fails_with_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("text.md").write_text("It reached 97.501 %.")
    path = write(entry("mean", "reached 97.501 %"))

    assert claims.main([str(path)]) == 1
    assert capsys.readouterr().err == (
        "claims.toml: claim 1: text.md says 97.501, the runs of study give 97.5 "
        "(mean of test/acc over runs with lr=0.1, tolerance 0.0005)\n"
    )


def test_the_last_digit_quoted_is_the_tolerance_unless_one_is_given() -> None:
    Path("text.md").write_text("About 97 %, or 97.45 %.")

    assert claims.main([str(write(entry("mean", "About 97 %")))]) == 0
    assert claims.main([str(write(entry("mean", "or 97.45 %")))]) == 1
    assert (
        claims.main(
            [
                str(
                    write(
                        entry(
                            "mean", "or 97.45 %", 'metric="test/acc"\nonly="lr=0.1"\ntolerance=0.05'
                        )
                    )
                )
            ]
        )
        == 0
    )


def test_a_text_that_does_not_say_it_any_more_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert claims.main([str(write(entry("mean", "96.500")))]) == 1
    assert "text.md does not say '96.500' any more" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("claim", "sentence"),
    [
        (
            entry("mean", "97.500", 'metric = "test/ac"'),
            "metric 'test/ac' is unknown (did you mean 'test/acc'?",
        ),
        (entry("mode", "97.500"), "statistic 'mode' is unknown"),
        (
            entry("mean", "97.500", 'metric = "test/acc"\nonly = "lr=5"'),
            "--only 'lr=5' leaves none of 6 runs",
        ),
        (entry("mean", "97.500", 'metric = "model"'), "model is no number"),
        (
            entry("half_width", "97.500", 'metric = "test/acc"\nonly = "lr=0.1 seed=0"'),
            "cannot be recomputed",
        ),
    ],
)
def test_what_cannot_be_recomputed_fails(
    capsys: pytest.CaptureFixture[str], claim: str, sentence: str
) -> None:
    assert claims.main([str(write(claim))]) == 1

    assert sentence in capsys.readouterr().err


def test_all_faults_of_a_file_are_told_at_once() -> None:
    path = write(
        'statistic = "mean"\ntext = "no number"\nmetrc = "x"',
        'statistic = 3\ntext = "97.5"\nvalue = "a"',
    )

    with pytest.raises(UserError) as caught:
        claims.main([str(path)])

    assert str(caught.value).splitlines() == [
        "claims.toml: claim 1: unknown key 'metrc' (did you mean "
        "'metric'? known: file, grid, metric, only, "
        "statistic, text, tolerance, value)",
        "claims.toml: claim 2: statistic: expected a text",
        "claims.toml: claim 2: value: expected a number",
    ]


@pytest.mark.parametrize(
    ("content", "sentence"), [("[[", "is no TOML"), ("a = 1", "expected one table"), (None, "read")]
)
def test_a_file_that_is_none_is_one_sentence(content: str | None, sentence: str) -> None:
    if content is not None:
        Path("claims.toml").write_text(content)

    with pytest.raises(UserError, match=sentence):
        claims.main(["claims.toml"])
