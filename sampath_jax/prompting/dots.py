"""One dot per instance: its most interior point, the paper's manual prompt without the hand (section 3.2)."""

import cv2
import numpy as np
from jaxtyping import Bool, Float, Shaped
from scipy import ndimage


def interior_point(instance: Bool[np.ndarray, "H W"]) -> tuple[int, int]:
    """The (x, y) pixel farthest from the instance's border; the image's edge counts as border."""
    framed = np.pad(instance.astype(np.uint8), 1)
    distance = cv2.distanceTransform(framed, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    y, x = np.unravel_index(distance.argmax(), distance.shape)
    return int(x), int(y)


def instance_dots(instances: Shaped[np.ndarray, "H W"]) -> Float[np.ndarray, "n 2"]:
    """One (x, y) dot per instance, in the order of their values.

    Args:
        instances: 0 for background, one value per instance, which may lie in several pieces.
    """
    dots = []
    for value, box in enumerate(ndimage.find_objects(instances.astype(np.int32)), start=1):
        if box is not None:
            rows, columns = box
            x, y = interior_point(instances[box] == value)
            dots.append((columns.start + x, rows.start + y))
    return np.asarray(dots, np.float32).reshape(-1, 2)


def connected_instances(mask: Bool[np.ndarray, "H W"]) -> Shaped[np.ndarray, "H W"]:
    """Instances of a semantic mask: its 8-connected components, numbered from 1."""
    return cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[1]
