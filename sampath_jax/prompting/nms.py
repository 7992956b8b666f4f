"""Greedy non-maximum suppression of boxes."""

import numpy as np
from jaxtyping import Float, Int


def box_iou(box: Float[np.ndarray, " 4"], boxes: Float[np.ndarray, "n 4"]) -> Float[np.ndarray, " n"]:
    """IoU of one (left, top, right, bottom) box with each of `boxes`; width is right - left."""
    near = np.maximum(box[:2], boxes[:, :2])
    far = np.minimum(box[2:], boxes[:, 2:])
    overlap = np.prod(np.clip(far - near, 0, None), axis=1)
    area = np.prod(box[2:] - box[:2])
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    union = area + areas - overlap
    return np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0)


def non_maximum_suppression(
    boxes: Float[np.ndarray, "n 4"], scores: Float[np.ndarray, " n"], threshold: float
) -> Int[np.ndarray, " kept"]:
    """Indices of the boxes to keep, best score first.

    Each drops the later ones whose IoU with it is above `threshold`. Equal scores keep their order.
    """
    order = np.argsort(-scores, kind="stable")
    kept = []
    while order.size:
        best, order = order[0], order[1:]
        kept.append(best)
        order = order[box_iou(boxes[best], boxes[order]) <= threshold]
    return np.asarray(kept, np.int64)
