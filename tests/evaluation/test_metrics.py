import numpy as np
import pytest
import torch
import torchmetrics.classification as tm
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sampath_jax.evaluation.confusion import mask_confusion
from sampath_jax.evaluation.metrics import Scores

NAMES = ("tumor", "stroma", "fat")
counts = arrays(np.int64, (4, 4), elements=st.integers(0, 50) | st.just(0))


def test_hand_computed():
    #        predicted: none tumor stroma fat
    confusion = np.array([[9, 9, 9, 9], [1, 6, 2, 0], [0, 3, 4, 0], [0, 0, 0, 0]])
    scores = Scores.from_confusion(confusion, NAMES)
    np.testing.assert_allclose(scores.dice, [12 / 18, 8 / 13, np.nan])  # (12 / (9 + 9), 8 / (7 + 6), absent)
    np.testing.assert_allclose(scores.iou, [6 / 12, 4 / 9, np.nan])
    np.testing.assert_allclose(scores.precision, [6 / 9, 4 / 6, np.nan])
    np.testing.assert_allclose(scores.recall, [6 / 9, 4 / 7, np.nan])
    np.testing.assert_array_equal(scores.support, [9, 7, 0])
    assert scores.accuracy == 10 / 16
    assert scores.micro_dice == 20 / (16 + 15)
    assert scores.micro_iou == 10 / (16 + 15 - 10)
    assert scores.macro_dice == pytest.approx((12 / 18 + 8 / 13) / 2)
    assert scores.macro_iou == pytest.approx((6 / 12 + 4 / 9) / 2)


def test_class_in_one_map_only_scores_zero_and_counts_in_macro():
    scores = Scores.from_confusion(np.array([[0, 0, 0], [0, 5, 0], [0, 5, 0]]), ("a", "b"))
    np.testing.assert_allclose(scores.dice, [10 / 15, 0])
    np.testing.assert_allclose(scores.precision, [0.5, 0])
    assert scores.macro_dice == pytest.approx(1 / 3)


def test_nothing_labelled_has_no_score():
    scores = Scores.from_confusion(np.array([[7, 5, 3], [0, 0, 0], [0, 0, 0]]), ("a", "b"))
    assert all(np.isnan(value) for value in scores.overall().values())
    assert np.isnan(scores.dice).all()


def test_perfect_is_one():
    scores = Scores.from_confusion(np.diag([8, 3, 1, 5]), NAMES)
    assert all(value == 1 for value in scores.overall().values())


@given(counts)
def test_iou_is_dice_over_two_minus_dice(confusion):
    scores = Scores.from_confusion(confusion, NAMES)
    np.testing.assert_allclose(scores.iou, scores.dice / (2 - scores.dice), rtol=1e-12)
    np.testing.assert_allclose(scores.micro_iou, scores.micro_dice / (2 - scores.micro_dice), rtol=1e-12)


@given(counts, st.integers(0, 10**6))
def test_unlabelled_pixels_change_nothing(confusion, pixels):
    padded = confusion.copy()
    padded[0] += pixels
    plain, more = (Scores.from_confusion(c, NAMES).overall() for c in (confusion, padded))
    np.testing.assert_array_equal(list(plain.values()), list(more.values()))


@given(counts, counts)
def test_stacks_score_like_single_matrices(one, other):
    stacked = Scores.from_confusion(np.stack([one, other]), NAMES)
    for i, confusion in enumerate((one, other)):
        single = Scores.from_confusion(confusion, NAMES)
        np.testing.assert_array_equal(stacked.iou[i], single.iou)
        np.testing.assert_array_equal(stacked.macro_dice[i], single.macro_dice)


@pytest.mark.parametrize("seed", range(5))
def test_equals_torchmetrics(seed):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 4 - (seed == 3), (37, 53)).astype(np.uint8)  # seed 3: one class is in neither map
    predicted = rng.integers(1, 4 - (seed in (3, 4)), (37, 53)).astype(np.uint8)  # seed 4: only in the truth
    scores = Scores.from_confusion(mask_confusion(truth, predicted, 3), NAMES)

    def theirs(metric, **setting):
        return metric(num_classes=4, ignore_index=0, **setting)(
            torch.tensor(predicted).long(), torch.tensor(truth).long()
        ).numpy()

    present = ~np.isnan(scores.dice)
    for ours, metric in [
        (scores.dice, tm.MulticlassF1Score),
        (scores.iou, tm.MulticlassJaccardIndex),
        (scores.precision, tm.MulticlassPrecision),
        (scores.recall, tm.MulticlassRecall),
    ]:
        np.testing.assert_allclose(ours[present], theirs(metric, average=None)[1:][present], rtol=1e-6)
    for ours, metric, average in [
        (scores.accuracy, tm.MulticlassAccuracy, "micro"),
        (scores.micro_dice, tm.MulticlassF1Score, "micro"),
        (scores.micro_iou, tm.MulticlassJaccardIndex, "micro"),
        (scores.macro_iou, tm.MulticlassJaccardIndex, "macro"),
    ]:
        np.testing.assert_allclose(ours, theirs(metric, average=average), rtol=1e-6)
    macro_f1 = theirs(tm.MulticlassF1Score, average=None)[1:][present].mean()
    np.testing.assert_allclose(scores.macro_dice, macro_f1, rtol=1e-6)
