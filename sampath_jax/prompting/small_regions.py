"""Holes and islands of a mask that are too small to mean anything.

Source   the post-processing of segment-anything's automatic mask generation.
"""

import cv2
import numpy as np
from jaxtyping import Bool


def without_small_regions(mask: Bool[np.ndarray, "H W"], area: int) -> Bool[np.ndarray, "H W"]:
    """Holes below `area` pixels filled, then islands below it removed; the largest island always stays."""
    holes = _small_components(~mask, area)
    islands = _small_components(mask | holes, area, keep_largest=True)
    return (mask | holes) & ~islands


def inclusive_box(mask: Bool[np.ndarray, "H W"]) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of the mask's pixels, the last ones included."""
    left, top, width, height = cv2.boundingRect(mask.astype(np.uint8))
    return left, top, left + width - 1, top + height - 1


def _small_components(
    mask: Bool[np.ndarray, "H W"], area: int, *, keep_largest: bool = False
) -> Bool[np.ndarray, "H W"]:
    count, components, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    sizes = stats[:, cv2.CC_STAT_AREA]
    small = sizes < area
    small[0] = False  # component 0 is everything outside the mask
    if keep_largest and count > 1:
        small[1 + sizes[1:].argmax()] = False
    return small[components]
