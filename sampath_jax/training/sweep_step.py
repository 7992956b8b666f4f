"""One step of many heads: the batch is augmented and encoded once, then every head takes its own step."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Bool, Float
from ml_collections import ConfigDict

from sampath_jax.training.losses import LossWeights
from sampath_jax.training.state import TrainState
from sampath_jax.training.step import (
    Batch,
    FeatureBatch,
    Metrics,
    TrainStep,
    make_feature_step,
    make_head_step,
)


def make_sweep_step(
    graphdef: nnx.GraphDef,
    tx: optax.GradientTransformation,
    config: ConfigDict,
    alphas: Float[np.ndarray, " heads"],
    betas: Float[np.ndarray, " heads"],
    counts: Bool[np.ndarray, "heads tiles"],
) -> TrainStep:
    """A `TrainStep` on states whose arrays have a leading axis of heads; so have the metrics.

    Args:
        graphdef: of `models.freezing.split_head`.
        tx: the optimiser, the same for all heads.
        config: what the heads have in common.
        alphas: weight of the focal loss of each head.
        betas: weight of the IoU regression of each head.
        counts: whether a tile of the training split counts in a head's loss; False for its validation tiles.
    """
    features_of, head_step = make_feature_step(graphdef, config), make_head_step(graphdef, tx)

    def sweep_step(states: TrainState, frozen: Any, batch: Batch) -> tuple[TrainState, Metrics]:
        first = jax.tree.map(lambda leaf: leaf[0], states.head)
        features = features_of(first, frozen, batch)

        def one_head(head: tuple[TrainState, Any, Any, Any]) -> tuple[TrainState, Metrics]:
            state, alpha, beta, counted = head
            own = FeatureBatch(**{**features, "valid": features["valid"] & counted[batch["index"]]})
            return head_step(state, frozen, own, LossWeights(alpha, beta, config.loss.unlabelled))

        heads = (states, jnp.asarray(alphas), jnp.asarray(betas), jnp.asarray(counts))
        return jax.lax.map(one_head, heads, batch_size=heads_at_once(len(alphas)))

    return sweep_step


def heads_at_once(heads: int) -> int:
    """How many heads are computed together. More are faster on accelerators, and take more memory.

    On CPU, where one head keeps all cores busy, `vmap` makes the neck's convolution a slow grouped one.
    """
    return 1 if jax.default_backend() == "cpu" else heads
