"""What training changes, and what a checkpoint therefore holds."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array, Int


class TrainState(NamedTuple):
    """Donated to the train step and returned by it. The frozen encoders are not in it."""

    step: Int[Array, ""]  # micro-batches seen
    head: Any  # the trainable arrays: neck and mask decoder
    opt_state: optax.OptState

    @classmethod
    def create(cls, head: Any, tx: optax.GradientTransformation) -> "TrainState":
        """The state before the first step."""
        return cls(jnp.zeros((), jnp.int32), head, tx.init(head))
