import jax.numpy as jnp
import numpy as np
import pytest

from sampath_jax.models import windows


def test_windows_go_row_by_row_and_the_border_is_zero_at_the_bottom_and_right():
    grid = jnp.arange(1.0, 16.0).reshape(1, 3, 5, 1)
    np.testing.assert_array_equal(
        windows.partition(grid, 2)[0, ..., 0],
        [
            [[1, 2], [6, 7]],
            [[3, 4], [8, 9]],
            [[5, 0], [10, 0]],
            [[11, 12], [0, 0]],
            [[13, 14], [0, 0]],
            [[15, 0], [0, 0]],
        ],
    )


def test_every_image_has_its_own_windows():
    grid = jnp.arange(8.0).reshape(2, 2, 2, 1)
    images = windows.partition(grid, 2)[..., 0]
    np.testing.assert_array_equal(images, [[[[0, 1], [2, 3]]], [[[4, 5], [6, 7]]]])


@pytest.mark.parametrize(("h", "w", "window"), [(4, 4, 2), (3, 5, 2), (14, 29, 14), (5, 2, 7)])
def test_unpartition_undoes_partition(h, w, window):
    grid = jnp.asarray(np.random.default_rng(0).normal(size=(2, h, w, 3)))
    np.testing.assert_array_equal(windows.unpartition(windows.partition(grid, window), (h, w)), grid)
