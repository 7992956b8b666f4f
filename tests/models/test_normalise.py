import jax.numpy as jnp
import numpy as np

from sampath_jax.models.normalise import imagenet_to_hipt, normalise


def test_literal():
    image = np.zeros((1, 2, 1, 3), np.uint8)
    image[0, 1] = 255
    np.testing.assert_allclose(
        normalise(jnp.asarray(image))[0, :, 0],
        [[-2.1179, -2.0357, -1.8044], [2.2489, 2.4286, 2.6400]],
        atol=1e-4,
    )


def test_equals_the_published_formula_to_the_last_bit():
    image = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    mean = np.array([0.485, 0.456, 0.406], np.float32) * np.float32(255)
    scale = np.reciprocal(np.array([0.229, 0.224, 0.225], np.float32) * np.float32(255))
    expected = (image.astype(np.float32) - mean) * scale
    np.testing.assert_array_equal(normalise(jnp.asarray(image)), expected)
    np.testing.assert_array_equal(normalise(jnp.asarray(image, np.float32)), expected)


def test_hipt_sees_minus_one_to_one():
    image = np.zeros((1, 1, 3, 3), np.uint8)
    image[0, 0, 1], image[0, 0, 2] = 51, 255
    scaled = imagenet_to_hipt(normalise(jnp.asarray(image)))
    np.testing.assert_allclose(scaled[0, 0], [[-1] * 3, [-0.6] * 3, [1] * 3], atol=1e-6)
