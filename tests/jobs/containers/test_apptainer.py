"""The words, the environment and the scripts that start a program in an image, and what is asked of
an image before.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from anlp.core.errors import UserError
from jobs.config.resources import Resources
from jobs.containers.apptainer import Bind, Container, binds_of, parse_bind
from jobs.containers.image import (
    ImageChoice,
    ImageFacts,
    choose_image,
    find_program,
    inspect_image,
    make_container,
    warnings,
)
from jobs.schedulers.base import Batch
from jobs.schedulers.batch import Piece
from jobs.schedulers.pbs.script import Start
from jobs.schedulers.pbs.script import render_script as render_script_of_pbs
from jobs.schedulers.pbs.validate import Dialect
from jobs.schedulers.site import apply
from jobs.schedulers.slurm.script import SlurmOptions, render_script
from tests.support.paths import ROOT
from tests.support.schedulers.pbs.sites import pbs_profile

IMAGE = Path("/images/a b.sif")
RUNS = Path("/home/user/runs/mnist")
BUILD = ROOT / "containers" / "build.sh"
INSTALL = ROOT / "tests/support/apptainer/install.sh"
GOLDEN = ROOT / "tests/jobs/schedulers/slurm/golden/image.sh"
CONTAINER = Container(IMAGE, binds=(Bind(RUNS, RUNS),), cwd=RUNS)
ALWAYS = ("--cleanenv", "--no-eval")


@pytest.mark.parametrize(
    ("container", "words"),
    [
        (
            CONTAINER,
            [
                "apptainer",
                "-q",
                "run",
                *ALWAYS,
                "--bind",
                f"{RUNS}:{RUNS}",
                "--pwd",
                str(RUNS),
                str(IMAGE),
            ],
        ),
        (
            Container(IMAGE, has_gpus=True),
            ["apptainer", "-q", "run", *ALWAYS, "--nv", "--pwd", "/", str(IMAGE)],
        ),
        (
            Container(IMAGE, "singularity", (Bind(Path("/data"), Path("/mnt"), read_only=True),)),
            [
                "singularity",
                "-q",
                "run",
                *ALWAYS,
                "--bind",
                "/data:/mnt:ro",
                "--pwd",
                "/",
                str(IMAGE),
            ],
        ),
    ],
)
def test_the_words_are_the_golden_ones(container: Container, words: list[str]) -> None:
    assert list(container.run_argv()) == words


def test_a_command_is_started_by_exec_and_its_words_come_last() -> None:
    words = CONTAINER.exec_argv("python", "-c", "print('a b')")

    assert words[:3] == ("apptainer", "-q", "exec")
    assert words[-4:] == (str(IMAGE), "python", "-c", "print('a b')")


def test_only_listed_variables_pass_and_their_values_stand_in_the_environment_alone() -> None:
    hostile = 'a,b "q" $(touch x) `y`\nz'
    given = {
        "WANDB_API_KEY": hostile,
        "SLURM_JOB_ID": "3",
        "CUDA_VISIBLE_DEVICES": "0,1",
        "SECRET": "s",
        "PATH": "/bin",
    }

    inside = CONTAINER.passing(["SLURM_"]).environment(given)

    assert inside == {
        **given,
        "APPTAINERENV_WANDB_API_KEY": hostile,
        "APPTAINERENV_SLURM_JOB_ID": "3",
        "APPTAINERENV_CUDA_VISIBLE_DEVICES": "0,1",
    }


def test_the_lines_for_a_node_do_the_same(tmp_path: Path) -> None:
    hostile = "a,b \"q\" $(touch x) `y` 'z'"
    script = "\n".join([*CONTAINER.passing(["SLURM_"]).render_exports(), "env -0"])
    given = {
        "WANDB_API_KEY": hostile,
        "SLURM_JOB_ID": "3",
        "SECRET": "s",
        "TMPDIR": str(tmp_path),
        "PATH": "/usr/bin",
    }

    out = subprocess.run(
        ["bash", "-c", script], env=given, capture_output=True, text=True, check=True, cwd=tmp_path
    ).stdout
    found = dict(line.split("=", 1) for line in out.split("\0") if line)

    inside = {name: value for name, value in found.items() if name.startswith("APPTAINERENV_")}
    assert inside == {
        "APPTAINERENV_WANDB_API_KEY": hostile,
        "APPTAINERENV_SLURM_JOB_ID": "3",
        "APPTAINERENV_TMPDIR": str(tmp_path),
    }
    assert list(tmp_path.iterdir()) == []


def test_a_jobs_own_temporary_directory_is_bound_on_the_node() -> None:
    script = "\n".join([*CONTAINER.render_exports(), 'echo "$APPTAINER_BIND"'])

    def bound(tmpdir: str) -> str:
        return subprocess.run(
            ["bash", "-c", script],
            env={"TMPDIR": tmpdir, "APPTAINER_BIND": "/a"},
            capture_output=True,
            text=True,
        ).stdout.strip()

    assert [bound("/usr/share"), bound("/tmp/x"), bound("/nowhere"), bound("")] == [
        "/a,/usr/share",
        "/a",
        "/a",
        "/a",
    ]


@pytest.mark.parametrize("path", ["/a,b", "/a:b", '/a"b', "/a\nb", "a"])
def test_a_path_that_apptainer_would_read_otherwise_is_refused(path: str) -> None:
    with pytest.raises(UserError, match="cannot be bound: expected an absolute path without comma"):
        Container(IMAGE, binds=(Bind(Path(path), Path("/a")),)).run_argv()


def test_binds_of_a_site_are_read() -> None:
    assert parse_bind("/scratch") == Bind(Path("/scratch"), Path("/scratch"))
    assert parse_bind("/scratch:/mnt:ro") == Bind(Path("/scratch"), Path("/mnt"), read_only=True)
    for wrong in ("scratch", "/a:b", "/a:/b:rx", "/a:/b:ro:x"):
        with pytest.raises(ValueError, match="expected /PATH"):
            parse_bind(wrong)


def test_a_folder_behind_a_link_is_bound_where_it_is_and_where_it_is_called(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "link"
    link.symlink_to("real")

    assert [bind.source for bind in binds_of([link])] == [tmp_path / "real", link]


def _script(tmp_path: Path) -> str:
    batch = Batch("0123456789ab", "mnist", RUNS / "batches/3.jsonl", 20)
    return render_script(
        batch, Resources(walltime_min=30), SlurmOptions(container=CONTAINER), tmp_path
    )


def test_the_script_for_slurm_is_the_golden_one() -> None:
    assert _script(Path("/home/user/work")) == GOLDEN.read_text()


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("shellcheck") is None, reason="needs shellcheck: apt-get install shellcheck"
)
def test_shellcheck_has_nothing_to_say_about_it() -> None:
    scripts = [_script(Path("/w")), *(path.read_text() for path in (BUILD, INSTALL))]

    done = [
        subprocess.run(["shellcheck", "-"], input=text, capture_output=True, text=True)
        for text in scripts
    ]

    assert [one.stdout for one in done] == [""] * 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--nonsense"], "usage: containers/build.sh"),
        (["--from", "nothing"], "--from: expected docker or debootstrap, got 'nothing'"),
        (["-o"], "-o needs a value"),
    ],
)
def test_a_mistaken_build_ends_before_it_begins(words: list[str], said: str) -> None:
    done = subprocess.run([BUILD, *words], capture_output=True, text=True)

    assert (done.returncode, said in done.stderr) == (2, True)


@pytest.mark.skipif(
    os.geteuid() != 0, reason="needs root: tries it as a user without a range in /etc/subuid"
)
@pytest.mark.parametrize(
    ("bootstrap", "said"),
    [
        (
            "debootstrap",
            "build.sh: no range for nobody in /etc/subuid: ask for 'usermod --add-subuids",
        ),
        (
            "docker",
            "build.sh: note: no range for nobody in /etc/subuid, "
            "which a base from a hub can do without",
        ),
    ],
)
def test_a_user_without_a_range_of_ids_is_told_what_can_be_done(bootstrap: str, said: str) -> None:
    as_nobody = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
    with TemporaryDirectory() as folder:  # tmp_path is closed to others
        Path(folder).chmod(0o777)
        pretend(Path(folder))
        pretend(Path(folder), "fakeroot")
        words = [
            "bash",
            "-s",
            "--",
            "--from",
            bootstrap,
            "-o",
            f"{folder}/a.sif",
            "--staged",
            "/nowhere",
        ]
        argv, path = [*as_nobody, *words], {"PATH": f"{folder}:/usr/bin:/bin"}

        done = subprocess.run(
            argv, input=BUILD.read_text(), env=path, capture_output=True, text=True, cwd="/"
        )

    assert done.returncode in (1, 2)
    assert said in done.stderr


PRETENDED = """#!/bin/sh
case "$1" in
    --version) echo "NAME version VERSION" ;;
    inspect)
        echo '{"data": {"attributes": {"labels":'
        echo '  {"anlp.commit": "c0ffee", "anlp.variant": "cpu"}}}}'
        ;;
esac
"""


def pretend(folder: Path, name: str = "apptainer", version: str = "1.4.5") -> None:
    program = folder / name
    program.write_text(PRETENDED.replace("NAME", name).replace("VERSION", version))
    program.chmod(0o755)


@pytest.fixture
def bin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "sh").symlink_to("/bin/sh")
    monkeypatch.setenv("PATH", str(folder))
    return folder


def test_singularity_is_taken_where_apptainer_is_missing(bin_folder: Path) -> None:
    pretend(bin_folder, "singularity", "3.11.4-1")

    assert find_program() == ("singularity", "3.11.4-1")


def test_without_either_the_sentence_says_what_to_do(bin_folder: Path) -> None:
    with pytest.raises(
        UserError, match="neither apptainer nor singularity answers here; load its module"
    ):
        find_program()


def test_a_version_that_would_execute_values_is_refused(bin_folder: Path) -> None:
    pretend(bin_folder, "singularity", "3.8.7")

    with pytest.raises(UserError, match=r"singularity 3.8.7 is too old, 3.10 is needed"):
        find_program()


def test_the_facts_of_an_image_are_its_checksum_and_its_labels(
    bin_folder: Path, tmp_path: Path
) -> None:
    pretend(bin_folder)
    image = tmp_path / "anlp.sif"
    image.write_bytes(b"content")

    facts = inspect_image(choose_image(str(image), is_live=True))

    assert facts.for_options().to_json() == {
        "image": str(image),
        "program": "apptainer 1.4.5",
        "sha256": "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73",
        "image_commit": "c0ffee",
        "mode": "live",
    }


def test_singularity_that_is_apptainer_by_another_name_is_taken_by_apptainers_version(
    bin_folder: Path,
) -> None:
    pretend(bin_folder, "apptainer", "1.4.5")
    (bin_folder / "apptainer").rename(bin_folder / "singularity")

    assert find_program() == ("singularity", "1.4.5")


def test_a_program_that_tells_no_version_is_one_sentence(bin_folder: Path) -> None:
    (bin_folder / "apptainer").write_text("#!/bin/sh\necho Loading the module\n")
    (bin_folder / "apptainer").chmod(0o755)

    with pytest.raises(
        UserError, match=r"`apptainer --version` says 'Loading the module', which is no version"
    ):
        find_program()


@pytest.mark.skipif(
    os.geteuid() != 0, reason="needs root: tries it as a user to whom a folder is closed"
)
def test_an_image_in_a_folder_that_is_closed_is_one_sentence() -> None:
    with TemporaryDirectory() as folder:  # tmp_path is closed to others throughout
        inner = Path(folder, "closed", "in")
        inner.mkdir(parents=True)
        inner.parent.chmod(0o700)
        os.setresuid(65534, 65534, 0)
        try:
            with pytest.raises(
                UserError, match=r"in/a.sif: its folder is not there, or closed to you; containers/"
            ):
                choose_image(f"{inner}/a.sif")
        finally:
            os.setresuid(0, 0, 0)


def test_a_missing_image_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"no.sif: no such image; containers/build.sh builds one, --no-container"
    ):
        choose_image(str(tmp_path / "no.sif"))


def facts_of(
    path: str = "/home/user/anlp.sif", *, is_live: bool = False, **labels: str
) -> ImageFacts:
    return ImageFacts(
        Path(path),
        "apptainer 1.4.5",
        "0",
        {f"anlp.{name}": text for name, text in labels.items()},
        is_live,
    )


def warned(
    facts: ImageFacts,
    commit: str = "a" * 40,
    *,
    has_gpus: bool = False,
    leaves: bool = True,
    task: str = "mnist",
) -> str:
    return "; ".join(
        warnings(facts, commit, has_gpus=has_gpus, leaves_machine=leaves, tasks={task})
    )


def test_an_image_of_another_commit_is_warned_of_with_both() -> None:
    text = warned(facts_of(commit="b" * 40 + "+dirty"))

    assert "holds commit bbbbbbbbbbbb+dirty, this checkout is at aaaaaaaaaaaa: " in text


def test_an_image_of_the_same_commit_or_with_the_tree_over_it_is_not() -> None:
    assert warned(facts_of(commit="a" * 40)) == ""
    assert warned(facts_of(commit="b" * 40, is_live=True)) == ""


def test_gpus_and_an_image_without_them_do_not_go_together() -> None:
    assert "torch for CPUs only" in warned(facts_of(commit="a" * 40, variant="cpu"), has_gpus=True)


def test_an_image_without_a_package_is_warned_of_where_runs_may_need_it() -> None:
    facts = facts_of(commit="a" * 40, without="torchvision torchaudio")

    assert warned(facts, task="cifar10").endswith(
        "without torchvision: runs of cifar10 that need it will fail"
    )
    assert (
        warned(facts, task="mnist")
        == warned(facts_of(commit="a" * 40, without="none"), task="cifar10")
        == ""
    )


def test_an_image_that_nodes_cannot_see_is_warned_of() -> None:
    assert "in /tmp, which nodes may not see" in warned(facts_of("/tmp/anlp.sif", commit="a" * 40))
    assert warned(facts_of("/tmp/anlp.sif", commit="a" * 40), leaves=False) == ""


def make(tmp_path: Path, *binds: str, is_live: bool = False) -> Container:
    choice = ImageChoice(IMAGE, is_live, binds)
    facts = facts_of(is_live=is_live)
    return make_container(
        choice, facts, runs=tmp_path / "runs", data=tmp_path / "data", has_gpus=False
    )


def test_runs_and_data_are_bound_and_the_live_tree_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()

    binds = make(tmp_path, is_live=True).binds

    assert [bind.source for bind in binds[:2]] == [tmp_path / "runs", tmp_path / "data"]
    assert (binds[2].source.name, binds[2].target, binds[2].read_only) == (
        "anlp",
        Path("/opt/live/anlp"),
        True,
    )


def test_a_folder_that_is_to_be_bound_must_exist(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match="/nowhere/at/all: does not exist, so it cannot be bound; look at binds:"
    ):
        make(tmp_path, "/nowhere/at/all")


def test_the_script_for_pbs_starts_the_images_own_program_with_its_environment() -> None:
    profile = pbs_profile("generic-pbs")
    batch = Batch("0123456789ab", "mnist", RUNS / "batches/3.jsonl", 10)
    start = Start(
        Path("/home/user"), container=Container(IMAGE, "singularity", (Bind(RUNS, RUNS),), RUNS)
    )

    script = render_script_of_pbs(
        batch, Piece(0, 10), apply(profile, Resources()), profile, Dialect.PRO, start
    )

    words = f"--cleanenv --no-eval --bind {RUNS}:{RUNS} --pwd {RUNS} '{IMAGE}' --batch {batch.path}"
    (line,) = [line for line in script.splitlines() if "--batch" in line]
    assert line == f'singularity -q run {words} --index "$element" --job "${{PBS_JOBID:-}}" &'
    assert 'export "SINGULARITYENV_$name=${!name}"' in script
    assert "PYTHONPATH" not in script
