"""Colour jitter: each op against a literal or OpenCV, and the order as given."""

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sampath_jax.data.color import BRIGHTNESS, CONTRAST, HUE, SATURATION, Jitter, jitter_color, turn_hue


def jitter(image, amounts, order=(0, 1, 2, 3)):
    amount = [1.0, 1.0, 1.0, 0.0]
    for op, value in amounts.items():
        amount[op] = value
    planes = tuple(jnp.asarray(image[..., c], jnp.float32) for c in range(3))
    return np.stack(
        jax.jit(jitter_color)(planes, Jitter(jnp.array(amount), jnp.array(order, jnp.int32))), axis=-1
    )


PIXELS = np.array([[[200, 100, 50], [10, 20, 30]], [[255, 255, 255], [0, 0, 0]], [[0, 240, 0], [90, 90, 90]]])


def test_neutral_amounts_change_nothing():
    np.testing.assert_allclose(jitter(PIXELS, {}), PIXELS, atol=1e-4)


def test_brightness_multiplies_and_clips():
    out = jitter(PIXELS, {BRIGHTNESS: 1.1})
    np.testing.assert_allclose(out[0], [[220, 110, 55], [11, 22, 33]], rtol=1e-6)
    np.testing.assert_array_equal(out[1], [[255] * 3, [0] * 3])


def test_contrast_pulls_towards_the_mean_grey():
    image = np.array([[[100, 100, 100], [200, 200, 200]]])
    np.testing.assert_allclose(jitter(image, {CONTRAST: 0.5})[0, :, 0], [125, 175], rtol=1e-6)


def test_saturation_pulls_towards_the_grey_of_the_pixel():
    out = jitter(PIXELS, {SATURATION: 0.0})
    grey = 0.299 * 200 + 0.587 * 100 + 0.114 * 50
    np.testing.assert_allclose(out[0, 0], [grey] * 3, rtol=1e-5)
    np.testing.assert_allclose(out[2, 1], [90] * 3, rtol=1e-5)


def test_a_third_of_the_circle_turns_green_to_blue():
    out = jitter(np.array([[[0, 240, 0], [30, 60, 90]]]), {HUE: 1 / 3})
    np.testing.assert_allclose(out[0], [[0, 0, 240], [90, 30, 60]], atol=1e-3)


@pytest.mark.parametrize("turns", [-0.1, 0.03, 0.1, 0.5])
def test_hue_is_that_of_opencv(turns):
    image = np.random.default_rng(0).integers(0, 256, (17, 23, 3)).astype(np.float32)
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0] + 360 * turns) % 360
    expected = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    out = jax.jit(turn_hue)(tuple(jnp.asarray(image[..., c]) for c in range(3)), jnp.float32(turns))
    np.testing.assert_allclose(np.stack(out, axis=-1), expected, atol=0.05)


def test_the_order_counts():
    image = np.array([[[250, 250, 250], [50, 50, 50]]])
    brighter_first = jitter(image, {BRIGHTNESS: 1.1, CONTRAST: 0.9}, (BRIGHTNESS, CONTRAST, HUE, SATURATION))
    contrast_first = jitter(image, {BRIGHTNESS: 1.1, CONTRAST: 0.9}, (SATURATION, CONTRAST, HUE, BRIGHTNESS))
    np.testing.assert_allclose(brighter_first[0, :, 0], [245, 65], rtol=1e-6)  # 255, 55 about their mean 155
    np.testing.assert_allclose(contrast_first[0, :, 0], [255, 66], rtol=1e-6)  # 240, 60, then times 1.1
