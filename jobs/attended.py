"""A submission on this machine: wave by wave, each followed to its end, with what the machine ended repeated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from anlp.errors import EXIT_INTERRUPTED, EXIT_OK, EXIT_RUNS_FAILED
from anlp.spec import RunSpec
from jobs.failures import FAILURES
from jobs.follow import follow
from jobs.handover import Desk
from jobs.packing import ALONE
from jobs.plan import make_plan
from jobs.planned import say_nothing_to_do, say_taken_meanwhile
from jobs.schedulers import choose
from jobs.schedulers.local import LocalScheduler
from jobs.screen import count
from jobs.state import read_states
from jobs.waves import Wave

CHAIN_SAVES_NOTHING = "chain: changes nothing on this machine, where all runs share one start anyway"


@dataclass(frozen=True, slots=True)
class Attended:
    """Runs what a desk hands over; this process stays until all of it has ended."""

    desk: Desk

    def run(self, specs: Sequence[RunSpec], scheduler: LocalScheduler) -> int:
        """Wave by wave, each to its end; behind a canary that failed nothing is run.

        Returns:
            0, 1 if a run failed or was lost, 130 if it was stopped.
        """
        if self.desk.target.packing.chain > 1:
            print(f"{self.desk.folder.name}: note: {CHAIN_SAVES_NOTHING}")
        history = read_states(self.desk.folder, self.desk.query) if self.desk.target.canary else {}
        waves = self.desk.waves(specs, history)
        canaries = [wave for wave in waves if wave.is_canary]
        others = waves[len(canaries) :]
        launchers = chain([scheduler], iter(self._make_launcher, None))
        code = self._run_all(canaries, launchers)
        if code:
            rest = sum(len(wave.specs) for wave in others)
            why = "a canary failed" if code == EXIT_RUNS_FAILED else "the canaries were stopped"
            left = f"the other {count(rest, 'run')} did not begin; any submit takes them"
            print(f"{self.desk.folder.name}: {why}, so {left}")
            return code
        ended = self._run_all(others, launchers)
        if code is None and ended is None:
            history = read_states(self.desk.folder, self.desk.query)
            say_nothing_to_do(self.desk.folder, make_plan(specs, history, self.desk.redo))
        return ended or EXIT_OK

    def _run_all(self, waves: Sequence[Wave], launchers: Iterator[LocalScheduler]) -> int | None:
        """Their exit code: 1 if a run failed, 130 as soon as they were stopped; None where nothing was left to do."""
        codes = []
        for wave in waves:
            code = self._run_wave(wave, launchers)
            if code is not None:
                codes.append(code)
            if code == EXIT_INTERRUPTED:
                break
        return max(codes, default=None)

    def _run_wave(self, wave: Wave, launchers: Iterator[LocalScheduler]) -> int | None:
        """Follows a wave to its end, with what its machine ended repeated as often as the grid asks (`retries`)."""
        code = self._run_once(wave, launchers, again=False)
        if code != EXIT_RUNS_FAILED or not self.desk.target.options.retries:
            return code
        while (again := self._run_once(wave, launchers, again=True)) is not None:
            if again == EXIT_INTERRUPTED:
                return again
        history = read_states(self.desk.folder, self.desk.query)
        failed = any(history[spec.run_id].state in FAILURES for spec in wave.specs if spec.run_id in history)
        return EXIT_RUNS_FAILED if failed else EXIT_OK

    def _run_once(self, wave: Wave, launchers: Iterator[LocalScheduler], *, again: bool) -> int | None:
        """Follows what is missing of a wave, or `again` what is due of it; None where there is nothing of the kind."""
        with self.desk.held():
            plan, history = self.desk.plan(wave.specs)
            chosen = tuple(spec for spec in plan.chosen if spec.run_id in plan.due) if again else plan.chosen
            if not chosen:
                return None
            launcher = next(launchers)
            handed = self.desk.hand_over(launcher, replace(wave, specs=chosen), history, ALONE)
        if again:
            what = "1 run is" if len(chosen) == 1 else f"{len(chosen)} runs are"
            why = f"their machine ended them, not they themselves (retries: {self.desk.target.options.retries})"
            print(f"{self.desk.folder.name}: {what} repeated: {why}")
        else:
            say_taken_meanwhile(len(wave.specs) - len(chosen))
        return follow(launcher, self.desk.journal, handed.batch, handed.specs, quiet=self.desk.target.quiet)

    def _make_launcher(self) -> LocalScheduler:
        pack = self.desk.target.packing.pack
        launcher = choose.choose(choose.LOCAL, slots=self.desk.target.slots, container=self.desk.container, pack=pack)
        if not isinstance(launcher, LocalScheduler):
            raise TypeError(f"{choose.LOCAL}: expected the local scheduler, got {type(launcher).__name__}")
        return launcher
