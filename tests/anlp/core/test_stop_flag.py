from __future__ import annotations

import os
import signal

import pytest

from anlp.core.stop_flag import ASKS_TO_STOP, Interrupted, stop_flag


@pytest.mark.parametrize("number", ASKS_TO_STOP)
def test_each_of_these_signals_asks_to_stop_and_the_first_is_remembered(
    number: signal.Signals,
) -> None:
    with stop_flag() as flag:
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), signal.SIGTERM)

        assert flag.is_set()
        with pytest.raises(Interrupted, match=number.name):
            flag.raise_if_set()


def test_a_signal_that_goes_to_all_of_a_job_may_be_one_that_others_ignore() -> None:
    """SIGURG: it must not end the process that mounts the image."""
    assert signal.SIGURG in ASKS_TO_STOP
