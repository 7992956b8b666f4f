import jax
import jax.numpy as jnp
import numpy as np

from sampath_jax.evaluation.confusion import mask_confusion, tile_confusions

TRUTH = np.array([[0, 1, 1], [2, 2, 2]], np.uint8)
PREDICTED = np.array([[1, 1, 2], [2, 1, 0]], np.uint8)
COUNTS = [[0, 1, 0], [0, 1, 1], [1, 1, 1]]


def test_counts_pixels_by_true_row_and_predicted_column():
    np.testing.assert_array_equal(mask_confusion(TRUTH, PREDICTED, 2), COUNTS)


def test_one_matrix_per_tile():
    truth, predicted = jnp.stack([TRUTH, TRUTH * 0]), jnp.stack([PREDICTED, PREDICTED])
    counts = jax.jit(tile_confusions, static_argnums=2)(truth, predicted, 2)
    np.testing.assert_array_equal(counts[0], COUNTS)
    np.testing.assert_array_equal(counts[1], [[1, 3, 2], [0, 0, 0], [0, 0, 0]])
    assert counts.dtype == jnp.int32


def test_labels_above_fifteen_do_not_wrap_in_uint8():
    truth = np.full((1, 3, 2), 20, np.uint8)
    counts = tile_confusions(jnp.asarray(truth), jnp.asarray(truth), 20)
    assert counts[0, 20, 20] == 6
    assert mask_confusion(truth[0], truth[0], 20)[20, 20] == 6
