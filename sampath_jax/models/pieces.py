"""On CPUs: encoders applied to one image at a time, and in them layers to a piece of its tokens.

What layers hand on to each other is wider than their inputs: four times in an MLP, 50 MB for one tile in
SAM. In pieces it stays in the last-level cache, instead of going through memory after every operation, and
images in turn need the memory of one. GPUs and TPUs get everything at once. docs/performance.md has the
measurements.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Shaped

#: Tokens per piece. The products of fewer are slower, and what more hand on falls out of the cache.
TOKENS = 1024
#: Share that may be computed twice, so that all pieces are of one size.
REPEATED = 0.01


def by_image(layers: Callable[[Shaped[Array, "B ..."]], Array], images: Shaped[Array, "B ..."]) -> Array:
    """`layers(images)`, on CPUs one image per device at a time.

    Args:
        layers: treats images alike; their results have images along the first axis too.
        images: may lie on several devices, equally many on each.
    """
    at_once = math.gcd(len(images), jax.device_count())
    if jax.default_backend() != "cpu" or at_once == len(images):
        return layers(images)
    # Consecutive images lie on the same device, so that those of one turn are `turns` apart.
    turns = len(images) // at_once
    by_device = images.reshape(at_once, turns, *images.shape[1:])

    def take_turn(turn: Array) -> Array:
        return layers(lax.dynamic_index_in_dim(by_device, turn, axis=1, keepdims=False))

    results = lax.map(take_turn, jnp.arange(turns))
    return results.swapaxes(0, 1).reshape(len(images), *results.shape[2:])


def by_pieces(
    layers: Callable[[Float[Array, "B m *window C"]], Float[Array, "B m *window C"]],
    x: Float[Array, "B n *window C"],
    *,
    tokens: int | None = None,
) -> Float[Array, "B n *window C"]:
    """`layers(x)`, in equal pieces of at most `tokens` tokens (or one of every image) where that is faster.

    Args:
        layers: treats everything along the second axis alike, and keeps the shape.
        x: tokens or windows of tokens. Pieces are cut from every image alike, so that the images may lie on
            several devices.
        tokens: per piece and device; None for the default of the device.
    """
    if tokens is None:
        if jax.default_backend() != "cpu":
            return layers(x)
        tokens = TOKENS
    n = x.shape[1]
    at_once = tokens * jax.device_count() // (x.shape[0] * math.prod(x.shape[2:-1]))
    least = -(-n // max(1, at_once))
    # The last piece starts early enough to be whole, and computes `-n % pieces` twice.
    pieces = next(count for count in range(least, n + 1) if -n % count <= n * REPEATED)
    size = -(-n // pieces)

    def add_piece(i: Array, result: Array) -> Array:
        start = jnp.minimum(i * size, n - size)
        piece = layers(lax.dynamic_slice_in_dim(x, start, size, axis=1))
        return lax.dynamic_update_slice_in_dim(result, piece, start, axis=1)

    # From `x` rather than zeros, for the reason that `attention.loops.map_in_place` gives.
    return layers(x) if pieces == 1 else lax.fori_loop(0, pieces, add_piece, x)
