import signal
import threading

import pytest

from sampath_jax.training.interrupt import Interrupt


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_noted_and_the_second_acts(number):
    before = signal.getsignal(number)
    with Interrupt() as stop:
        assert (stop.requested, stop.exit_status) == (False, 0)
        signal.raise_signal(number)
        assert (stop.requested, stop.signal, stop.exit_status) == (True, number, 128 + number)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    assert signal.getsignal(number) is before


def test_other_threads_leave_signals_alone():
    seen = []

    def run():
        with Interrupt() as stop:
            seen.append((stop.requested, signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [(False, signal.getsignal(signal.SIGTERM))]
