import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sampath_jax.models.convolution import convolve


@pytest.mark.parametrize("side", [1, 3, 5])
def test_value_and_gradient_are_those_of_a_convolution(side):
    draw = np.random.default_rng(side).normal
    grid, kernel, wanted = (
        jnp.asarray(draw(size=shape), jnp.float32)
        for shape in ((2, 5, 7, 3), (side, side, 3, 4), (2, 5, 7, 4))
    )

    def plain(grid, kernel):
        return jax.lax.conv_general_dilated(
            grid, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    def loss(function, grid, kernel):
        return ((function(grid, kernel) - wanted) ** 2).sum()

    np.testing.assert_array_equal(convolve(grid, kernel), plain(grid, kernel))
    ours, theirs = (jax.grad(loss, (1, 2))(function, grid, kernel) for function in (convolve, plain))
    for our, their in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(our, their, rtol=1e-5, atol=1e-4)
