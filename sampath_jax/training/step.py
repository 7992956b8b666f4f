"""One training step: encode without gradient, decode with it, update the head."""

from collections.abc import Callable
from typing import Any, TypedDict

import jax
import optax
from flax import nnx
from jaxtyping import Array, Float, Int
from ml_collections import ConfigDict

from sampath_jax.config import data_seed
from sampath_jax.data.augmentation import AugmentConfig, augment, example_keys
from sampath_jax.training.losses import LossWeights, sampath_loss
from sampath_jax.training.state import TrainState
from sampath_jax.types import Features, Images, Labels, Valid

#: Of one micro-batch: loss, dice, focal, iou, grad_norm; numbers, or in a sweep one for each head.
Metrics = dict[str, Float[Array, "*heads"]]


class Batch(TypedDict):
    """What the data pipeline yields."""

    image: Images
    label: Labels
    valid: Valid
    index: Int[Array, " B"]  # position in the split
    epoch: Int[Array, " B"]


class FeatureBatch(TypedDict):
    """A batch whose encoder features are at hand already."""

    features: Features
    label: Labels
    valid: Valid


TrainStep = Callable[[TrainState, Any, Any], tuple[TrainState, Metrics]]
#: Like a `TrainStep`, on features, with the weights of the loss as an argument.
HeadStep = Callable[[TrainState, Any, FeatureBatch, LossWeights], tuple[TrainState, Metrics]]


def make_train_step(
    graphdef: nnx.GraphDef, tx: optax.GradientTransformation, config: ConfigDict
) -> TrainStep:
    """`step(state, frozen, batch: Batch) -> (state, metrics)`; pure; `Placement.compile_step` compiles it."""
    head_step = make_head_step(graphdef, tx)
    features_of = make_feature_step(graphdef, config)
    weights = LossWeights.from_config(config.loss)

    def train_step(state: TrainState, frozen: Any, batch: Batch) -> tuple[TrainState, Metrics]:
        return head_step(state, frozen, features_of(state.head, frozen, batch), weights)

    return train_step


def make_feature_step(
    graphdef: nnx.GraphDef, config: ConfigDict
) -> Callable[[Any, Any, Batch], FeatureBatch]:
    """`features_of(head, frozen, batch)`: augments and encodes; no number of the head takes part."""
    augmentation = AugmentConfig.from_config(config.augment) if config.augment.enabled else None

    def features_of(head: Any, frozen: Any, batch: Batch) -> FeatureBatch:
        images, labels = batch["image"], batch["label"]
        if augmentation is not None:
            keys = example_keys(data_seed(config), batch["epoch"], batch["index"])
            images, labels = augment(keys, images, labels, augmentation)
        features = nnx.merge(graphdef, head, frozen).encode(images)
        return FeatureBatch(features=features, label=labels, valid=batch["valid"])

    return features_of


def make_head_step(graphdef: nnx.GraphDef, tx: optax.GradientTransformation) -> HeadStep:
    """`step(state, frozen, batch, weights) -> (state, metrics)`: the part that has a gradient."""

    def head_step(
        state: TrainState, frozen: Any, batch: FeatureBatch, weights: LossWeights
    ) -> tuple[TrainState, Metrics]:
        def loss_of(head: Any) -> tuple[Float[Array, ""], Metrics]:
            logits, iou = nnx.merge(graphdef, head, frozen).decode(batch["features"])
            parts = sampath_loss(logits, iou, batch["label"], batch["valid"], weights)
            return parts.total, {"dice": parts.dice, "focal": parts.focal, "iou": parts.iou}

        (loss, parts), gradients = jax.value_and_grad(loss_of, has_aux=True)(state.head)
        updates, opt_state = tx.update(gradients, state.opt_state, state.head)
        head = optax.apply_updates(state.head, updates)
        metrics = {"loss": loss, **parts, "grad_norm": optax.tree.norm(gradients)}
        return TrainState(state.step + 1, head, opt_state), metrics

    return head_step
