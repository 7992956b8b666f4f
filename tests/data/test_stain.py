"""Stain jitter: known mixtures of the two stains come back with the amounts multiplied."""

import jax
import jax.numpy as jnp
import numpy as np

from sampath_jax.data.augmentation import AugmentConfig, draw_views, example_keys
from sampath_jax.data.stain import HE, TO_AMOUNTS, scale_stains


def paint(amounts):
    """RGB of a section with these amounts of haematoxylin and eosin, by the stain model itself."""
    return 255.5 * np.exp(-np.asarray(amounts, np.float32) @ HE) - 0.5


def scaled(image, scale):
    planes = tuple(jnp.asarray(image[..., c]) for c in range(3))
    return np.stack(jax.jit(scale_stains)(planes, jnp.array(scale)), axis=-1)


AMOUNTS = np.array([[[0.2, 0.1], [1.0, 0.0]], [[0.0, 0.8], [0.5, 0.5]], [[0.0, 0.0], [0.9, 0.3]]])


def test_amounts_are_recovered():
    np.testing.assert_allclose(HE @ TO_AMOUNTS, np.eye(2), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(HE, axis=1), 1, atol=1e-3)


def test_factors_of_one_change_nothing():
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.float32)
    np.testing.assert_allclose(scaled(image, [1.0, 1.0]), image, atol=1e-2)


def test_each_stain_is_scaled_by_its_own_factor():
    image = paint(AMOUNTS)
    np.testing.assert_allclose(scaled(image, [1.2, 1.0]), paint(AMOUNTS * [1.2, 1.0]), atol=0.05)
    np.testing.assert_allclose(scaled(image, [0.8, 1.3]), paint(AMOUNTS * [0.8, 1.3]), atol=0.05)


def test_white_stays_white_and_black_stays_finite():
    out = scaled(np.array([[[255.0] * 3, [0.0] * 3]], np.float32), [1.3, 0.7])
    np.testing.assert_allclose(out[0, 0], 255, atol=1e-3)
    assert np.isfinite(out).all()


def test_off_by_default_and_uniform_when_on():
    keys = example_keys(0, jnp.zeros(2000, jnp.int32), jnp.arange(2000, dtype=jnp.int32))
    draw = jax.jit(draw_views, static_argnames=("size", "config"))
    assert draw(keys, (32, 48), AugmentConfig()).stain is None
    scale = np.asarray(draw(keys, (32, 48), AugmentConfig(stain=0.2)).stain)
    assert scale.shape == (2000, 2)
    np.testing.assert_allclose(
        np.quantile(scale, [0, 0.5, 1], axis=0), [[0.8] * 2, [1] * 2, [1.2] * 2], atol=0.02
    )
    assert abs(np.corrcoef(scale.T)[0, 1]) < 0.1
