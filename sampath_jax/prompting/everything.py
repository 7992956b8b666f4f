"""Segment everything: masks for a grid of points, filtered by quality, stability and overlap.

Source   Kirillov et al. 2023, appendix B ("automatic mask generation"); thresholds are the defaults
         of segment-anything. Tests compare with the mask-generation pipeline of `transformers`.
Differs  one view of the whole image: no additional zoomed-in crops (segment-anything's default, too).
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, UInt8
from ml_collections import ConfigDict

from sampath_jax.errors import InputError
from sampath_jax.prompting.geometry import Frame, mask_boxes
from sampath_jax.prompting.nms import non_maximum_suppression
from sampath_jax.prompting.prompts import Prompts
from sampath_jax.prompting.small_regions import inclusive_box, without_small_regions

#: Prompts for an embedded image to low-resolution logits [n, 4, h, w] and predicted IoUs [n, 4].
Decode = Callable[[Prompts], tuple[Array, Array]]

#: The least that options may be. A threshold below all values that occur lets every mask through.
LEAST = {
    **{"points_per_side": 1, "points_per_batch": 1, "min_predicted_iou": -np.inf, "min_stability": -np.inf},
    **{"stability_offset": 0, "box_nms": 0, "min_region_area": 0},
}


@dataclass(frozen=True)
class EverythingOptions:
    """What to ask and what to keep.

    Attributes:
        points_per_side: the grid has this many points along each side.
        points_per_batch: points decoded together; decides the memory, not the result.
        min_predicted_iou: masks whose predicted IoU is at or below this are dropped.
        min_stability: masks whose stability is at or below this are dropped.
        stability_offset: stability is the IoU of the mask at thresholds +offset and -offset, in logits.
        box_nms: of two masks whose boxes overlap by more than this IoU, the worse is dropped.
        min_region_area: holes and islands smaller than this many pixels are filled and removed; 0 = off.

    Raises:
        InputError: a value below the least that makes sense (`LEAST`), or NaN.
    """

    points_per_side: int = 32
    points_per_batch: int = 64
    min_predicted_iou: float = 0.88
    min_stability: float = 0.95
    stability_offset: float = 1.0
    box_nms: float = 0.7
    min_region_area: int = 0

    def __post_init__(self) -> None:
        for name, least in LEAST.items():
            value = getattr(self, name)
            if not value >= least:  # NaN is not
                raise InputError(f"{name} is {value}, but must be a number of {least} or more")

    @classmethod
    def from_config(cls, config: ConfigDict) -> "EverythingOptions":
        """The values of the same names in `config.baseline`."""
        return cls(**{field.name: config.baseline[field.name] for field in dataclasses.fields(cls)})


@dataclass(frozen=True)
class Masks:
    """Masks of one image, best predicted IoU first.

    Attributes:
        masks: [n, H, W] at the image's own size.
        predicted_iou: [n].
        stability: [n].
        boxes: [n, 4], inclusive (left, top, right, bottom) pixels.
        points: [n, 2], the (x, y) that asked for each mask.
    """

    masks: Bool[np.ndarray, "n H W"]
    predicted_iou: Float[np.ndarray, " n"]
    stability: Float[np.ndarray, " n"]
    boxes: Float[np.ndarray, "n 4"]
    points: Float[np.ndarray, "n 2"]

    def take(self, indices: np.ndarray) -> "Masks":
        """The masks at `indices`, in that order."""
        return Masks(*(getattr(self, field.name)[indices] for field in dataclasses.fields(self)))


class Candidates(NamedTuple):
    """Masks before suppression, as in `Masks`, but eight pixels to a byte: most of them will be dropped."""

    packed: UInt8[np.ndarray, "n bytes"]
    predicted_iou: Float[np.ndarray, " n"]
    stability: Float[np.ndarray, " n"]
    boxes: Float[np.ndarray, "n 4"]
    points: Float[np.ndarray, "n 2"]

    def take(self, rows: np.ndarray) -> "Candidates":
        """The candidates at `rows` (indices or a boolean mask)."""
        return Candidates(*(column[rows] for column in self))

    def unpack(self, height: int, width: int) -> Masks:
        """The masks in full."""
        bits = np.unpackbits(self.packed, axis=1, count=height * width)
        return Masks(bits.reshape(-1, height, width).view(bool), *self[1:])


def segment_everything(frame: Frame, decode: Decode, options: EverythingOptions) -> Masks:
    """All masks that the options let through, of the image that lies in `frame` and that `decode` knows."""
    points = point_grid(options.points_per_side, frame)
    prompts = Prompts(frame.to_input(points)[:, None], np.ones((len(points), 1), np.int32))
    parts, start = [], 0
    for real, batch in prompts.batches(options.points_per_batch):
        columns = _measure(*decode(batch), frame, options.stability_offset)
        packed, iou, stability, boxes = (np.asarray(column)[: 3 * real] for column in columns)
        asked = np.repeat(points[start : start + real], 3, axis=0)
        good = (iou > options.min_predicted_iou) & (stability > options.min_stability)
        parts.append(Candidates(packed, iou, stability, boxes, asked).take(good))
        start += real
    found = Candidates(*map(np.concatenate, zip(*parts, strict=True)))
    kept = non_maximum_suppression(found.boxes, found.predicted_iou, options.box_nms)
    masks = found.take(kept).unpack(frame.height, frame.width)
    return clean_small_regions(masks, options) if options.min_region_area else masks


def point_grid(side: int, frame: Frame) -> Float[np.ndarray, "n 2"]:
    """(x, y) pixels of a side x side grid of cell centres over the image, row by row."""
    centres = (np.arange(side) + 0.5) / side
    x, y = np.meshgrid(centres * frame.width, centres * frame.height)
    return np.stack([x.ravel(), y.ravel()], -1).astype(np.float32)


@partial(jax.jit, static_argnames="frame")
def _measure(
    logits: Float[Array, "n 4 h w"], iou: Float[Array, "n 4"], frame: Frame, offset: Float[Array, ""] | float
):
    """Packed mask, predicted IoU, stability and box of the three masks of each point; each [n * 3, ...].

    Full-size logits exist for one mask at a time (`lax.map`): a batch of 64 points at 1024 x 1024 would
    otherwise hold 800 MB of them.
    """

    def finish(low: Float[Array, "h w"]):
        mask = frame.to_image(low[None])[0]
        stability = (mask > offset).sum() / jnp.maximum((mask > -offset).sum(), 1)
        box = mask_boxes(mask > 0).astype(jnp.float32)
        return jnp.packbits((mask > 0).ravel()), stability.astype(jnp.float32), box

    packed, stability, boxes = jax.lax.map(finish, logits[:, 1:].reshape(-1, *logits.shape[2:]))
    return packed, iou[:, 1:].ravel(), stability, boxes


def clean_small_regions(found: Masks, options: EverythingOptions) -> Masks:
    """Fills small holes, removes small islands, and suppresses the duplicates that this may make.

    Masks that needed no cleaning win over those that did, as in segment-anything.
    """
    cleaned = [without_small_regions(mask, options.min_region_area) for mask in found.masks]
    unchanged = np.asarray(
        [np.array_equal(new, old) for new, old in zip(cleaned, found.masks, strict=True)], bool
    )
    masks = np.asarray(cleaned, bool).reshape(found.masks.shape)
    boxes = np.asarray([inclusive_box(mask) for mask in masks], np.float32).reshape(-1, 4)
    filled = np.flatnonzero(masks.any(axis=(1, 2)))
    found = dataclasses.replace(found, masks=masks, boxes=boxes).take(filled)
    kept = non_maximum_suppression(found.boxes, unchanged[filled].astype(np.float32), options.box_nms)
    return found.take(np.sort(kept))
