"""Runs workers side by side: each subject and contestant in a process of its own, repetitions alternated."""

import contextlib
import dataclasses
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

from sampath_jax.benchmarking.work import OURS, PEAK, Request
from sampath_jax.errors import InputError

#: Rounds before those that count.
WARM_UP = 1


@dataclasses.dataclass
class Measurement:
    """What one worker found; times in seconds, one entry per repetition."""

    contestant: str
    subject: str
    batch: int
    seconds: list[float]
    cpu_seconds: list[float]  # of the process, all threads
    tiles: int
    flops: int  # of matrix products per repetition; counted in our program, the same for all
    compile_seconds: float  # PyTorch: the first repetition, which compiles
    again_seconds: float | None  # the same in a second process, from the cache of compiled programs
    host_bytes: int | None  # largest resident size, from compilation on
    device_bytes: int | None
    program_bytes: int | None
    dtype: str
    rates: list[float]  # PEAK only: FLOP/s

    @property
    def best(self) -> float:
        """Seconds of the fastest repetition: what disturbs a measurement only ever slows it down."""
        return min(self.seconds)

    @property
    def median(self) -> float:
        """Seconds of the median repetition."""
        return statistics.median(self.seconds)


class Worker:
    """A process that measures one `Request`; see `worker.py`."""

    def __init__(self, request: Request):
        self.request = request
        # Not a pipe: one that nobody empties would block the process in the end.
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by `kill`
        self._process = subprocess.Popen(
            [sys.executable, "-m", "sampath_jax.benchmarking.worker", request.to_json()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        self.made: dict[str, Any] = {}
        self.repetitions: list[dict[str, Any]] = []

    def wait_until_ready(self) -> None:
        """Returns when everything is compiled."""
        self.made = self._answer()

    def run(self, *, keep: bool = True) -> None:
        """One repetition."""
        repetition = self._ask("run")
        if keep:
            self.repetitions.append(repetition)

    def end(self) -> dict[str, Any]:
        """Ends the process; returns the memory that it used."""
        memory = self._ask("end")
        self.kill()
        return memory

    def kill(self) -> None:
        """Ends the process at once."""
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def _ask(self, question: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(question + "\n")
            self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._errors.seek(0)
            errors = self._errors.read()
            subject, contestant = self.request.subject, self.request.contestant
            raise InputError(f"the benchmark of {subject} by {contestant} failed:\n{errors[-4000:]}")
        return json.loads(line)


def measure(
    requests: Sequence[Request],
    repeats: int,
    on_step: Callable[[], Any] = lambda: None,
) -> list[Measurement]:
    """Measures all `requests` together: every round, each worker does one repetition, in turn.

    So whatever else the machine does in the meantime meets them all alike.

    Args:
        requests: what to measure.
        repeats: rounds that count.
        on_step: called after each repetition, for a progress bar.

    Raises:
        InputError: a worker failed; its error is quoted.
    """
    workers = []
    try:
        for request in requests:
            workers.append(Worker(request))
            workers[-1].wait_until_ready()
        for turn in range(WARM_UP + repeats):
            for worker in workers:
                worker.run(keep=turn >= WARM_UP)
                on_step()
        memory = [worker.end() for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    found = [_measurement(worker, used) for worker, used in zip(workers, memory, strict=True)]
    counted = {(m.subject, m.batch): m.flops for m in found if m.contestant == OURS}
    for measurement in found:
        measurement.flops = measurement.flops or counted.get((measurement.subject, measurement.batch), 0)
    return found


def _measurement(worker: Worker, memory: dict[str, Any]) -> Measurement:
    request, made = worker.request, worker.made
    again = None
    if request.contestant == OURS and request.cache and made["compile_seconds"]:
        again = _compile_again(request)
    return Measurement(
        contestant=request.contestant,
        subject=request.subject,
        batch=request.batch,
        seconds=[repetition["seconds"] for repetition in worker.repetitions],
        cpu_seconds=[repetition["cpu_seconds"] for repetition in worker.repetitions],
        again_seconds=again,
        rates=[r["value"] for r in worker.repetitions] if request.subject == PEAK else [],
        **made,
        **memory,
    )


def _compile_again(request: Request) -> float:
    """Seconds to get the program from the cache in a new process."""
    worker = Worker(request)
    try:
        worker.wait_until_ready()
        return worker.made["compile_seconds"]
    finally:
        worker.kill()
