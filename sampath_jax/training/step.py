"""One training step: encode without gradient, decode with it, update the head."""

from collections.abc import Callable
from typing import Any, TypedDict

import jax
import optax
from flax import nnx
from jaxtyping import Array, Float, Int, UInt8
from ml_collections import ConfigDict

from sampath_jax.config import data_seed
from sampath_jax.data.augmentation import (
    AugmentConfig,
    View,
    augment,
    example_keys,
    fixed_views,
    view_images,
    view_labels,
)
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


class TileViews(TypedDict):
    """Tiles and the number of the view that each shows."""

    image: UInt8[Array, "B H W 3"]
    index: Int[Array, " B"]
    view: Int[Array, " B"]


class ViewBatch(TypedDict):
    """A batch of fixed views, their features at hand; the labels are those of the tiles as they are."""

    features: Features
    label: Labels
    valid: Valid
    index: Int[Array, " B"]
    view: Int[Array, " B"]


class FeatureBatch(TypedDict):
    """What the head learns from: features, and the labels that belong to them."""

    features: Features
    label: Labels
    valid: Valid


TrainStep = Callable[[TrainState, Any, Any], tuple[TrainState, Metrics]]
#: Like a `TrainStep`, on features, with the weights of the loss as an argument.
HeadStep = Callable[[TrainState, Any, FeatureBatch, LossWeights], tuple[TrainState, Metrics]]


def make_train_step(
    graphdef: nnx.GraphDef, tx: optax.GradientTransformation, config: ConfigDict
) -> TrainStep:
    """`step(state, frozen, batch) -> (state, metrics)`; pure; `Placement.compile_step` compiles it.

    The batch is a `Batch`, or a `ViewBatch` if features are cached.
    """
    head_step = make_head_step(graphdef, tx)
    features_of = make_feature_step(graphdef, config)
    weights = LossWeights.from_config(config.loss)

    def train_step(state: TrainState, frozen: Any, batch: Batch) -> tuple[TrainState, Metrics]:
        return head_step(state, frozen, features_of(state.head, frozen, batch), weights)

    return train_step


def make_feature_step(graphdef: nnx.GraphDef, config: ConfigDict) -> Callable[[Any, Any, Any], FeatureBatch]:
    """`features_of(head, frozen, batch)`; no number of the head takes part.

    A `Batch` is augmented and encoded. If features are cached, it is a `ViewBatch`, which lacks nothing but
    the views of its labels.
    """
    augmentation = AugmentConfig.from_config(config.augment) if config.augment.enabled else None
    views_of = make_views(config)

    def labelled(head: Any, frozen: Any, batch: ViewBatch) -> FeatureBatch:
        del head, frozen
        labels = batch["label"]
        if augmentation is not None:
            labels = view_labels(labels, views_of(batch["index"], batch["view"]))
        return FeatureBatch(features=batch["features"], label=labels, valid=batch["valid"])

    def encoded(head: Any, frozen: Any, batch: Batch) -> FeatureBatch:
        images, labels = batch["image"], batch["label"]
        if augmentation is not None:
            keys = example_keys(data_seed(config), batch["epoch"], batch["index"])
            images, labels = augment(keys, images, labels, augmentation)
        features = nnx.merge(graphdef, head, frozen).encode(images)
        return FeatureBatch(features=features, label=labels, valid=batch["valid"])

    return labelled if config.data.cache_features else encoded


def make_view_encoder(
    graphdef: nnx.GraphDef, head: Any, config: ConfigDict
) -> Callable[[Any, TileViews], Features]:
    """`encode(frozen, tiles)`: the features of fixed views.

    Args:
        graphdef: of `models.freezing.split_head`.
        head: of the same; only its shapes are read.
        config: the experiment.
    """
    shapes = jax.eval_shape(lambda: head)
    augmented, views_of = config.augment.enabled, make_views(config)

    def encode(frozen: Any, tiles: TileViews) -> Features:
        images: Images = tiles["image"]
        if augmented:
            images = view_images(tiles["image"], views_of(tiles["index"], tiles["view"]))
        return nnx.merge(graphdef, shapes, frozen).encode(images)

    return encode


def make_views(config: ConfigDict) -> Callable[[Int[Array, " B"], Int[Array, " B"]], View]:
    """`views_of(index, number)`: what happens to each tile in the view of that number, in every epoch."""
    augmentation, size = AugmentConfig.from_config(config.augment), tuple(config.data.canvas)

    def views_of(index: Int[Array, " B"], number: Int[Array, " B"]) -> View:
        keys = example_keys(data_seed(config), jax.numpy.zeros_like(index), index)
        return fixed_views(keys, number, size, augmentation)

    return views_of


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
