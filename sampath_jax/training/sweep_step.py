"""One step of many heads: the batch is augmented and encoded once, then every head takes its own step.

Two kinds of programs: one encodes, the other takes the step of a group of heads, whose state is donated to it
and updated in place. So memory grows with the heads by their states alone: a single program that loops over
stacked states would need the states twice, as the compiler cannot tell that one head's update leaves the
others alone.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Bool, Float
from ml_collections import ConfigDict

from sampath_jax.distributed import Placement
from sampath_jax.models.config import SamPathConfig
from sampath_jax.training.heads import GroupedHeads
from sampath_jax.training.losses import LossWeights
from sampath_jax.training.state import TrainState
from sampath_jax.training.step import FeatureBatch, Metrics, make_feature_step, make_head_step

#: A compiled program of `jax.jit(...).lower(...)`.
Program = Any


class Terms(NamedTuple):
    """What differs between heads; of a group, every array has a leading axis of heads."""

    alpha: Float[Array, "*heads"]  # weight of the focal loss
    beta: Float[Array, "*heads"]  # weight of the IoU regression
    counted: Bool[Array, "*heads tiles"]  # False for the tiles that validate the head


@dataclass(frozen=True)
class SweepPrograms:
    """What is compiled for a sweep before any array of it exists, on abstract arrays.

    Attributes:
        graphdef: of `models.freezing.split_head`.
        head: the trained parameters of one head.
        frozen: all others.
        tx: the optimiser, the same for all heads.
        config: what the heads have in common.
        placement: the mesh.
        tiles: how many there are in the training split.
    """

    graphdef: nnx.GraphDef
    head: Any
    frozen: Any
    tx: optax.GradientTransformation
    config: ConfigDict
    placement: Placement
    tiles: int

    @property
    def state(self) -> TrainState:
        """The state of one head."""
        return jax.eval_shape(lambda head: TrainState.create(head, self.tx), self.head)

    @functools.cached_property
    def encode(self) -> Program:
        """`encode(frozen, batch) -> features`, and what else of the batch the heads need."""
        features_of = make_feature_step(self.graphdef, self.config)

        def encode(frozen: Any, batch: Any) -> dict[str, Any]:
            return {**features_of(self.head, frozen, batch), "index": batch["index"]}

        jitted: Any = self.placement.compile_encoder(encode, self.frozen)
        return jitted.lower(self.frozen, self.batch).compile()

    @functools.cached_property
    def batch(self) -> Any:
        """An empty batch on the mesh."""
        return self.placement.put_batch(empty_rows(self.config, self.placement.process_count))

    def step(self, together: int, stacked: bool) -> Program:
        """`step(state, frozen, features, terms) -> (state, metrics)` of a group; the state is donated.

        Args:
            together: heads in the group.
            stacked: whether the arrays have a leading axis of heads. Without it there is a single head, and
                gradient accumulation skips the optimiser where `vmap` would compute and discard.
        """
        placement, axes = self.placement, (together,) * stacked

        def wide(tree: Any) -> Any:
            return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((*axes, *leaf.shape), leaf.dtype), tree)

        step = _make_own_step(self.graphdef, self.tx, self.config)
        jitted = jax.jit(
            jax.vmap(step, in_axes=(0, None, None, 0)) if stacked else step,
            in_shardings=(
                placement.replicated,
                placement.frozen(self.frozen),
                placement.by_batch,
                placement.replicated,
            ),
            out_shardings=placement.replicated,
            donate_argnums=0,
        )
        terms = jax.eval_shape(lambda: Terms(jnp.zeros(()), jnp.zeros(()), jnp.ones(self.tiles, bool)))
        features = self.encode.out_info
        return jitted.lower(wide(self.state), self.frozen, features, wide(terms)).compile()


class SweepStep:
    """A `TrainStep` on the states of `GroupedHeads`; each metric is an array with a number for each head.

    Args:
        programs: what encodes.
        heads: the groups.
        steps: a program for each group.
        terms: of each head.
    """

    def __init__(
        self, programs: SweepPrograms, heads: GroupedHeads, steps: Sequence[Program], terms: Sequence[Terms]
    ):
        self._encode, self._steps = programs.encode, tuple(steps)
        self._terms = heads.form([programs.placement.put(own) for own in terms])

    def __call__(
        self, states: tuple[TrainState, ...], frozen: Any, batch: Any
    ) -> tuple[tuple[TrainState, ...], Metrics]:
        """One micro-batch; the states are donated."""
        features = self._encode(frozen, batch)
        done = [
            step(state, frozen, features, terms)
            for step, state, terms in zip(self._steps, states, self._terms, strict=True)
        ]
        return tuple(state for state, _ in done), _concatenate([metrics for _, metrics in done])


def _make_own_step(
    graphdef: nnx.GraphDef, tx: optax.GradientTransformation, config: ConfigDict
) -> Callable[[TrainState, Any, Any, Terms], tuple[TrainState, Metrics]]:
    head_step = make_head_step(graphdef, tx)

    def own_step(state: TrainState, frozen: Any, batch: Any, terms: Terms) -> tuple[TrainState, Metrics]:
        own = FeatureBatch(
            features=batch["features"],
            label=batch["label"],
            valid=batch["valid"] & terms.counted[batch["index"]],
        )
        return head_step(state, frozen, own, LossWeights(terms.alpha, terms.beta, config.loss.unlabelled))

    return own_step


def empty_rows(config: ConfigDict, processes: int) -> dict[str, np.ndarray]:
    """One process's rows of a training batch of `config`, all padding."""
    rows, canvas = config.optim.batch_size // processes, tuple(config.data.canvas)
    model = SamPathConfig.from_config(config)
    shown: dict[str, tuple[tuple[int, ...], Any]] = {
        "image": ((*canvas, 3), np.uint8),
        "epoch": ((), np.int32),
    }
    if config.data.cache_features:
        shown = {
            "features": ((*model.grid, model.feature_width), model.compute_dtype),
            "view": ((), np.int32),
        }
    shown |= {"label": (canvas, np.uint8), "valid": ((), np.bool_), "index": ((), np.int32)}
    return {name: np.zeros((rows, *shape), dtype) for name, (shape, dtype) in shown.items()}


@jax.jit
def _concatenate(metrics: list[Any]) -> Metrics:
    return jax.tree.map(lambda *parts: jnp.concatenate([jnp.atleast_1d(part) for part in parts]), *metrics)
