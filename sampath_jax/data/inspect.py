"""One tile, looked at closely: an 8-bit RGB image with a fitting single-channel mask? What does it hold?

Slower than the pipeline on purpose: Pillow notices a truncated file, where OpenCV would fill in grey.
"""

import io
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, UInt, UInt8
from PIL import Image

from sampath_jax.data.problems import Problems
from sampath_jax.data.source import TileSource
from sampath_jax.errors import InputError

# Regions of slides are large; Pillow's limit is against hostile uploads.
Image.MAX_IMAGE_PIXELS = None

#: TIFF tag 258; absent means one bit.
TIFF_BITS_PER_SAMPLE = 258
#: Byte of a PNG file that holds the bits per channel.
PNG_BIT_DEPTH = 24

AS_RGB = "save it as 8-bit RGB"
AS_MASK = "save it with one 8-bit channel that holds the class values"
AS_INSTANCES = "save it with one channel of 8 or 16 bits that numbers the objects"
REPLACE = "replace the file"


@dataclass
class TileFacts:
    """What a tile holds: pixels of each raw value, size (height, width), and its problems."""

    counts: Int[np.ndarray, "256"]
    size: tuple[int, int]
    problems: Problems


def inspect_tile(source: TileSource, i: int) -> TileFacts:
    """Reads image and mask of tile `i` completely."""
    tile, problems = source.tiles[i], Problems()
    try:
        image_bytes, mask_bytes = source.encoded(i)
    except InputError as error:
        problems.add("unreadable file", str(error), REPLACE)
        return TileFacts(np.zeros(256, np.int64), (0, 0), problems)
    size = inspect_image(image_bytes, tile.image_name, problems)
    mask = inspect_mask(mask_bytes, tile.mask_name, problems)
    if size and mask is not None and size != mask.shape:
        where = f"{tile.image_name}: image {size[1]}x{size[0]}, mask {mask.shape[1]}x{mask.shape[0]}"
        problems.add("image and mask differ in size", where, "export both at the same size")
    counts = np.zeros(256, np.int64) if mask is None else np.bincount(mask.ravel(), minlength=256)
    return TileFacts(counts, size or (0, 0), problems)


def inspect_image(data: bytes, name: str, problems: Problems) -> tuple[int, int] | None:
    """Height and width of an image; None if it cannot be read. Notes what keeps it from being 8-bit RGB."""
    image = _load(data, name, problems)
    if image is None:
        return None
    if bits(image, data) > 8:
        problems.add("image with more than 8 bits per channel", name, AS_RGB)
    elif image.mode != "RGB":
        problems.add(f"image is {MODES.get(image.mode, image.mode)}, not RGB", name, AS_RGB)
    return image.height, image.width


def inspect_mask(
    data: bytes, name: str, problems: Problems, *, instances: bool = False
) -> UInt8[np.ndarray, "H W"] | None:
    """Raw values of a mask; None if it cannot be read or used. A palette image holds its indices.

    With `instances` the mask numbers objects (`inspect_instances`): 0 stays 0, every object becomes 1.
    """
    if instances:
        objects = inspect_instances(data, name, problems)
        return None if objects is None else (objects > 0).astype(np.uint8)
    mask = _load_mask(data, name, problems)
    if mask is None:
        return None
    if bits(mask, data) > 8:
        problems.add("mask with more than 8 bits", name, AS_MASK)
    elif mask.mode not in ("L", "P"):
        problems.add(f"mask is {MODES.get(mask.mode, mask.mode)}", name, AS_MASK)
    else:
        return np.asarray(mask)
    return None


def inspect_instances(data: bytes, name: str, problems: Problems) -> UInt[np.ndarray, "H W"] | None:
    """The numbers of a mask's objects, 0 = none, in 8 bits if they fit, else 16; None if unusable."""
    mask = _load_mask(data, name, problems)
    if mask is None:
        return None
    values = np.asarray(mask)
    if values.dtype.kind == "f" or values.min() < 0 or values.max() > np.iinfo(np.uint16).max:
        problems.add("objects not numbered from 0 to 65535", name, AS_INSTANCES)
        return None
    return values.astype(np.uint8 if values.max() <= np.iinfo(np.uint8).max else np.uint16)


def _load_mask(data: bytes, name: str, problems: Problems) -> Image.Image | None:
    """The decoded mask, if it has a single channel."""
    mask = _load(data, name, problems)
    if mask is not None and len(mask.getbands()) > 1:
        problems.add(f"mask with {len(mask.getbands())} channels", name, AS_MASK)
        return None
    return mask


#: Pillow's mode names in plain words.
MODES = {
    "1": "black and white (1 bit)",
    "L": "grey",
    "LA": "grey with alpha",
    "P": "a palette image",
    "PA": "a palette image with alpha",
    "RGBA": "RGB with alpha",
    "CMYK": "CMYK",
    "YCbCr": "YCbCr",
    "LAB": "Lab",
    "F": "floating point",
    "I": "32-bit",
}


def bits(image: Image.Image, data: bytes) -> int:
    """Bits per channel as stored; Pillow reads 16-bit RGB as 8-bit without a word."""
    if image.format == "PNG":
        return data[PNG_BIT_DEPTH]
    if image.format == "TIFF":
        return max(image.tag_v2.get(TIFF_BITS_PER_SAMPLE, (1,)))  # type: ignore[attr-defined]
    return {"I": 32, "F": 32, "I;16": 16}.get(image.mode, 8)


def _load(data: bytes, name: str, problems: Problems) -> Image.Image | None:
    """The decoded image; None (and a problem) where any byte is missing or wrong."""
    try:
        image = Image.open(io.BytesIO(data))
        image.load()
    except (OSError, SyntaxError, ValueError, EOFError) as error:  # Pillow raises all four on broken files
        what = "truncated file" if "truncated" in str(error).lower() else "unreadable file"
        problems.add(what, name, REPLACE)
        return None
    return image
