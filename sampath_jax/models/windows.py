"""Square windows of a grid, as SAM's windowed blocks use them."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def partition(grid: Float[Array, "B h w C"], window: int) -> Float[Array, "B windows s s C"]:
    """Cuts a grid into `window` x `window` squares, row by row.

    Zeros are added at the bottom and at the right until both sides are multiples of `window`.
    """
    batch, h, w, channels = grid.shape
    rows, columns = -(-h // window), -(-w // window)
    padded = jnp.pad(grid, ((0, 0), (0, rows * window - h), (0, columns * window - w), (0, 0)))
    tiles = padded.reshape(batch, rows, window, columns, window, channels).swapaxes(2, 3)
    return tiles.reshape(batch, rows * columns, window, window, channels)


def unpartition(windows: Float[Array, "B windows s s C"], grid: tuple[int, int]) -> Float[Array, "B h w C"]:
    """Undoes `partition` for a `grid` of (rows, columns), dropping the added border."""
    batch, _, window, _, channels = windows.shape
    rows, columns = -(-grid[0] // window), -(-grid[1] // window)
    tiles = windows.reshape(batch, rows, columns, window, window, channels).swapaxes(2, 3)
    return tiles.reshape(batch, rows * window, columns * window, channels)[:, : grid[0], : grid[1]]
