"""How many pixels of each true label were given which label: all scores are computed from these counts."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, UInt8

from sampath_jax.types import Labels


def tile_confusions(truth: Labels, predicted: Labels, num_classes: int) -> Int[Array, "B k k"]:
    """One confusion matrix per tile, inside jit.

    Row 0 holds the unlabelled pixels, which no score looks at; a padding tile is all unlabelled.

    Args:
        truth: labels 0 (unlabelled) to `num_classes`.
        predicted: labels 0 (no class given) to `num_classes`.
        num_classes: k; larger labels would be counted in wrong cells, so the data index refuses them.

    Returns:
        Pixels [B, k+1, k+1], rows true, columns predicted.
    """
    side = num_classes + 1
    cells = truth.astype(jnp.int32) * side + predicted.astype(jnp.int32)
    counts = [jnp.bincount(tile.reshape(-1), length=side * side) for tile in cells]
    return jnp.stack(counts).reshape(-1, side, side)


def mask_confusion(
    truth: UInt8[np.ndarray, "H W"], predicted: UInt8[np.ndarray, "H W"], num_classes: int
) -> Int[np.ndarray, "k k"]:
    """`tile_confusions` of one tile on the host, where tiles have sizes of their own."""
    side = num_classes + 1
    cells = truth.astype(np.int64) * side + predicted
    return np.bincount(cells.reshape(-1), minlength=side * side).reshape(side, side)
