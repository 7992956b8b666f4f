"""Ctrl-C and SIGTERM as a request to stop at the next step, not as a crash in the middle of one."""

import signal
import threading
from types import FrameType

#: What a terminal, a batch scheduler and a container runtime send.
SIGNALS = (signal.SIGINT, signal.SIGTERM)
#: Exit statuses of a process ended by signal n are 128 + n, by convention of the shell.
SHELL_BASE = 128


class Interrupt:
    """Within ``with Interrupt() as stop``, the first signal only sets `requested`; a second acts at once."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._previous: dict[signal.Signals, object] = {}

    @property
    def requested(self) -> bool:
        """Whether to stop."""
        return self.signal is not None

    @property
    def exit_status(self) -> int:
        """What the process should exit with."""
        return 0 if self.signal is None else SHELL_BASE + self.signal

    def __enter__(self) -> "Interrupt":
        # Python allows handlers in the main thread only; elsewhere signals keep their meaning.
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._handle) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = signal.Signals(number)
