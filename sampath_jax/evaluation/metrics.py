"""Scores of a segmentation, all from a confusion matrix over labelled pixels.

With TP, FP, FN of a class counted over the labelled pixels (rows 1..k of the matrix):

    Dice = 2 TP / (2 TP + FP + FN)      IoU = TP / (TP + FP + FN) = Dice / (2 - Dice)
    precision = TP / (TP + FP)          recall = TP / (TP + FN)

``micro`` pools TP, FP and FN over the classes first, ``macro`` is the mean of the classes' scores. Where
every labelled pixel is given some class, as a model does, micro Dice equals the pixel accuracy.

A class that is neither in the truth nor in the prediction has no score: it is NaN, is left out of ``macro``,
and is shown as "-". A class that is in one of them only scores 0. torchmetrics does the same.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

#: Scores of a segmentation as a whole, in the order in which they are shown.
OVERALL = ("micro_dice", "micro_iou", "macro_dice", "macro_iou", "accuracy")
#: Scores of one class, in the order in which they are shown.
PER_CLASS = ("dice", "iou", "precision", "recall")


@dataclasses.dataclass(frozen=True)
class Scores:
    """Scores of one confusion matrix, or of a stack of them (leading axes are kept).

    Per-class arrays end in an axis of k classes, the others have the leading axes only. NaN: not defined.
    """

    names: tuple[str, ...]
    dice: Float[np.ndarray, "... k"]
    iou: Float[np.ndarray, "... k"]
    precision: Float[np.ndarray, "... k"]
    recall: Float[np.ndarray, "... k"]
    #: Labelled pixels of each class.
    support: Int[np.ndarray, "... k"]
    micro_dice: Float[np.ndarray, "..."]
    micro_iou: Float[np.ndarray, "..."]
    macro_dice: Float[np.ndarray, "..."]
    macro_iou: Float[np.ndarray, "..."]
    accuracy: Float[np.ndarray, "..."]

    @classmethod
    def from_confusion(cls, confusion: Int[np.ndarray, "... n n"], names: Sequence[str]) -> "Scores":
        """Scores of pixel counts [..., k+1, k+1]: rows true, columns predicted, 0 = no class."""
        labelled = np.asarray(confusion)[..., 1:, :]
        hits = np.diagonal(labelled[..., 1:], axis1=-2, axis2=-1)
        support = labelled.sum(-1)
        predicted = labelled[..., 1:].sum(-2)
        present = support + predicted > 0
        dice = _ratio(2 * hits, support + predicted, present)
        iou = _ratio(hits, support + predicted - hits, present)
        pooled = hits.sum(-1), support.sum(-1), predicted.sum(-1)
        labels = pooled[1] > 0
        return cls(
            names=tuple(names),
            dice=dice,
            iou=iou,
            precision=_ratio(hits, predicted, present),
            recall=_ratio(hits, support, present),
            support=support,
            micro_dice=_ratio(2 * pooled[0], pooled[1] + pooled[2], labels),
            micro_iou=_ratio(pooled[0], pooled[1] + pooled[2] - pooled[0], labels),
            macro_dice=_mean_of_defined(dice),
            macro_iou=_mean_of_defined(iou),
            accuracy=_ratio(pooled[0], pooled[1], labels),
        )

    def overall(self) -> dict[str, Any]:
        """The scores of the whole, by name."""
        return {name: getattr(self, name) for name in OVERALL}

    def per_class(self) -> dict[str, dict[str, Any]]:
        """Class name -> score name -> score, with the class's pixels."""
        return {
            name: {score: getattr(self, score)[..., i] for score in PER_CLASS}
            | {"pixels": self.support[..., i]}
            for i, name in enumerate(self.names)
        }


def _ratio(
    part: Int[np.ndarray, "..."] | np.integer,
    whole: Int[np.ndarray, "..."] | np.integer,
    defined: np.ndarray | np.bool,
) -> Float[np.ndarray, "..."]:
    """The quotient; 0 where `whole` is 0; NaN where it is not `defined`."""
    return np.where(defined, part / np.maximum(whole, 1), np.nan)


def _mean_of_defined(scores: Float[np.ndarray, "... k"]) -> Float[np.ndarray, "..."]:
    """Mean over the last axis without NaN; NaN where all are."""
    defined = ~np.isnan(scores)
    total, count = np.where(defined, scores, 0.0).sum(-1), defined.sum(-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
