"""Averaging on the device against the same on the host, tile by tile and head by head."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sampath_jax.evaluation.averaging import mean_class_map, mean_probabilities
from sampath_jax.evaluation.sliding import best_labels, probabilities_at

ROOM = (60, 80)
#: The whole room, the canvas, a single pixel, and sides that no whole number relates to the logits'.
SIZES = ((60, 80), (48, 64), (1, 1), (53, 7))


@pytest.fixture(scope="module")
def logits():
    return np.random.default_rng(0).normal(0, 4, (3, len(SIZES), 12, 16, 4)).astype(np.float32)


def on_host(logits, row, size):
    return np.mean([probabilities_at(head[row], size) for head in logits], axis=0)


def test_mean_of_the_heads_at_every_size(logits):
    traces = []
    averaged = jax.jit(lambda *a: traces.append(1) or mean_probabilities(*a, ROOM))
    found = np.asarray(averaged(jnp.asarray(logits), jnp.asarray(SIZES)))
    assert found.shape == (len(SIZES), 3, *ROOM)
    for row, (height, width) in enumerate(SIZES):
        expected = on_host(logits, row, (height, width))
        np.testing.assert_allclose(found[row, :, :height, :width], expected, atol=2e-6)
    averaged(jnp.asarray(logits), jnp.asarray(SIZES[::-1]))
    assert len(traces) == 1


def test_a_head_alone_or_repeated_is_its_own_mean(logits):
    one = mean_probabilities(jnp.asarray(logits[:1]), jnp.asarray(SIZES), ROOM)
    four = mean_probabilities(jnp.asarray(logits[[0, 0, 0, 0]]), jnp.asarray(SIZES), ROOM)
    np.testing.assert_array_equal(one, four)


def test_the_mean_is_of_probabilities_not_of_logits():
    """A head that is sure of class 1 against two that lean to class 2: 0.34 + 2 * 0.62 / 3 > 1 / 2."""
    sure, leaning = np.zeros((2, 1, 1, 1, 3), np.float32)
    sure[..., 1], leaning[..., 2] = 9, 0.5
    logits = jnp.asarray(np.stack([sure, leaning, leaning]))
    probabilities = mean_probabilities(logits, jnp.asarray([[1, 1]]), (1, 1))
    lean = np.exp(0.5) / (1 + np.exp(0.5))
    np.testing.assert_allclose(probabilities[0, 1, 0, 0], (2 * lean + 1 / (1 + np.exp(9))) / 3, rtol=1e-5)


def test_class_map_is_the_most_probable_class(logits):
    labels = np.asarray(mean_class_map(jnp.asarray(logits), (48, 64)))
    for row in range(len(SIZES)):
        expected = best_labels(on_host(logits, row, (48, 64)).astype(np.float32))
        assert (labels[row] == expected).mean() > 0.999
