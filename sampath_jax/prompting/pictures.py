"""What baselines look like: dots as in the paper's figure 2, masks without meaning as in figure 3."""

import cv2
import numpy as np
from jaxtyping import Bool, Shaped

from sampath_jax import drawing
from sampath_jax.drawing import Picture

#: Half of a dot's width on an overlay, as a share of the image's shorter side.
DOT = 1 / 150


def draw_dots(image: Picture, dots: Shaped[np.ndarray, "n 2"]) -> Picture:
    """Black asterisks with a white rim at `dots`, as in figure 2."""
    size = max(4, round(2 * DOT * min(image.shape[:2])))
    drawn = image.copy()
    for color, width in (((255, 255, 255), 3), ((0, 0, 0), 1)):
        for x, y in np.round(dots).astype(int).tolist():
            cv2.drawMarker(drawn, (x, y), color, cv2.MARKER_STAR, size, width, cv2.LINE_AA)
    return drawn


def draw_masks(image: Picture, masks: Bool[np.ndarray, "n H W"]) -> Picture:
    """Masks in alternating colours, the largest first so that small ones stay visible."""
    colors = drawing.default_colors(len(drawing.PALETTE))
    for rank, i in enumerate(np.argsort(-masks.sum(axis=(1, 2)), kind="stable")):
        labels = masks[i].astype(np.uint8) * (rank % len(colors) + 1)
        image = drawing.overlay(image, labels, colors)
    return image
