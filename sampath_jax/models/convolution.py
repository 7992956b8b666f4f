"""Convolution whose gradient is as fast inside a loop as outside.

XLA's CPU compiler brings convolutions into a form that its library computes, but not those in the body of a
loop. The usual gradient is of such a form that it then takes twenty times as long, and a sweep computes its
heads in a loop. As matrix products, one per position of the kernel, it is fast everywhere.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Grid = Float[Array, "B h w F"]
Kernel = Float[Array, "r r F C"]


def _convolve(grid: Grid, kernel: Kernel) -> Float[Array, "B h w C"]:
    """Convolution with an odd `kernel`, zeros beyond the border, to a grid of the same size."""
    if kernel.shape[:2] == (1, 1):  # XLA's CPU convolution would copy the grid first
        return jnp.einsum("bhwf,fc->bhwc", grid, kernel[0, 0])
    return jax.lax.conv_general_dilated(
        grid, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _forward(grid: Grid, kernel: Kernel) -> tuple[Array, tuple[Array, Array]]:
    return _convolve(grid, kernel), (grid, kernel)


def _backward(saved: tuple[Array, Array], gradient: Float[Array, "B h w C"]) -> tuple[Array, Array]:
    grid, kernel = saved
    side, (h, w) = kernel.shape[0], grid.shape[1:3]
    to_grid = _convolve(gradient, jnp.swapaxes(kernel[::-1, ::-1], 2, 3))
    border = (side // 2, side // 2)
    padded = jnp.pad(grid, ((0, 0), border, border, (0, 0)))
    to_kernel = [
        jnp.einsum("bhwf,bhwc->fc", padded[:, i : i + h, j : j + w], gradient)
        for i in range(side)
        for j in range(side)
    ]
    return to_grid, jnp.stack(to_kernel).reshape(kernel.shape)


convolve = jax.custom_vjp(_convolve)
convolve.defvjp(_forward, _backward)
