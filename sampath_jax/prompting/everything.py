"""Segment everything: masks for a grid of points, filtered by quality, stability and overlap.

Source   Kirillov et al. 2023, appendix B ("automatic mask generation"); thresholds are the defaults
         of segment-anything. Tests compare with the mask-generation pipeline of `transformers`.
Differs  one view of the whole image: no additional zoomed-in crops (segment-anything's default, too).
"""

import dataclasses
from dataclasses import dataclass
from functools import partial

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, UInt8

from sampath_jax.errors import InputError
from sampath_jax.prompting.geometry import Frame, mask_boxes
from sampath_jax.prompting.nms import non_maximum_suppression
from sampath_jax.prompting.predictor import PromptableSam


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
    """

    points_per_side: int = 32
    points_per_batch: int = 64
    min_predicted_iou: float = 0.88
    min_stability: float = 0.95
    stability_offset: float = 1.0
    box_nms: float = 0.7
    min_region_area: int = 0


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


def segment_everything(
    sam: PromptableSam, image: UInt8[np.ndarray, "H W 3"], options: EverythingOptions | None = None
) -> Masks:
    """All masks of `image` that the options let through."""
    options = options or EverythingOptions()
    if options.points_per_side < 1 or options.points_per_batch < 1:
        raise InputError("points_per_side and points_per_batch must be 1 or more")
    frame, embedding = sam.embed(image)
    points = point_grid(options.points_per_side, frame)
    parts = []
    for start in range(0, len(points), options.points_per_batch):
        some = points[start : start + options.points_per_batch]
        # a batch of fixed size compiles once; what is beyond the grid repeats its last point and is cut off
        padded = np.pad(some, ((0, options.points_per_batch - len(some)), (0, 0)), mode="edge")
        decoded = _decode_points(
            sam.graphdef, sam.state, embedding, frame.to_input(padded), frame, options.stability_offset
        )
        parts.append(_keep_good(decoded, some, options))
    found = Masks(
        *(np.concatenate(column) for column in zip(*(dataclasses.astuple(p) for p in parts), strict=True))
    )
    found = found.take(non_maximum_suppression(found.boxes, found.predicted_iou, options.box_nms))
    return clean_small_regions(found, options) if options.min_region_area else found


def point_grid(side: int, frame: Frame) -> Float[np.ndarray, "n 2"]:
    """(x, y) pixels of a side x side grid of cell centres over the image, row by row."""
    centres = (np.arange(side) + 0.5) / side
    x, y = np.meshgrid(centres * frame.width, centres * frame.height)
    return np.stack([x.ravel(), y.ravel()], -1).astype(np.float32)


@partial(jax.jit, static_argnames=("graphdef", "frame"))
def _decode_points(
    graphdef, state, embedding, points: Float[Array, "n 2"], frame: Frame, offset: Float[Array, ""] | float
):
    """Three masks per point: boolean at the image's size, predicted IoU, stability, boxes; each [n * 3, ...].

    Full-size logits exist for one mask at a time (`lax.map`): a batch of 64 points at 1024 x 1024 would
    otherwise hold 800 MB of them.
    """
    logits, iou = nnx.merge(graphdef, state).decode(
        embedding, points[:, None], jnp.ones(points.shape[0], jnp.int32)[:, None]
    )

    def finish(low: Float[Array, "h w"]):
        mask = frame.to_image(low[None])[0]
        stability = (mask > offset).sum() / jnp.maximum((mask > -offset).sum(), 1)
        return mask > 0, stability.astype(jnp.float32), mask_boxes(mask > 0)

    several = logits[:, 1:].reshape(-1, *logits.shape[2:])
    masks, stability, boxes = jax.lax.map(finish, several)
    return masks, iou[:, 1:].reshape(-1), stability, boxes


def _keep_good(decoded, points: Float[np.ndarray, "n 2"], options: EverythingOptions) -> Masks:
    """Drops padding, and masks that are not good or not stable enough."""
    masks, iou, stability, boxes = (np.asarray(x)[: 3 * len(points)] for x in decoded)
    good = (iou > options.min_predicted_iou) & (stability > options.min_stability)
    return Masks(
        masks[good],
        iou[good],
        stability[good],
        boxes[good].astype(np.float32),
        np.repeat(points, 3, axis=0)[good],
    )


def clean_small_regions(found: Masks, options: EverythingOptions) -> Masks:
    """Fills small holes, removes small islands, and suppresses the duplicates that this may make.

    Masks that needed no cleaning win over those that did, as in segment-anything.
    """
    cleaned = [_without_small(mask, options.min_region_area) for mask in found.masks]
    unchanged = np.asarray([np.array_equal(new, old) for new, old in zip(cleaned, found.masks, strict=True)])
    masks = np.asarray(cleaned, bool).reshape(found.masks.shape)
    filled = np.flatnonzero(masks.any(axis=(1, 2)))
    boxes = np.asarray(mask_boxes(jnp.asarray(masks)), np.float32)
    found = dataclasses.replace(found, masks=masks, boxes=boxes).take(filled)
    kept = non_maximum_suppression(found.boxes, unchanged[filled].astype(np.float32), options.box_nms)
    return found.take(np.sort(kept))


def _without_small(mask: Bool[np.ndarray, "H W"], area: int) -> Bool[np.ndarray, "H W"]:
    """Holes below `area` pixels filled, then islands below it removed; the largest island always stays."""
    holes = _small_components(~mask, area)
    islands = _small_components(mask | holes, area, keep_largest=True)
    return (mask | holes) & ~islands


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
