"""Image files to arrays: RGB images and single-channel masks, pixels as stored (no EXIF rotation)."""

import io

import cv2
import numpy as np
from jaxtyping import UInt, UInt8
from PIL import Image

from sampath_jax.errors import InputError

_IMAGE = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION


def decode_image(data: bytes, name: str) -> UInt8[np.ndarray, "H W 3"]:
    """RGB pixels of an encoded image; `name` is the file that an error names.

    Raises:
        InputError: the bytes are no readable image.
    """
    image = _decode(data, _IMAGE)
    if image is None:
        raise InputError(f"{name} cannot be decoded as an image; replace the file")
    return image


def decode_mask(data: bytes, name: str) -> UInt8[np.ndarray, "H W"]:
    """Raw values of an encoded mask. A palette image gives its indices, not its colours.

    Raises:
        InputError: the bytes are no readable image, or not one of 8-bit single-channel values.
    """
    mask = _decode_values(data, name)
    if mask.ndim != 2 or mask.dtype != np.uint8:
        raise InputError(f"{name} is {mask.dtype} {mask.shape}; a mask is 8-bit with a single channel")
    return mask


def decode_instances(data: bytes, name: str) -> UInt[np.ndarray, "H W"]:
    """Numbers of the objects in an encoded instance mask, uint8 or uint16 as stored; 0 is no object.

    Raises:
        InputError: the bytes are no readable image, or not one of 8- or 16-bit single-channel values.
    """
    mask = _decode_values(data, name)
    if mask.ndim != 2 or mask.dtype not in (np.uint8, np.uint16):
        shown = f"{mask.dtype} {mask.shape}"
        raise InputError(f"{name} is {shown}; an instance mask is 8- or 16-bit with a single channel")
    return mask


def _decode_values(data: bytes, name: str) -> np.ndarray:
    """The values of an encoded mask as stored, of any type and number of channels."""
    mask = _decode(data, cv2.IMREAD_UNCHANGED)
    if mask is not None and mask.ndim == 3:
        with Image.open(io.BytesIO(data)) as file:
            mask = np.asarray(file) if file.mode == "P" else mask
    if mask is None:
        raise InputError(f"{name} cannot be decoded as an image; replace the file")
    return mask


def _decode(data: bytes, flags: int) -> np.ndarray | None:
    """What `cv2` makes of the bytes; None where it cannot read them."""
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:  # an empty buffer, or more pixels than OpenCV allows
        return None
