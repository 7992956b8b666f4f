"""The canvas: as the published transform resizes, to the grey level."""

import numpy as np
from PIL import Image

from sampath_jax.data.resize import to_canvas
from tests.data import made
from tests.shared import SHARED, needs_shared


@needs_shared
def test_published_resize_bit_for_bit():
    folder = SHARED / "reference" / "resize"
    image = np.asarray(Image.open(folder / "smaller_700x900.png"))
    expected = np.asarray(Image.open(folder / "smaller_to_1024.png"))
    resized, _ = to_canvas(image, image[..., 0], (1024, 1024))
    np.testing.assert_array_equal(resized, expected)


def test_mask_is_nearest_and_image_linear():
    mask = np.array([[7, 3, 9]], np.uint8)
    image = np.repeat(np.array([[[0], [100], [200]]], np.uint8), 3, axis=2)
    resized, labels = to_canvas(image, mask, (2, 6))
    np.testing.assert_array_equal(labels, [[7, 7, 3, 3, 9, 9]] * 2)
    np.testing.assert_array_equal(resized[..., 0], [[0, 25, 75, 125, 175, 200]] * 2)


def test_canvas_is_height_then_width():
    image, mask = to_canvas(made.image(3, (24, 40)), made.mask((24, 40)), (50, 30))
    assert image.shape == (50, 30, 3)
    assert mask.shape == (50, 30)


def test_right_size_is_left_alone():
    image = made.image(3)
    assert to_canvas(image, made.mask(), (24, 40))[0] is image
