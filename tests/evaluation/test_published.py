"""The published figures against numbers that the original's own torchmetrics 0.11.4 set-up gave."""

import json

import numpy as np
import pytest

from sampath_jax.evaluation.confusion import mask_confusion
from sampath_jax.evaluation.metrics import Scores
from sampath_jax.evaluation.published import NAMES, explanation, published_scores
from tests.shared import SHARED, needs_shared

#: Pooled counts of the reference runs, rows true, and what torchmetrics 0.11.4 gave for them.
BCSS = np.array(
    [
        [209371, 0, 0, 0, 0, 0],
        [0, 79512, 180357, 29652, 104259, 116754],
        [0, 57412, 182021, 25581, 98640, 131388],
        [0, 82559, 133945, 32087, 101407, 133306],
        [0, 16327, 101846, 3413, 65243, 44668],
        [0, 10080, 74290, 1796, 49194, 32044],
    ]
)
CRAG = np.array([[906751, 0, 0], [0, 643533, 1335743], [0, 446140, 1386425]])
GIVEN = [
    (
        BCSS,
        0,
        (
            0.20707221,
            0.18732234,
            0.20707221,
            0.11549390,
            0.08778225,
        ),
    ),
    (
        BCSS,
        1,
        (
            0.20628073,
            0.18159510,
            0.22609961,
            0.13677345,
            0.08190310,
        ),
    ),
    (
        CRAG,
        0,
        (
            0.53254002,
            0.51408380,
            0.53254002,
            0.36289921,
            0.23430684,
        ),
    ),
    (
        CRAG,
        1,
        (0.60878431, 0.60878431, 0.75654888, 0.75654888, 0.25218296),
    ),
]


@pytest.mark.parametrize(("confusion", "ignored_class", "expected"), GIVEN)
def test_equals_torchmetrics_0_11_4(confusion, ignored_class, expected):
    scores = published_scores(confusion, ignored_class)
    assert list(scores) == list(NAMES.values())
    np.testing.assert_allclose(list(scores.values()), expected, rtol=1e-6)


def test_predictions_on_unlabelled_pixels_change_nothing():
    more = BCSS.copy()
    more[0] = 12345
    assert published_scores(more) == published_scores(BCSS)


def test_perfect_prediction_is_not_one():
    assert published_scores(np.diag([0, 10, 10, 10, 10, 10]))["published/iou_macro"] == pytest.approx(5 / 6)
    assert published_scores(np.diag([0, 10, 10]), 1)["published/iou_macro"] == pytest.approx(1 / 3)


def test_calling_everything_gland_scores_one():
    everything = np.array([[0, 0, 0], [0, 0, 600], [0, 0, 400]])
    scores = published_scores(everything, 1)
    assert scores["published/iou"] == scores["published/f1"] == 1.0
    assert scores["published/dice"] == pytest.approx(800 / 1400)
    assert Scores.from_confusion(everything, ("background", "gland")).iou[1] == pytest.approx(0.4)


def test_class_that_does_not_occur():
    """Its macro Dice leaves the class out, its macro IoU counts it as 0."""
    scores = published_scores(np.diag([0, 4, 4, 0]))
    assert scores["published/dice_macro"] == 1.0
    assert scores["published/iou_macro"] == pytest.approx(2 / 4)


def test_nothing_labelled():
    assert set(published_scores(np.array([[5, 1], [0, 0]])).values()) == {0.0}


def test_explanation_is_one_sentence_naming_the_dropped_class():
    assert "'background'" in explanation(("background", "gland"), 1)
    assert "0.8333" in explanation(("a", "b", "c", "d", "e"))
    assert explanation(("background", "gland"), 1).count(". ") == 0


@needs_shared
@pytest.mark.parametrize("name", ["bcss", "crag"])
def test_from_the_reference_maps(name):
    """From label maps to every figure of the reference: published ones in both settings, and true ones."""
    folder = SHARED / "reference" / name
    expected = json.loads((folder / "metrics.json").read_text())
    num_classes = expected["label_values"] - 1
    with np.load(folder / "metric_maps_ignored_None.npz") as maps:
        pairs = zip(maps["gt"], maps["pred"], strict=True)
        confusion = sum(mask_confusion(truth, predicted, num_classes) for truth, predicted in pairs)
    for setting, ignored_class in [("None", 0), ("1", 1)]:
        scores = published_scores(confusion, ignored_class)
        given = expected[f"ignored_classes_metric={setting}"]["torchmetrics_one_update"]
        for original, ours in NAMES.items():
            np.testing.assert_allclose(scores[ours], given[original], rtol=1e-6)

    true = expected["true_all_classes"]
    ours = Scores.from_confusion(confusion, [str(c + 1) for c in range(num_classes)])
    for score in ("macro_dice", "macro_iou", "micro_dice", "micro_iou"):
        np.testing.assert_allclose(getattr(ours, score), true[score], rtol=1e-12)
    np.testing.assert_allclose(ours.accuracy, true["pixel_accuracy"], rtol=1e-12)
    for i, score in enumerate(true["per_class"].values()):
        expected_scores = [score["dice"], score["iou"], score["recall"]]
        np.testing.assert_allclose([ours.dice[i], ours.iou[i], ours.recall[i]], expected_scores, rtol=1e-12)
