from __future__ import annotations

import sys

import pytest

from anlp.core.errors import UserError
from benchmarks.grid_wall import main
from benchmarks.measure import describe_machine, run, spread


def test_a_spread_is_told_as_median_and_range() -> None:
    assert spread([4.3, 3.9, 4.1]).render() == "4.10 (3.90-4.30)"


def test_the_cost_of_a_command_is_its_time_its_memory_and_its_output() -> None:
    cost = run(
        [
            sys.executable,
            "-c",
            "import time; b = bytearray(30 << 20); time.sleep(0.05); print('done')",
        ]
    )

    assert cost.output == "done\n"
    assert cost.wall_s > 0.05
    assert cost.cpu_s > 0
    assert cost.peak_mib > 30


def test_a_command_that_fails_says_its_last_words() -> None:
    with pytest.raises(UserError, match=r"exit code 3: no such luck"):
        run([sys.executable, "-c", "import sys; print('no such luck'); sys.exit(3)"])


def test_figures_come_with_what_they_were_measured_on() -> None:
    assert {"date", "cpu", "python", "torch", "wandb", "load"} <= set(describe_machine())


def test_an_odd_number_of_runs_cannot_be_half_dense(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--runs", "3"])

    assert "--runs: expected an even number from 2 to 12, got 3" in capsys.readouterr().err
