"""Files to arrays: channel order, file types, palettes, orientation."""

import io

import numpy as np
import pytest
from PIL import Image

from sampath_jax.data.decode import decode_image, decode_instances, decode_mask
from sampath_jax.errors import InputError
from tests.data import made


def encoded(pixels, file_type, **options) -> bytes:
    data = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(data, file_type, **options)
    return data.getvalue()


@pytest.mark.parametrize("file_type", ["PNG", "TIFF"])
def test_lossless_images_are_rgb(file_type):
    image = made.image(9)
    np.testing.assert_array_equal(decode_image(encoded(image, file_type), "a"), image)


def test_jpeg_is_rgb():
    image = made.image(9)
    difference = decode_image(encoded(image, "JPEG", quality=95), "a").astype(int) - image
    assert np.abs(difference).max() < 12


def test_palette_mask_gives_indices_not_colours():
    mask = Image.fromarray(made.mask())
    mask.putpalette([c for i in range(256) for c in (255 - i, 3 * i % 256, 7)])
    assert mask.mode == "P"
    np.testing.assert_array_equal(decode_mask(encoded(mask, "PNG"), "a"), made.mask())


def test_pixels_as_stored_whatever_the_orientation_tag():
    """A rotated view of an image whose mask carries no tag would not fit it."""
    exif = Image.Exif()
    exif[274] = 6  # "turn by a quarter"
    assert decode_image(encoded(made.image(9), "JPEG", exif=exif), "a").shape == (24, 40, 3)


@pytest.mark.parametrize("data", [b"", b"no image", encoded(made.image(1), "PNG")[:60]])
def test_unreadable(data):
    with pytest.raises(InputError, match=r"img/a\.png cannot be decoded"):
        decode_image(data, "img/a.png")


@pytest.mark.parametrize("mask", [made.image(1), made.mask().astype(np.uint16)])
def test_mask_of_another_kind(mask):
    with pytest.raises(InputError, match=r"m\.png is .*8-bit with a single channel"):
        decode_mask(encoded(mask, "PNG"), "m.png")


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_instances_of_8_and_16_bits(kind):
    instances = (made.mask().astype(kind) * 28).astype(kind)
    decoded = decode_instances(encoded(instances, "PNG"), "a")
    assert decoded.dtype == kind
    np.testing.assert_array_equal(decoded, instances)


def test_instances_of_another_kind():
    with pytest.raises(InputError, match=r"i\.png is .*8- or 16-bit"):
        decode_instances(encoded(made.image(1), "PNG"), "i.png")
