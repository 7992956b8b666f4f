"""Prompts as a user gives them, checked, in the pixels of SAM's input."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from sampath_jax.errors import InputError
from sampath_jax.prompting.geometry import Frame


class Prompts(NamedTuple):
    """n prompts for one image; what was not given is None."""

    points: Float[np.ndarray, "n p 2"] | None = None
    labels: Int[np.ndarray, "n p"] | None = None
    boxes: Float[np.ndarray, "n 2 2"] | None = None
    masks: Float[np.ndarray, "n h w"] | None = None


def read_prompts(
    frame: Frame,
    points: ArrayLike | None,
    labels: ArrayLike | None,
    boxes: ArrayLike | None,
    masks: ArrayLike | None,
) -> Prompts:
    """Checks the arguments of `PromptableSam.predict` and moves them into the input.

    Raises:
        InputError: no prompt, prompts outside the image, or shapes that do not fit together.
    """
    if points is None and boxes is None and masks is None:
        raise InputError("give at least one point, box or mask to segment from")
    if points is None and labels is not None:
        raise InputError("labels were given without points")
    counts = {len(np.asarray(given)) for given in (points, boxes, masks) if given is not None}
    if len(counts) > 1 or 0 in counts:
        raise InputError(f"points, boxes and masks must be the same number, 1 or more; got {sorted(counts)}")
    at, inside = (None, None) if points is None else _read_points(frame, np.asarray(points), labels)
    return Prompts(
        at,
        inside,
        None if boxes is None else _read_boxes(frame, np.asarray(boxes)),
        None if masks is None else _read_masks(frame, np.asarray(masks)),
    )


def _read_points(frame: Frame, points: np.ndarray, labels: ArrayLike | None) -> tuple[np.ndarray, np.ndarray]:
    points = points[:, None] if points.ndim == 2 else points
    given = np.ones(points.shape[:2]) if labels is None else np.asarray(labels).reshape(points.shape[:2])
    if not np.isin(given, (0, 1)).all():
        raise InputError("point labels are 1 (in the object) or 0 (not in it)")
    return _inside(frame, points, "point"), given.astype(np.int32)


def _read_boxes(frame: Frame, boxes: np.ndarray) -> np.ndarray:
    corners = boxes.reshape(-1, 2, 2)
    if (corners[:, 1] <= corners[:, 0]).any():
        raise InputError("a box is (left, top, right, bottom) with left < right and top < bottom")
    return _inside(frame, corners, "box corner")


def _read_masks(frame: Frame, masks: np.ndarray) -> np.ndarray:
    side = frame.side // 4
    if masks.shape[1:] != (side, side):
        raise InputError(f"a mask prompt is [n, {side}, {side}] logits, not {list(masks.shape)}")
    return masks.astype(np.float32)


def _inside(frame: Frame, coordinates: np.ndarray, what: str) -> np.ndarray:
    """Float32 input pixels of `coordinates`, which must lie in the image."""
    outside = ((coordinates < 0) | (coordinates > (frame.width, frame.height))).any(-1)
    if outside.any():
        x, y = coordinates[outside][0]
        size = f"{frame.width} wide and {frame.height} high"
        raise InputError(f"{what} ({x:g}, {y:g}) lies outside the image, which is {size}")
    return frame.to_input(coordinates.astype(np.float32))
