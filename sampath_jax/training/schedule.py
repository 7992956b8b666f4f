"""Durations in epochs, resolved to steps in one place, and the learning rate of each optimiser step.

Two kinds of step: a *micro-batch* is one batch through the network, an *optimiser step* follows every
`config.optim.accumulate` of them and the last one of an epoch.
"""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from ml_collections import ConfigDict


@dataclass(frozen=True)
class Schedule:
    """The learning rate: linear warm-up from 0, then constant, times `drop_factor` at each of `drops`.

    All counts are optimiser steps. As published the very first step has rate 0 and changes nothing.
    """

    learning_rate: float
    warmup: int
    drops: tuple[int, ...]
    drop_factor: float
    steps_per_epoch: int
    total: int

    @classmethod
    def from_config(cls, config: ConfigDict, micro_steps_per_epoch: int) -> "Schedule":
        """Resolves the epochs of `config.optim`; every duration is rounded to whole optimiser steps.

        Args:
            config: the section `config.optim`.
            micro_steps_per_epoch: micro-batches per epoch, ceil(tiles / batch_size).
        """
        per_epoch = -(-micro_steps_per_epoch // config.accumulate)

        def steps(epochs: float) -> int:
            return round(epochs * per_epoch)

        return cls(
            learning_rate=config.learning_rate,
            warmup=steps(config.warmup_epochs),
            drops=tuple(steps(epochs) for epochs in config.drop_epochs),
            drop_factor=config.drop_factor,
            steps_per_epoch=per_epoch,
            total=max(1, steps(config.epochs)),
        )

    def __call__(self, step: Int[Array, ""] | int) -> Float[Array, ""]:
        """The learning rate of optimiser step `step`, which counts from 0."""
        factors = np.float32(self.learning_rate * self.drop_factor ** np.arange(len(self.drops) + 1))
        passed = jnp.sum(jnp.asarray(step) >= np.asarray(self.drops, np.int32))
        warming = self.learning_rate / max(self.warmup, 1) * jnp.asarray(step, jnp.float32)
        return jnp.where(jnp.asarray(step) < self.warmup, warming, jnp.asarray(factors)[passed])
