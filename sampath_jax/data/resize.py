"""The published resize to the canvas: bilinear for images, nearest for masks; the aspect is not kept.

Source   the published evaluation transform (`cv2.resize`, INTER_LINEAR and INTER_NEAREST), bit for bit.
"""

import cv2
import numpy as np
from jaxtyping import UInt8


def to_canvas(
    image: UInt8[np.ndarray, "h w 3"], mask: UInt8[np.ndarray, "h w"], canvas: tuple[int, int]
) -> tuple[UInt8[np.ndarray, "H W 3"], UInt8[np.ndarray, "H W"]]:
    """`image` and `mask` at `canvas` = (height, width); the arrays themselves where they have that size."""
    return image_to_canvas(image, canvas), mask_to_canvas(mask, canvas)


def image_to_canvas(image: UInt8[np.ndarray, "h w 3"], canvas: tuple[int, int]) -> UInt8[np.ndarray, "H W 3"]:
    """`to_canvas` of an image without a mask."""
    if image.shape[:2] == tuple(canvas):
        return image
    return cv2.resize(image, (canvas[1], canvas[0]), interpolation=cv2.INTER_LINEAR)


def mask_to_canvas(mask: UInt8[np.ndarray, "h w"], canvas: tuple[int, int]) -> UInt8[np.ndarray, "H W"]:
    """`to_canvas` of a mask without an image."""
    if mask.shape == tuple(canvas):
        return mask
    return cv2.resize(mask, (canvas[1], canvas[0]), interpolation=cv2.INTER_NEAREST)
