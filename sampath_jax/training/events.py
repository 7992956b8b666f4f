"""TensorBoard event files that never stand in the way of training.

`tensorboardX.SummaryWriter` hands events to a thread. On a full disk that thread dies, its queue fills, and
the next scalar waits for ever. Here events are written by whoever has them, a few hundred bytes at a time.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.summary import scalar

from sampath_jax import console

#: Events are on disk after so many seconds.
FLUSH_SECONDS = 10.0


class Events:
    """The events of a run. The first error in writing them is a warning, and the last: no more are written.

    Args:
        folder: of the event files; created.
        first: steps done before; TensorBoard hides what a killed run has written of later ones.
    """

    def __init__(self, folder: Path, first: int):
        self._folder = folder
        self._writer: EventsWriter | None = None
        self._flushed = time.monotonic()
        with self._giving_up():
            folder.mkdir(parents=True, exist_ok=True)
            self._writer = EventsWriter(str(folder / "events"))
            self._write(Event(step=first, session_log=SessionLog(status=SessionLog.START)))

    def scalars(self, step: int, group: str, values: Mapping[str, float | None]) -> None:
        """Records ``group/name`` for each of `values` that is defined."""
        with self._giving_up():
            for name, value in values.items():
                if value is not None:
                    self._write(Event(step=step, summary=scalar(f"{group}/{name}", value)))
            if self._writer is not None and time.monotonic() - self._flushed >= FLUSH_SECONDS:
                self._writer.flush()
                self._flushed = time.monotonic()

    def close(self) -> None:
        """Writes what is left."""
        with self._giving_up():
            if self._writer is not None:
                self._writer.close()

    def _write(self, event: Event) -> None:
        if self._writer is not None:
            event.wall_time = time.time()
            self._writer.write_event(event)

    @contextmanager
    def _giving_up(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._writer = None
            console.warning(f"TensorBoard gets no more events in {self._folder}: {error.strerror}")
