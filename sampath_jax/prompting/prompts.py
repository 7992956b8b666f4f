"""Prompts as a user gives them, checked, in the pixels of SAM's input."""

from collections.abc import Iterator
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

    @property
    def number(self) -> int:
        """How many prompts there are."""
        return next(len(part) for part in self if part is not None)

    def batches(self, size: int) -> Iterator[tuple[int, "Prompts"]]:
        """Batches of exactly `size` prompts, which compile once; the last prompt fills up the last batch.

        Yields:
            How many prompts of the batch are real, and the batch.
        """
        for start in range(0, self.number, size):
            rows = np.minimum(np.arange(start, start + size), self.number - 1)
            batch = Prompts(*(None if part is None else part[rows] for part in self))
            yield min(size, self.number - start), batch


def read_prompts(
    frame: Frame,
    points: ArrayLike | None,
    labels: ArrayLike | None,
    boxes: ArrayLike | None,
    masks: ArrayLike | None,
) -> Prompts:
    """Checks the arguments of `PromptableSam.predict` and moves them into the input.

    Raises:
        InputError: no prompt, prompts outside the image, no numbers, or shapes that do not fit together.
    """
    if points is None and boxes is None and masks is None:
        raise InputError("give at least one point, box or mask to segment from")
    if points is None and labels is not None:
        raise InputError("labels were given without points")
    at, inside = (None, None) if points is None else _read_points(frame, points, labels)
    prompts = Prompts(
        at,
        inside,
        None if boxes is None else _read_boxes(frame, boxes),
        None if masks is None else _read_masks(frame, masks),
    )
    counts = {len(part) for part in prompts if part is not None}
    if len(counts) > 1 or 0 in counts:
        raise InputError(f"points, boxes and masks must be the same number, 1 or more; got {sorted(counts)}")
    return prompts


def _read_points(frame: Frame, given: ArrayLike, labels: ArrayLike | None) -> tuple[np.ndarray, np.ndarray]:
    form = "points are [n, 2], an (x, y) for each prompt, or [n, p, 2]"
    points = _numbers(given, form)
    if points.ndim not in (2, 3) or points.shape[-1] != 2 or 0 in points.shape[1:]:
        raise InputError(f"{form}; these have shape {list(points.shape)}")
    points = points[:, None] if points.ndim == 2 else points
    # A point means the pixel that it is in, so the image's far edges are already outside.
    inside = (points >= 0) & (points < (frame.width, frame.height))
    at = _in_input(frame, points, inside, "point")
    return at, _read_labels(points.shape[:2], labels)


def _read_labels(shape: tuple[int, ...], given: ArrayLike | None) -> np.ndarray:
    if given is None:
        return np.ones(shape, np.int32)
    labels = _numbers(given, "point labels are 1 (in the object) or 0 (not in it)")
    if labels.shape != shape and (*labels.shape, 1) != shape:
        raise InputError(
            f"there is one label per point, {list(shape)}; these have shape {list(labels.shape)}"
        )
    if not np.isin(labels, (0, 1)).all():
        raise InputError("point labels are 1 (in the object) or 0 (not in it)")
    return labels.reshape(shape).astype(np.int32)


def _read_boxes(frame: Frame, given: ArrayLike) -> np.ndarray:
    form = "boxes are [n, 4], (left, top, right, bottom) with left < right and top < bottom"
    boxes = _numbers(given, form)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise InputError(f"{form}; these have shape {list(boxes.shape)}")
    corners = boxes.reshape(-1, 2, 2)
    # A box may end where the image ends.
    inside = (corners >= 0) & (corners <= (frame.width, frame.height))
    at = _in_input(frame, corners, inside, "box corner")
    if not (corners[:, 0] < corners[:, 1]).all():
        raise InputError(form)
    return at


def _read_masks(frame: Frame, given: ArrayLike) -> np.ndarray:
    side = frame.side // 4
    form = f"mask prompts are [n, {side}, {side}] finite logits"
    masks = _numbers(given, form)
    if masks.ndim != 3 or masks.shape[1:] != (side, side):
        raise InputError(f"{form}; these have shape {list(masks.shape)}")
    if not np.isfinite(masks).all():
        raise InputError(f"{form}; these hold NaN or infinity")
    return masks


def _numbers(given: ArrayLike, form: str) -> Float[np.ndarray, "*shape"]:
    """`given` as float32; an error says what was expected."""
    try:
        return np.asarray(given, np.float32)
    except (ValueError, TypeError) as error:  # rows of different lengths, text
        raise InputError(f"{form}; these are no array of numbers: {error}") from error


def _in_input(frame: Frame, coordinates: np.ndarray, inside: np.ndarray, what: str) -> np.ndarray:
    """Input pixels of `coordinates`, all of which must be `inside` the image; NaN never is."""
    if not inside.all():
        x, y = coordinates[~inside.all(-1)][0]
        size = f"{frame.width} wide and {frame.height} high"
        raise InputError(f"{what} ({x:g}, {y:g}) lies outside the image, which is {size}")
    return frame.to_input(coordinates)
