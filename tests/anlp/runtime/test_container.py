"""What a run knows of the image that it runs in, without one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from anlp.records.options import ContainerOptions, RunOptions, options_from_json
from anlp.runtime import container

INSIDE = {"APPTAINER_CONTAINER": "/images/anlp.sif"}
SUBMITTED = ContainerOptions("/images/anlp.sif", "apptainer 1.4.5", "c0ffee", "abc", "baked")


def test_a_bare_run_says_nothing_of_an_image() -> None:
    assert container.provenance(SUBMITTED, {}) == {}


def test_provenance_is_what_submit_knew_and_which_code_is_executed() -> None:
    assert container.provenance(SUBMITTED, INSIDE) == {"container": SUBMITTED.to_json()}


def test_an_image_that_submit_did_not_choose_is_not_given_that_ones_checksum() -> None:
    found = container.provenance(SUBMITTED, {"SINGULARITY_CONTAINER": "/other.sif"})

    assert found == {"container": {"image": "/other.sif", "mode": "baked"}}


def test_options_keep_their_image() -> None:
    for options in (RunOptions(), RunOptions(container=SUBMITTED)):
        assert options_from_json(options.to_json()) == options


def test_small_libraries_are_read_and_what_is_no_file_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "libsmall.so").write_bytes(b"x")
    paths = [tmp_path / "libsmall.so", tmp_path / "gone.so", tmp_path]
    lines = [f"7f00-7f01 r-xp 00000000 00:2f 12 {path}" for path in paths]
    (tmp_path / "maps").write_text(
        "\n".join([*lines, "7f02-7f03 rw-p 00000000 00:00 0", "7f04-7f05 rw-p 0 00:00 0 [heap]"])
    )

    container.preload_libraries(tmp_path / "maps")


def test_leaving_keeps_the_code_and_the_last_words() -> None:
    code = (
        "import os; from anlp.runtime.container import exit_process; "
        "print('last words'); exit_process(3, os.environ)"
    )

    for environment in ({}, INSIDE):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            capture_output=True,
            text=True,
            cwd=Path.cwd(),
        )
        assert (done.returncode, done.stdout) == (3, "last words\n")
