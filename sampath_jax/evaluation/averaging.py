"""Heads that share their features: each decodes them, and their probabilities are averaged on the device."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from sampath_jax.types import Features, Images, Labels

#: Logits of every head: as `types.Logits` with a leading axis.
HeadLogits = Float[Array, "n B h w C"]


def encode(graphdef: nnx.GraphDef, heads: Any, frozen: Any, images: Images) -> Features:
    """What the frozen encoders see; no number of the heads takes part."""
    first = jax.tree.map(lambda leaf: leaf[0], heads)
    return nnx.merge(graphdef, first, frozen).encode(images)


def decode(graphdef: nnx.GraphDef, heads: Any, frozen: Any, features: Features) -> HeadLogits:
    """The logits of every head, one head after another: `heads` have a leading axis in every array."""
    return jax.lax.map(lambda head: nnx.merge(graphdef, head, frozen).decode(features)[0], heads)


def mean_probabilities(
    logits: HeadLogits, sizes: Int[Array, "B 2"], room: tuple[int, int]
) -> Float[Array, "B k H W"]:
    """Class probabilities of tiles at their own sizes, averaged over the heads.

    Per head, the logits are enlarged bilinearly, and at every pixel goes a softmax over the classes; the mean
    over heads is taken of these probabilities, not of logits. Channel 0, 'unlabelled', is left out before the
    softmax, as it is never predicted. One head's mean is its own probabilities, bit for bit.

    Args:
        logits: of every head.
        sizes: height and width of each tile.
        room: height and width of the result, at least the largest of `sizes`, so that one program does for
            tiles of all sizes. What lies beyond a tile's own size means nothing.
    """
    heads, batch, h, w, channels = logits.shape
    rows, columns = (_bilinear(side, sizes[:, axis], room[axis]) for axis, side in enumerate((h, w)))

    def add(total: Float[Array, "B k H W"], one: Float[Array, "B h w C"]) -> tuple[Any, None]:
        tall = jnp.einsum("bHh,bhwk->bkHw", rows, one[..., 1:], precision="highest")
        large = jnp.einsum("bWw,bkHw->bkHW", columns, tall, precision="highest")
        return total + jax.nn.softmax(large, axis=1), None

    nothing = jnp.zeros((batch, channels - 1, *room), jnp.float32)
    total, _ = jax.lax.scan(add, nothing, logits)
    return total / heads


def mean_class_map(logits: HeadLogits, size: tuple[int, int]) -> Labels:
    """The label of every pixel at `size`: the class of the highest mean probability; ties go to the lower."""
    sizes = jnp.tile(jnp.asarray(size), (logits.shape[1], 1))
    return (jnp.argmax(mean_probabilities(logits, sizes, size), axis=1) + 1).astype(jnp.uint8)


def _bilinear(source: int, target: Int[Array, " B"], room: int) -> Float[Array, "B t s"]:
    """`models.resize.bilinear_matrix` for targets that are known at run time; the first `target` rows count.

    In whole numbers as far as it goes, so that rounding does not move a pixel.
    """
    # A pixel lies at (i + 0.5) * source / target - 0.5: here in units of 1 / steps.
    steps = 2 * target[:, None]
    position = jnp.clip((2 * jnp.arange(room) + 1)[None] * source - target[:, None], 0, (source - 1) * steps)
    low, rest = position // steps, (position % steps).astype(jnp.float32) / steps.astype(jnp.float32)
    at = jnp.arange(source)[None, None]
    below, above = (at == low[..., None], at == low[..., None] + 1)
    return jnp.where(below, 1 - rest[..., None], 0.0) + jnp.where(above, rest[..., None], 0.0)
