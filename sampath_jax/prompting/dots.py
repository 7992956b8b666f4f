"""One dot per instance: its most interior point, the paper's manual prompt without the hand (section 3.2)."""

import cv2
import numpy as np
from jaxtyping import Bool, Float, Shaped

from sampath_jax.errors import InputError


def interior_point(instance: Bool[np.ndarray, "H W"]) -> tuple[int, int]:
    """The (x, y) pixel farthest from the instance's border; the image's edge counts as border."""
    framed = np.pad(instance.astype(np.uint8), 1)
    distance = cv2.distanceTransform(framed, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    y, x = np.unravel_index(distance.argmax(), distance.shape)
    return int(x), int(y)


def instance_dots(instances: Shaped[np.ndarray, "H W"]) -> Float[np.ndarray, "n 2"]:
    """One (x, y) dot per instance of a mask with 0 for background and one value per instance, in value order.

    Raises:
        InputError: the mask holds no instance.
    """
    values = np.unique(instances)
    values = values[values != 0]
    if values.size == 0:
        raise InputError("the mask holds no instance (every pixel is 0), so there is nothing to put a dot on")
    return np.asarray([interior_point(instances == value) for value in values], np.float32)


def connected_instances(mask: Bool[np.ndarray, "H W"]) -> Shaped[np.ndarray, "H W"]:
    """Instances of a semantic mask: its 8-connected components, numbered from 1."""
    return cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[1]
