"""Suppression on boxes that can be checked by hand."""

import numpy as np

from sampath_jax.prompting.nms import box_iou, non_maximum_suppression

BOXES = np.array([[0, 0, 4, 2], [0, 0, 4, 3], [2, 0, 6, 2], [9, 9, 9, 9]], np.float64)


def test_box_iou_by_hand():
    # 8 of 12; overlap 4 of 8 + 8 - 4; a point has no area
    np.testing.assert_allclose(box_iou(BOXES[0], BOXES[1:]), [8 / 12, 4 / 12, 0])


def test_the_best_box_drops_its_near_duplicates():
    scores = np.array([0.5, 0.9, 0.7, 0.1])
    np.testing.assert_array_equal(non_maximum_suppression(BOXES, scores, 0.6), [1, 2, 3])
    np.testing.assert_array_equal(non_maximum_suppression(BOXES, scores, 0.2), [1, 3])


def test_an_iou_equal_to_the_threshold_survives():
    kept = non_maximum_suppression(BOXES[:2], np.array([1.0, 0.5]), 8 / 12)
    np.testing.assert_array_equal(kept, [0, 1])


def test_no_boxes():
    assert non_maximum_suppression(np.zeros((0, 4)), np.zeros(0), 0.5).size == 0
