"""How Slurm's commands are called: in full, in English, within a time limit, and again where that can do no harm."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence

from anlp.core.errors import SchedulerError
from jobs.common import external
from jobs.schedulers.slurm import errors as refusals

QUERY_TIMEOUT_S = 45.0
MOST_RETRIES = 3
PAUSE_S = 0.5
# who waited so long has tried again by itself, as clients do for 9 s where the controller is down
PATIENT_CLIENT_S = 5.0
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 16.0
# Whatever the user's shell says, answers come in full, in English, and unfiltered.
SILENCED = (
    *(
        "SQUEUE_STATES",
        "SQUEUE_PARTITION",
        "SQUEUE_USERS",
        "SQUEUE_ACCOUNT",
        "SQUEUE_QOS",
        "SQUEUE_NAMES",
    ),
    *(
        "SQUEUE_ARRAY",
        "SQUEUE_LICENSES",
        "SQUEUE_FEDERATION",
        "SACCT_FEDERATION",
        "SBATCH_WAIT",
        "SBATCH_ARRAY_INX",
    ),
)


class Patience:
    """How long a command may go on trying what was certainly not done; shared by all of its calls.

    Args:
        total_s: seconds from now.
        say: told of every wait, before it.
    """

    def __init__(self, total_s: float, say: Callable[[str], None]) -> None:
        self._deadline = time.monotonic() + total_s
        self._say = say

    def repeat(
        self, call: Callable[[], external.Answer], is_harmless: Callable[[str], bool]
    ) -> external.Answer:
        """The answer of `call`, made again with growing pauses while it fails in a way that `is_harmless` to repeat."""
        for wait_s in _waits():
            answer = call()
            left_s = self._deadline - time.monotonic() - wait_s
            if answer.code == 0 or left_s < 0 or not is_harmless(answer.err):
                break
            words = refusals.explain_refusal(answer.err)
            self._say(f"slurm: {words}; trying again in {wait_s:.0f} s, for another {left_s:.0f} s")
            time.sleep(wait_s)
        return answer


def run(
    *argv: str, options: Sequence[str] = (), timeout_s: float = QUERY_TIMEOUT_S
) -> external.Answer:
    """Calls a command of Slurm once; `options` are further arguments of `env`."""
    silenced = [word for name in SILENCED for word in ("-u", name)]
    environment = ["LC_ALL=C", "SLURM_BITSTR_LEN=0", "SLURM_TIME_FORMAT=standard"]
    return external.run(
        ["env", *silenced, *options, *environment, *argv], timeout_s=timeout_s, name=argv[0]
    )


def query(*argv: str, tolerated: str = "\0") -> external.Answer:
    """The answer to a question, asked again after a pause where Slurm was not reached.

    Raises:
        SchedulerError: no answer, or an error other than the tolerated one.
    """
    for pause in (*_pauses(), None):
        began = time.monotonic()
        answer = run(*argv)
        if answer.code == 0 or tolerated in answer.err:
            return answer
        if answer.code == external.NOT_FOUND and argv[0] == "sacct":
            return answer
        raise_if_missing(argv[0], answer)
        if answer.code != external.TIMED_OUT and not refusals.is_transient(answer.err):
            raise SchedulerError(f"slurm: {argv[0]}: {refusals.explain_refusal(answer.err)}")
        if pause is None or time.monotonic() - began > PATIENT_CLIENT_S:
            break
        time.sleep(pause)
    raise unreachable(argv[0], answer)


def ask_squeue(*words: str) -> str:
    """What squeue printed; nothing where it has forgotten the only job it was asked for."""
    answer = query("squeue", "-h", *words, tolerated=refusals.NO_SUCH_JOB)
    return "" if answer.code else answer.out


def ask_sacct(*words: str) -> str | None:
    """What sacct printed, None where the site keeps no accounts."""
    return read_sacct(query(*sacct(*words), tolerated=refusals.NO_ACCOUNTING))


def sacct(*words: str) -> list[str]:
    """The arguments of a sacct call that answers with a line per job."""
    return ["sacct", "-n", "-P", "-X", *words]


def read_sacct(answer: external.Answer) -> str | None:
    """What sacct printed, None where it says that there are no accounts, or is not there itself."""
    return None if answer.code or refusals.NO_ACCOUNTING in answer.err else answer.out


def raise_if_missing(command: str, answer: external.Answer) -> None:
    """Says where a command that is not there would be.

    Raises:
        SchedulerError: it is not there.
    """
    if answer.code == external.NOT_FOUND:
        raise SchedulerError(
            f"slurm: there is no {command} here: run this on a login node of the cluster"
        )


def unreachable(command: str, answer: external.Answer) -> SchedulerError:
    """The error of a call that may go better another time."""
    return SchedulerError(
        f"slurm: {command}: {refusals.explain_refusal(answer.err)}; try again later", transient=True
    )


def _pauses() -> list[float]:
    """Seconds to wait before each new try: doubled each time, with jitter so that many clients do not come together."""
    return [PAUSE_S * 2**number * _jitter() for number in range(MOST_RETRIES)]


def _waits() -> Iterator[float]:
    wait_s = FIRST_WAIT_S
    while True:
        yield wait_s * _jitter()
        wait_s = min(2 * wait_s, LONGEST_WAIT_S)


def _jitter() -> float:
    return random.uniform(0.5, 1.5)
