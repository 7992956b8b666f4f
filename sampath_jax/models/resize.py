"""Resizing as torch does it (align_corners=False, no antialias), rows and columns independently."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

#: torch's cubic; `jax.image` uses -0.5, which is another curve.
CUBIC_A = -0.75


def resize_bilinear(grid: Float[Array, "B H W C"], size: tuple[int, int]) -> Float[Array, "B h w C"]:
    """Bilinear to `size` = (height, width), the border repeated outwards, without antialiasing."""
    shape = (grid.shape[0], *size, grid.shape[3])
    return jax.image.resize(grid, shape, method="linear", antialias=False)


def bilinear_matrix(source: int, target: int) -> np.ndarray:
    """The `[target, source]` float32 weights of `resize_bilinear` along one axis; rows sum to 1."""
    position = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
    distance = np.abs(position[:, None] - np.arange(source)[None])
    return np.maximum(1 - distance, 0).astype(np.float32)


def resize_bicubic(
    grid: Float[Array, "H W C"], size: tuple[int, int], scale: tuple[float, float] | None = None
) -> Float[Array, "h w C"]:
    """Bicubic to `size`; `scale` (output pixels per input pixel) follows from the sizes unless given."""
    scale = scale or (size[0] / grid.shape[0], size[1] / grid.shape[1])
    rows = jnp.asarray(cubic_matrix(grid.shape[0], size[0], scale[0]), grid.dtype)
    columns = jnp.asarray(cubic_matrix(grid.shape[1], size[1], scale[1]), grid.dtype)
    return jnp.einsum("hi,wj,ijc->hwc", rows, columns, grid, precision="highest")


def cubic_matrix(source: int, target: int, scale: float) -> np.ndarray:
    """The `[target, source]` weights of torch's bicubic along one axis; rows sum to 1.

    Args:
        source: values along the axis before.
        target: values after.
        scale: output i is read at (i + 0.5) / scale - 0.5, which need not be target / source.
    """
    position = (np.arange(target) + 0.5) / scale - 0.5
    first = np.floor(position).astype(int)
    weights = np.zeros((target, source))
    for tap in (-1, 0, 1, 2):
        index = np.clip(first + tap, 0, source - 1)
        np.add.at(weights, (np.arange(target), index), _cubic(np.abs(position - first - tap)))
    return weights


def _cubic(distance: np.ndarray) -> np.ndarray:
    """Keys' convolution kernel at distances 0..2."""
    a, x = CUBIC_A, distance
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
    return np.where(x <= 1, near, far)
