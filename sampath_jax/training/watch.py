"""Losses on their way from the device: collected without waiting, read together, refused if not finite."""

from collections import deque

import jax
import numpy as np

from sampath_jax.training.step import Metrics

#: Steps that the host may be ahead of the device; each holds a batch in device memory.
RUN_AHEAD = 2


class NotFinite(Exception):
    """A loss or gradient is NaN or infinite.

    Attributes:
        step: the micro-batch, counted from 1.
        values: its metrics.
    """

    def __init__(self, step: int, values: dict[str, np.ndarray]):
        super().__init__(f"step {step}: {values}")
        self.step, self.values = step, values


class LossWatch:
    """Keeps the metrics of each step on the device until `take`, so that no step waits for the last one."""

    def __init__(self) -> None:
        self._pending: deque[tuple[int, Metrics]] = deque()

    def add(self, step: int, metrics: Metrics) -> None:
        """Notes the metrics of `step`; waits for the step `RUN_AHEAD` before it, to bound queued batches."""
        self._pending.append((step, metrics))
        if len(self._pending) > RUN_AHEAD:
            jax.block_until_ready(self._pending[-1 - RUN_AHEAD][1])

    def take(self) -> list[dict[str, np.ndarray]]:
        """The metrics of every step since the last call, in one transfer; in a sweep a number for each head.

        Raises:
            NotFinite: for the first step with a NaN or infinite value.
        """
        steps = [step for step, _ in self._pending]
        read = jax.device_get([metrics for _, metrics in self._pending])
        self._pending.clear()
        values = [{name: np.asarray(value) for name, value in metrics.items()} for metrics in read]
        for step, metrics in zip(steps, values, strict=True):
            if not all(np.isfinite(value).all() for value in metrics.values()):
                raise NotFinite(step, metrics)
        return values


class Means:
    """Means of the metrics between two evaluations; in the checkpoint, so that a resumed run agrees."""

    def __init__(self, state: dict | None = None):
        self._sums: dict[str, float] = dict(state["sums"]) if state else {}
        self._count: int = state["count"] if state else 0

    def add(self, metrics: dict[str, float]) -> None:
        """Counts one step."""
        self._sums = {name: self._sums.get(name, 0.0) + value for name, value in metrics.items()}
        self._count += 1

    def state(self) -> dict:
        """For the checkpoint; JSON."""
        return {"sums": self._sums, "count": self._count}

    def means(self) -> dict[str, float]:
        """The means; empty before the first step."""
        return {name: total / self._count for name, total in self._sums.items()}
