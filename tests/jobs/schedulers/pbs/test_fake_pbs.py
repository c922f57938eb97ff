"""The pretended PBS refuses in the words and with the codes that were recorded."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.schedulers.pbs import fake_pbs
from tests.support.submits import wait_until

pytestmark = pytest.mark.slow

HOST = fake_pbs.HOST


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Path]:
    fake_pbs.install(tmp_path / "site", held=True)
    (tmp_path / "site" / "e.pbs").write_text("#PBS -l walltime=0:1:0\nexit 0\n")
    yield tmp_path / "site"
    fake_pbs.close(tmp_path / "site")


def ask(site: Path, *words: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [site / "bin" / words[0], *words[1:]], cwd=site, capture_output=True, text=True
    )
    return done.returncode, done.stdout.strip(), done.stderr.split("\nusage:")[0].strip()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("qsub -J 0-0 e.pbs", 2, "qsub: illegal -J value"),
        ("qsub -J 5-1 e.pbs", 2, "qsub: illegal -J value"),
        ("qsub -J 0-10000 e.pbs", 3, "qsub: Array job exceeds server or queue size limit"),
        ("qsub -J 0-3 -r n e.pbs", 2, "qsub:  cannot submit non-rerunable Array Job"),
        ("qsub -t 0-3 e.pbs", 2, "qsub: invalid option -- 't'"),
        ("qsub -N a@b e.pbs", 2, "qsub: illegal -N value"),
        ("qsub -q nosuch e.pbs", 170, "qsub: Unknown queue"),
        ("qsub -l select=1:ncpus=1:ngpu=1 e.pbs", 187, "qsub: Unknown resource: ngpu"),
        (
            "qsub -l select=1:mem=4.5gb e.pbs",
            166,
            "qsub: Illegal attribute or resource value select.mem",
        ),
        ("qsub -l nodes=1:ppn=2:gpus=1 e.pbs", 241, "qsub: node(s) specification error"),
        (
            "qsub -l walltime=2h e.pbs",
            166,
            "qsub: Illegal attribute or resource value Resource_List.walltime",
        ),
        ("qsub -W depend=afterok:36[1] e.pbs", 2, "qsub: illegal -W value"),
        ("qsub -W depend=bogus:1 e.pbs", 2, "qsub: illegal -W value"),
        ("qsub nosuch.pbs", 1, "qsub: script file:: No such file or directory"),
        ("qstat -f 99999", 153, f"qstat: Unknown Job Id 99999.{HOST}"),
        ("qstat -E workq", 1, "qstat: Express option can only be used with job ids"),
        ("qdel 99999", 153, "qdel: Unknown Job Id 99999"),
        ("qalter -N x 99999", 153, "qalter: Unknown Job Id 99999"),
    ],
)
def test_refusals_are_as_recorded(site: Path, words: str, code: int, said: str) -> None:
    assert ask(site, *words.split()) == (code, "", said)


def test_a_dependent_of_an_unknown_job_is_accepted_and_gone_at_once(site: Path) -> None:
    accepted = ask(site, "qsub", "-W", "depend=afterok:99999", "e.pbs")
    for _ in range(50):
        code, shown, _ = ask(site, "qstat", "-x", "-f", "-w", "1")
        if "job_state = F" in shown:
            break

    assert accepted == (0, f"1.{HOST}", "")
    assert (code, "substate = 92" in shown, "Exit_status" in shown) == (0, True, False)


def test_with_history_off_a_question_for_ended_jobs_hides_the_living_ones(site: Path) -> None:
    fake_pbs.configure(site, history=False)
    ask(site, "qsub", "e.pbs")

    off = f"qstat: PBS is not configured to maintain job history 1.{HOST}"
    assert ask(site, "qstat", "-E", "-x", "-f", "-w", f"1.{HOST}") == (0, "", off)
    assert "job_state = Q" in ask(site, "qstat", "-E", "-f", "-w", f"1.{HOST}", f"7.{HOST}")[1]


def test_a_stranger_among_ids_is_refused_and_the_others_are_shown(site: Path) -> None:
    ask(site, "qsub", "-J", "0-2%1", "e.pbs")

    code, shown, said = ask(
        site, "qstat", "-E", "-f", "-w", f"1[].{HOST}", "12345.otherserver.invalid"
    )

    assert (code, said) == (1, "qstat: illegally formed job identifier: 12345.otherserver.invalid")
    assert shown.startswith(f"Job Id: 1[].{HOST}")
    assert ask(site, "qalter", "-W", "max_run_subjobs=2", f"1[].{HOST}") == (0, "", "")


# ---- as a real server did (OpenPBS 23.06.06, development branch)


@pytest.mark.parametrize(
    ("words", "is_end"),
    [
        ("1 2[1]", True),
        ("2[1] 1", True),
        ("2[1] 3[1]", True),
        ("2[] 3[1]", True),
        ("2[1-2] 3[1]", True),
        ("1 4", False),
        ("2[] 3[]", False),
        ("1 2[]", False),
        ("1 2[1-2]", False),
        ("2[1-2] 1", False),
        ("2[1] 2[2-3]", False),
        ("2[1] 2[3]", False),
    ],
)
def test_a_list_of_mixed_ids_ends_the_server(site: Path, words: str, is_end: bool) -> None:
    for options in ([], ["-J", "0-3"], ["-J", "0-3"], []):
        ask(site, "qsub", *options, "e.pbs")

    assert ask(site, "qdel", *words.split()) == (0, "", "")

    assert bool(fake_pbs.crashes(site)) is is_end
    assert (ask(site, "qstat", "-E", "-x", "-f", "-w", "1", "4")[0] == 255) is is_end
    fake_pbs.configure(site, down=False)


@pytest.mark.parametrize("deleted", ["1", "1[]"])
def test_what_waits_for_a_job_that_was_deleted_before_it_began_is_kept_unless_it_takes_any_end(
    site: Path, deleted: str
) -> None:
    ask(site, "qsub", *(["-J", "0-1"] if "[" in deleted else []), "e.pbs")
    ask(site, "qsub", "-W", f"depend=afterok:{deleted}", "e.pbs")
    ask(site, "qsub", "-W", f"depend=afterany:{deleted}", "e.pbs")

    ask(site, "qdel", deleted)
    wait_until(lambda: "job_state = Q" in shown(site, "3"), lambda: shown(site, "3"), 20.0)

    assert "job_state = H" in shown(site, "2")


def test_the_first_question_about_sub_jobs_leaves_their_comment_on_an_array_that_never_began(
    site: Path,
) -> None:
    ask(site, "qsub", "-W", "depend=afterok:99999", "-J", "0-1", "e.pbs")
    wait_until(lambda: "job_state = F" in shown(site, "1[]"), lambda: shown(site, "1[]"), 20.0)

    assert "Subjob finished" not in shown(site, "1[]")
    ask(site, "qstat", "-E", "-x", "-t", "-f", "-w", "1[]")
    assert "comment = Subjob finished" in shown(site, "1[]")


def shown(site: Path, native: str) -> str:
    """What the server says of a job or array itself."""
    return ask(site, "qstat", "-E", "-x", "-f", "-w", native)[1]
