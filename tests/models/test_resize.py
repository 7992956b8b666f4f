import jax.numpy as jnp
import numpy as np
import pytest
import torch

from sampath_jax.models.resize import bilinear_matrix, cubic_matrix, resize_bicubic, resize_bilinear


def test_bilinear_literal():
    grid = jnp.asarray([[0.0, 4.0], [8.0, 12.0]])[None, ..., None]
    np.testing.assert_array_equal(
        resize_bilinear(grid, (2, 4))[0, ..., 0],
        [[0, 1, 3, 4], [8, 9, 11, 12]],
    )


@pytest.mark.parametrize("size", [(20, 36), (5, 3), (7, 4), (3, 20)])
def test_bilinear_is_torchs_upwards_and_downwards(size):
    grid = np.random.default_rng(0).normal(size=(2, 7, 9, 3)).astype(np.float32)
    theirs = torch.nn.functional.interpolate(
        torch.tensor(grid).permute(0, 3, 1, 2), size, mode="bilinear", align_corners=False
    )
    np.testing.assert_allclose(
        resize_bilinear(jnp.asarray(grid), size), theirs.permute(0, 2, 3, 1), atol=1e-6
    )


@pytest.mark.parametrize("size", [(20, 36), (5, 3)])
def test_bilinear_matrices_are_the_same_resize(size):
    grid = np.random.default_rng(0).normal(size=(1, 7, 9, 1)).astype(np.float32)
    rows, columns = bilinear_matrix(7, size[0]), bilinear_matrix(9, size[1])
    expected = resize_bilinear(jnp.asarray(grid), size)
    np.testing.assert_allclose(rows @ grid[0, ..., 0] @ columns.T, expected[0, ..., 0], atol=1e-6)


def test_cubic_literal():
    # Output 1 of a doubling is read at 0.25: Keys' kernel with a = -0.75 at distances 1.25, 0.25, 0.75, 1.75.
    np.testing.assert_allclose(
        cubic_matrix(4, 8, 2.0)[[0, 3]],
        [[1.10546875, -0.10546875, 0, 0], [-0.10546875, 0.87890625, 0.26171875, -0.03515625]],
    )


def test_cubic_rows_sum_to_one():
    np.testing.assert_allclose(cubic_matrix(14, 64, 64.1 / 14).sum(axis=1), 1)


@pytest.mark.parametrize("size", [(8, 20), (3, 11)])
def test_bicubic_is_torchs(size):
    grid = np.random.default_rng(0).normal(size=(5, 7, 2)).astype(np.float32)
    theirs = torch.nn.functional.interpolate(
        torch.tensor(grid).permute(2, 0, 1)[None], size, mode="bicubic", align_corners=False
    )
    np.testing.assert_allclose(resize_bicubic(jnp.asarray(grid), size), theirs[0].permute(1, 2, 0), atol=1e-5)
