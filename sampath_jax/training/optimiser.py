"""AdamW over the head, with the accumulation of gradients that the published training uses."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int
from ml_collections import ConfigDict

from sampath_jax.training.schedule import Schedule

#: torch's defaults, which the published training uses.
BETAS = (0.9, 0.999)
EPSILON = 1e-8


def make_optimiser(config: ConfigDict, steps_per_epoch: int) -> optax.GradientTransformation:
    """AdamW with the schedule of `config.optim`; `update` is called with the gradient of every micro-batch.

    As published the weight decay is decoupled and acts on every tensor: biases, norms and tokens too, and
    tensors whose gradient is zero.

    Args:
        config: the section `config.optim`.
        steps_per_epoch: micro-batches per epoch, ceil(tiles / batch_size).
    """
    adamw = optax.adamw(
        Schedule.from_config(config, steps_per_epoch),
        b1=BETAS[0],
        b2=BETAS[1],
        eps=EPSILON,  # added to the root, as in torch
        weight_decay=config.weight_decay,
    )
    return accumulate(adamw, config.accumulate, steps_per_epoch)


class AccumulateState(NamedTuple):
    """State of `accumulate`."""

    micro_step: Int[Array, ""]  # position in the epoch
    gradients: Any  # sum over the window so far
    inner: optax.OptState


def accumulate(
    inner: optax.GradientTransformation, count: int, steps_per_epoch: int
) -> optax.GradientTransformation:
    """Calls `inner` once per window of `count` micro-batches with the sum of their gradients over `count`.

    The last window of an epoch may be shorter; it too ends in a step and is still divided by `count`, as
    published (`optax.MultiSteps` would carry it into the next epoch). Between steps the updates are zero.
    """
    if count == 1:
        return inner

    def init(params: optax.Params) -> AccumulateState:
        zeros = jax.tree.map(jnp.zeros_like, params)
        return AccumulateState(jnp.zeros((), jnp.int32), zeros, inner.init(params))

    def update(
        gradients: optax.Updates, state: AccumulateState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, AccumulateState]:
        total = jax.tree.map(jnp.add, state.gradients, gradients)
        zeros = jax.tree.map(jnp.zeros_like, total)
        passed = state.micro_step + 1

        def step() -> tuple[optax.Updates, optax.Updates, optax.OptState]:
            mean = jax.tree.map(lambda g: g / count, total)
            updates, new = inner.update(mean, state.inner, params)
            return updates, zeros, new

        def wait() -> tuple[optax.Updates, optax.Updates, optax.OptState]:
            return zeros, total, state.inner

        ends = (passed % count == 0) | (passed == steps_per_epoch)
        updates, sums, inner_state = jax.lax.cond(ends, step, wait)
        return updates, AccumulateState(passed % steps_per_epoch, sums, inner_state)

    return optax.GradientTransformation(init, update)
