"""The five figures of the published SAM-Path code, under names that cannot be mistaken for ours.

The original sets up torchmetrics 0.11.4 with two classes more than there are tissue classes (the unlabelled
one and one that never occurs) and ``ignore_index=0``, and gives every unlabelled pixel the prediction 0.
CRAG's config also turns one class, the background, into label 0, in truth and prediction alike. What follows,
with counts pooled over all pixels and sums over labels 1..k+1:

* ``dice``, ``dice_macro``: counted over all pixels. Micro Dice, and the mean Dice of the classes that occur.
* ``f1``: pixels whose truth is 0 are dropped, so it is the accuracy on the rest: for CRAG the gland *recall*.
* ``iou``: the same pixels are dropped, false positives on them included: for CRAG gland *recall* again.
* ``iou_macro``: the sum of these IoUs divided by k+1, as if the extra class had scored 0.

So published tables can be set beside ours; what to read is `metrics.Scores`.
"""

import numpy as np
from jaxtyping import Int

#: Original name -> ours.
NAMES = {
    "Dice": "published/dice",
    "Dice_Bal": "published/dice_macro",
    "F1": "published/f1",
    "IOU_Jaccard": "published/iou",
    "IOU_Jaccard_Bal": "published/iou_macro",
}


def published_scores(confusion: Int[np.ndarray, "n n"], ignored_class: int = 0) -> dict[str, float]:
    """The published figures of pooled counts [k+1, k+1] (rows true, columns predicted, 0 = unlabelled).

    Args:
        confusion: pixels; any prediction on unlabelled pixels is dropped, as published.
        ignored_class: the label that becomes 0 in both maps (``ignored_classes_metric``); 0 for none.

    Returns:
        Each figure under its ``published/`` name; all 0 where nothing is labelled.
    """
    counts = np.array(confusion, dtype=np.int64)
    counts[0] = 0
    if ignored_class:
        counts[0] += counts[ignored_class]
        counts[ignored_class] = 0
        counts[:, 0] += counts[:, ignored_class]
        counts[:, ignored_class] = 0
    hits, truth = np.diagonal(counts)[1:], counts[1:].sum(1)
    predicted_anywhere, predicted_on_kept = counts[:, 1:].sum(0), counts[1:, 1:].sum(0)

    dice = _ratios(2 * hits, truth + predicted_anywhere)
    iou = _ratios(hits, truth + predicted_on_kept - hits)
    occurs = truth + predicted_anywhere > 0
    return {
        "published/dice": _ratio(2 * hits.sum(), (truth + predicted_anywhere).sum()),
        "published/dice_macro": _ratio(dice.sum(), occurs.sum()),
        "published/f1": _ratio(hits.sum(), truth.sum()),
        "published/iou": _ratio(hits.sum(), (truth + predicted_on_kept - hits).sum()),
        "published/iou_macro": _ratio(iou.sum(), len(hits) + 1),
    }


def explanation(names: tuple[str, ...], ignored_class: int = 0) -> str:
    """One sentence on how the published figures differ from ours, for the given setting."""
    k = len(names)
    if ignored_class:
        return (
            f"The published code drops every pixel whose truth is {names[ignored_class - 1]!r}, false "
            "positives included, before its IoU and F1, which makes them too high (with one class left both "
            f"are its recall), and divides its macro IoU by {k + 1} although only {k - 1} can score."
        )
    return (
        f"The published macro IoU divides the sum over classes by {k + 1} instead of the number that occur, "
        f"so a perfect prediction gets at most {k / (k + 1):.4f}; its Dice and F1 are the pixel accuracy."
    )


def _ratio(part: np.number, whole: np.number | int) -> float:
    return float(part / whole) if whole else 0.0


def _ratios(part: Int[np.ndarray, " k"], whole: Int[np.ndarray, " k"]) -> np.ndarray:
    return part / np.maximum(whole, 1)
