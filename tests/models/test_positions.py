import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from sampath_jax.models.positions import hipt_positions, relative_positions, sam_positions


def normal(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def test_relative_positions_at_the_pretraining_size_are_the_table():
    table = normal(5, 2)
    np.testing.assert_array_equal(relative_positions(jnp.asarray(table), 3), table)


def test_a_table_of_another_length_is_interpolated_linearly():
    table = jnp.asarray([[0.0], [2.0], [4.0]])  # for a side of 2, differences -1, 0, 1
    # length 5 is read at -0.2, 0.4, 1, 1.6, 2.2 of 0..2, the ends repeated
    np.testing.assert_allclose(relative_positions(table, 3)[:, 0], [0, 0.8, 2, 3.2, 4], atol=1e-6)


@pytest.mark.parametrize("side", [3, 10])
def test_interpolated_relative_positions_are_torchs(side):
    table = normal(9, 4)
    resized = interpolate(torch.tensor(table).T[None], 2 * side - 1, mode="linear")[0].T.numpy()
    np.testing.assert_allclose(relative_positions(jnp.asarray(table), side), resized, atol=1e-6)


def test_sam_positions_are_the_table_at_the_pretraining_size():
    table = normal(1, 3, 5, 2)
    np.testing.assert_array_equal(sam_positions(jnp.asarray(table), (3, 5)), table)


@pytest.mark.parametrize("grid", [(6, 4), (2, 11)])
def test_sam_positions_elsewhere_are_a_bicubic_resize(grid):
    table = normal(1, 3, 5, 2)
    theirs = interpolate(torch.tensor(table).permute(0, 3, 1, 2), grid, mode="bicubic", align_corners=False)
    np.testing.assert_allclose(sam_positions(jnp.asarray(table), grid), theirs.permute(0, 2, 3, 1), atol=1e-5)


def test_hipt_positions_are_the_table_at_the_pretraining_size():
    table = normal(1, 10, 2)
    np.testing.assert_array_equal(hipt_positions(jnp.asarray(table), (3, 3), 3), table)


@pytest.mark.parametrize("grid", [(64, 64), (5, 9), (14, 15)])
def test_hipt_positions_elsewhere_are_dinos(grid):
    table = normal(1, 197, 3)
    square = torch.tensor(table[:, 1:]).reshape(1, 14, 14, 3).permute(0, 3, 1, 2)
    scale = ((grid[0] + 0.1) / 14, (grid[1] + 0.1) / 14)
    theirs = interpolate(square, scale_factor=scale, mode="bicubic").permute(0, 2, 3, 1)
    assert theirs.shape[1:3] == grid
    ours = hipt_positions(jnp.asarray(table), grid, 14)
    np.testing.assert_array_equal(ours[:, :1], table[:, :1])
    np.testing.assert_allclose(ours[0, 1:].reshape(*grid, 3), theirs[0], atol=1e-5)


def test_hipt_positions_keep_rows_and_columns_apart():
    rows = np.repeat(np.arange(4.0, dtype=np.float32), 4)  # the value of a patch is its row
    table = np.concatenate([[9.0], rows]).astype(np.float32)[None, :, None]
    patches = np.asarray(hipt_positions(jnp.asarray(table), (2, 8), 4))[0, 1:, 0].reshape(2, 8)
    np.testing.assert_allclose(patches, np.repeat(patches[:, :1], 8, axis=1), atol=1e-6)
    assert patches[1, 0] - patches[0, 0] > 1.5
