"""Ask a PBS server with as few calls as its release allows; remember what it refuses."""

from __future__ import annotations

from collections.abc import Sequence

from anlp.core.errors import SchedulerError
from jobs.common import external
from jobs.common.external import Answer
from jobs.schedulers.pbs import parse as answers
from jobs.schedulers.pbs.parse import JobId, Record, parse_id, parse_records
from jobs.schedulers.pbs.validate import Dialect

IDS_PER_CALL = 2_000  # 80 kB of arguments; one query of the server
SLOW_IDS_PER_CALL = 100  # without -E, where every id is a connection
QUERY_TIMEOUT_S = 60.0
SLOW_QUERY_TIMEOUT_S = 300.0  # without -E every id is a connection: 200 took up to 52 s


class Server:
    """Asks one server; finds out its dialect once, and what its release refuses.

    Args:
        dialect: of the site's profile: `auto` asks the server.
    """

    def __init__(self, dialect: str) -> None:
        self.dialect: Dialect | None = None if dialect == "auto" else Dialect(dialect)
        self.has_history = True
        self.strange: set[JobId] = set()  # the ids of servers that are not known here
        self._is_plain = False  # this release refuses -E, -w or -1

    def query(
        self, ids: Sequence[str], *, with_sub_jobs: bool = True
    ) -> tuple[dict[JobId, Record], set[JobId]]:
        """Return the jobs that the server knows, and the ids that it says it does not know."""
        records: dict[JobId, Record] = {}
        unknown: set[JobId] = set()
        rest = list(ids)
        while rest:
            some = rest[: SLOW_IDS_PER_CALL if self._is_plain else IDS_PER_CALL]
            answer = self._ask_once(some, with_sub_jobs and any("[" in native for native in some))
            if answer is None:
                continue
            rest = rest[len(some) :]
            found = parse_records(answer.out)
            records |= found
            unknown |= answers.unknown_ids(answer)
            self.strange |= answers.strange_ids(answer)
            if not found and answer.code == answers.EXIT_UNKNOWN_JOB:
                # of several that it does not know it names one
                unknown |= {key for key in map(parse_id, some) if key is not None}
        return records, unknown

    def _ask_once(self, ids: Sequence[str], with_sub_jobs: bool) -> Answer | None:
        """Call one qstat; return None where this release refuses an option, which is remembered.

        A dialect that is not known yet is taken for PBS Pro's, whose options Torque refuses: that
        saves a call.
        """
        options = self._query_options(with_sub_jobs)
        timeout_s = SLOW_QUERY_TIMEOUT_S if self._is_plain else QUERY_TIMEOUT_S
        answer = external.run(["qstat", *options, *ids], timeout_s=timeout_s)
        if answers.is_history_off(answer) and self.has_history:
            self.has_history = False
        elif answers.is_usage(answer) and self.dialect is None:
            self._is_plain = self.known_dialect() is Dialect.PRO
        elif answers.is_usage(answer) and not self._is_plain:
            self._is_plain = True
        else:
            raise_unless(answers.is_answered(answer), "qstat", answer)
            self.dialect = self.dialect or Dialect.PRO
            return answer
        return None

    def ask_of_all(self) -> Answer:
        """Ask about all jobs of the server, where there is no other way to find some."""
        while True:
            answer = self._ask_once((), with_sub_jobs=False)
            if answer is not None:
                return answer

    def _query_options(self, with_sub_jobs: bool) -> list[str]:
        is_torque = self.dialect is Dialect.TORQUE
        wanted = {
            "-E": not is_torque and not self._is_plain,
            "-x": not is_torque and self.has_history,
            "-f": is_torque,
            "-1": is_torque and not self._is_plain,
            "-t": with_sub_jobs and not (is_torque and self._is_plain),
        }
        options = [option for option, is_wanted in wanted.items() if is_wanted]
        if is_torque:
            return options
        return [*options, "-f"] if self._is_plain else [*options, "-f", "-w"]

    def known_dialect(self) -> Dialect:
        """Return the server's dialect, asked for once."""
        if self.dialect is None:
            answer = external.run(["qstat", "--version"], timeout_s=QUERY_TIMEOUT_S)
            if is_missing(answer):
                raise missing("qstat")
            raise_unless(not answers.is_unreachable(answer), "qstat", answer)
            word = answers.parse_dialect(answer)
            if word is None:
                raise SchedulerError(
                    "pbs: `qstat --version` names neither PBS Pro nor Torque; set `dialect: pro` "
                    "or `dialect: torque` in the site profile"
                )
            self.dialect = Dialect(word)
        return self.dialect


def ask_server() -> Answer:
    """Ask for the attributes of the server."""
    return external.run(["qstat", "-B", "-f"], timeout_s=QUERY_TIMEOUT_S)


def raise_unless(is_good: bool, command: str, answer: Answer) -> None:
    """Say what a command answered where that is no good answer.

    Raises:
        SchedulerError: it is none.
    """
    if is_good:
        return
    if is_missing(answer):
        raise missing(command)
    refusal = answers.render_refusal(command, answer)
    raise SchedulerError(refusal, transient=answers.is_unreachable(answer))


def missing(command: str) -> SchedulerError:
    """Return the error of a command that is not here."""
    return SchedulerError(
        f"pbs: there is no {command} here: run this on a login node of the cluster"
    )


def is_missing(answer: Answer) -> bool:
    """Return whether there was no such command."""
    return answer.code == external.NOT_FOUND and "no such command" in answer.err
