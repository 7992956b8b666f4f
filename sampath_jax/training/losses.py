"""The loss of SAM-Path's equation 3: (1 - alpha) Dice + alpha focal + beta IoU regression.

Every part is a function of a few sums over pixels. The sums are taken over blocks of rows, and each block
is upsampled just before it is needed and again in the backward pass, so that the full-resolution logits,
their softmax and their gradient never exist as a whole (at 1024x1024, 12 tiles and 6 channels each would be
300 MB).

Two treatments of unlabelled pixels, chosen by `LossWeights.unlabelled`:

- ``published``: their logits are set to 0 and they then count like any pixel, as in the released code of the
  paper. They have no gradient, but each adds its uniform softmax to the Dice denominator and 0.25 ln 2 to the
  focal mean.
- ``exact``: they count nowhere, and neither do tiles without any labelled pixel.
"""

import dataclasses
import functools
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt8
from ml_collections import ConfigDict

from sampath_jax.models.resize import bilinear_matrix
from sampath_jax.types import IoU, Labels, Logits, Valid

#: Added to both sides of the Dice fraction, so that two empty masks agree. Published value.
DICE_EPSILON = 1e-5
#: Added to the union of the hard IoU. Published value.
IOU_EPSILON = 1e-7
#: Rows of the label map that are upsampled at a time.
BLOCK_ROWS = 64
#: Label of the rows that fill up the last block; not a row of the tile. Labels go up to 254.
OUTSIDE = 255


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["alpha", "beta"], meta_fields=["unlabelled"]
)
@dataclasses.dataclass(frozen=True)
class LossWeights:
    """Equation 3's weights. `alpha` and `beta` may be traced: a sweep maps over them."""

    alpha: float | Float[Array, ""]
    beta: float | Float[Array, ""]
    unlabelled: Literal["exact", "published"] = "exact"

    @classmethod
    def from_config(cls, config: ConfigDict) -> "LossWeights":
        """From the section `config.loss`."""
        return cls(config.alpha, config.beta, config.unlabelled)


class LossParts(NamedTuple):
    """Scalars; `total` is what is minimised, the others are unweighted."""

    total: Float[Array, ""]
    dice: Float[Array, ""]
    focal: Float[Array, ""]
    iou: Float[Array, ""]


class PixelSums(NamedTuple):
    """Sums over the pixels of each tile; `k` classes, channel 0 is left out everywhere."""

    overlap: Float[Array, "B k"]  # softmax on the pixels of the class
    predicted: Float[Array, "B k"]  # softmax
    present: Float[Array, "B k"]  # pixels of the class
    hard_overlap: Float[Array, "B k"]  # pixels of the class with softmax >= 0.5
    hard: Float[Array, "B k"]  # pixels with softmax >= 0.5
    focal: Float[Array, " B"]  # focal loss, also summed over classes
    counted: Float[Array, " B"]  # pixels that take part
    labelled: Float[Array, " B"]  # pixels with a label


def sampath_loss(logits: Logits, iou: IoU, labels: Labels, valid: Valid, weights: LossWeights) -> LossParts:
    """The loss of a batch; tiles that are not `valid` count nowhere.

    Args:
        logits: low-resolution logits; upsampled to the size of `labels` in here.
        iou: predicted IoU of each channel.
        labels: 0 = unlabelled, 1..k = the classes; channel c belongs to label c.
        valid: False for padding.
        weights: equation 3's weights and the treatment of unlabelled pixels.

    Returns:
        Finite numbers, whatever is labelled; all zero if nothing counts.
    """
    exact = weights.unlabelled == "exact"
    sums = pixel_sums(logits, labels, exact=exact)
    tiles = valid & (sums.labelled > 0) if exact else valid
    dice = _mean_over_tiles(_dice(sums), tiles)
    focal = _focal(sums, tiles)
    target = jax.lax.stop_gradient(_hard_iou(sums))
    regression = _mean_over_tiles(jnp.square(iou[:, 1:] - target), tiles)
    total = (1 - weights.alpha) * dice + weights.alpha * focal + weights.beta * regression
    return LossParts(total, dice, focal, regression)


def _dice(sums: PixelSums) -> Float[Array, "B k"]:
    """1 - 2 |P.T| / (|P| + |T|) per tile and class; absent classes count too, as published."""
    mass = sums.predicted + sums.present
    return 1 - (2 * sums.overlap + DICE_EPSILON) / (mass + DICE_EPSILON)


def _focal(sums: PixelSums, tiles: Valid) -> Float[Array, ""]:
    """Mean over the counted pixels of all tiles, and over classes."""
    classes = sums.present.shape[1]
    total = jnp.sum(jnp.where(tiles, sums.focal, 0))
    pixels = jnp.sum(jnp.where(tiles, sums.counted, 0))
    return total / (jnp.maximum(pixels, 1) * classes)


def _hard_iou(sums: PixelSums) -> Float[Array, "B k"]:
    """IoU of the pixels with softmax >= 0.5 and the pixels of the class."""
    return sums.hard_overlap / (sums.hard + sums.present - sums.hard_overlap + IOU_EPSILON)


def _mean_over_tiles(values: Float[Array, "B k"], tiles: Valid) -> Float[Array, ""]:
    total = jnp.sum(jnp.where(tiles, jnp.mean(values, axis=1), 0))
    return total / jnp.maximum(jnp.sum(tiles.astype(values.dtype)), 1)


def pixel_sums(logits: Logits, labels: Labels, *, exact: bool) -> PixelSums:
    """Upsamples `logits` to the size of `labels` block by block, and sums over pixels (see `PixelSums`)."""
    batch, height, width = labels.shape
    blocks = -(-height // BLOCK_ROWS)
    rows = -(-height // blocks)
    fill = blocks * rows - height
    labels = jnp.pad(labels, ((0, 0), (0, fill), (0, 0)), constant_values=OUTSIDE)
    labels = labels.reshape(batch, blocks, rows, width).transpose(1, 2, 0, 3)
    to_width = jnp.asarray(bilinear_matrix(logits.shape[2], width))
    # Rows lead, so that upsampling them is a single product for all tiles and channels.
    low = jnp.einsum("bhwc,Ww->hbcW", logits, to_width, precision="highest")
    first, to_rows = _row_blocks(bilinear_matrix(logits.shape[1], height), blocks, rows)

    @functools.partial(jax.checkpoint, prevent_cse=False)
    def add_block(sums: PixelSums, block: tuple[Array, Array, Array]) -> tuple[PixelSums, None]:
        start, matrix, block_labels = block
        near = jax.lax.dynamic_slice_in_dim(low, start, matrix.shape[1], axis=0)
        upsampled = jnp.einsum("Hh,hbcW->HbcW", matrix, near, precision="highest")
        return jax.tree.map(jnp.add, sums, _block_sums(upsampled, block_labels, exact=exact)), None

    classes = logits.shape[3] - 1
    per_class, per_tile = jnp.zeros((batch, classes)), jnp.zeros(batch)
    start = PixelSums(*[per_class] * 5, *[per_tile] * 3)
    return jax.lax.scan(add_block, start, (jnp.asarray(first), jnp.asarray(to_rows), labels))[0]


def _row_blocks(
    matrix: Float[np.ndarray, "H h"], blocks: int, rows: int
) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, "n r m"]]:
    """Cuts an interpolation matrix into blocks of rows, each with only the columns that it needs.

    Returns:
        The first column of each block, and the blocks: matrices of `rows` rows, filled up with zeros.
    """
    padded = np.pad(matrix, ((0, blocks * rows - len(matrix)), (0, 0))).reshape(blocks, rows, -1)
    used = np.any(padded != 0, axis=1)
    first, last = used.argmax(axis=1), used.shape[1] - used[:, ::-1].argmax(axis=1)
    columns = int((last - first).max())
    first = np.minimum(first, used.shape[1] - columns).astype(np.int32)
    return first, np.stack([b[:, f : f + columns] for b, f in zip(padded, first, strict=True)])


def _block_sums(logits: Float[Array, "H B C W"], labels: UInt8[Array, "H B W"], *, exact: bool) -> PixelSums:
    """`PixelSums` of one block of full-resolution rows."""
    pixels = (0, 3)
    labelled: Bool[Array, "H B W"] = (labels > 0) & (labels != OUTSIDE)
    counted = (labelled if exact else labels != OUTSIDE)[:, :, None]
    logits = jnp.where(labelled[:, :, None], logits, 0)
    softmax = jnp.where(counted, _softmax(logits)[:, :, 1:], 0)
    classes = jnp.arange(1, logits.shape[2], dtype=labels.dtype)
    target = labels[:, :, None] == classes[None, None, :, None]
    hard = softmax >= 0.5
    focal = jnp.where(counted, focal_loss(logits[:, :, 1:], target), 0)

    def count(mask: Bool[Array, "H B c W"]) -> Float[Array, "B c"]:
        return jnp.sum(mask, axis=pixels, dtype=jnp.float32)

    return PixelSums(
        overlap=jnp.sum(jnp.where(target, softmax, 0), axis=pixels),
        predicted=jnp.sum(softmax, axis=pixels),
        present=count(target),
        hard_overlap=count(hard & target),
        hard=count(hard),
        focal=jnp.sum(focal, axis=(0, 2, 3)),
        counted=count(counted)[:, 0],
        labelled=count(labelled[:, :, None])[:, 0],
    )


def _softmax(logits: Float[Array, "H B C W"]) -> Float[Array, "H B C W"]:
    """Over channels. Its gradient sums products: with four axes 70 times as slow on CPU as with three."""
    height, batch, channels, width = logits.shape
    rows = logits.reshape(height * batch, channels, width)
    return jax.nn.softmax(rows, axis=1).reshape(logits.shape)


def focal_loss(logits: Float[Array, "*shape"], target: Bool[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Sigmoid focal loss of Lin et al. 2017 with gamma 2 and no class weight: p_wrong^2 (-log p_right)."""
    wrong = jnp.where(target, -logits, logits)
    return jnp.square(jax.nn.sigmoid(wrong)) * jax.nn.softplus(wrong)
