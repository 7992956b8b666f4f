"""Dots lie where a person would put them."""

import cv2
import numpy as np

from sampath_jax.prompting.dots import connected_instances, instance_dots, interior_point


def test_the_dot_is_the_middle_of_a_bar():
    mask = np.zeros((5, 9), bool)
    mask[1:4, 2:7] = True  # three rows: row 2 is farthest from the border, first at the bar's third column
    x, y = interior_point(mask)
    assert (y, mask[y, x]) == (2, True)
    assert 3 <= x <= 5


def test_the_image_edge_counts_as_border():
    mask = np.ones((5, 5), bool)
    assert interior_point(mask) == (2, 2)


def test_the_dot_of_a_ring_lies_on_the_ring():
    rows, columns = np.mgrid[:21, :31]
    radius = np.hypot(rows - 10, columns - 15)
    ring = (radius > 4) & (radius < 9)
    x, y = interior_point(ring)
    assert ring[y, x]


def test_one_dot_per_instance_in_value_order():
    instances = np.zeros((7, 12), np.uint8)
    instances[:, 8:11] = 3
    instances[:, 1:4] = 7
    np.testing.assert_array_equal(instance_dots(instances)[:, 0], [9, 2])


def test_components_touching_at_a_corner_are_one_instance():
    mask = np.array([[1, 0, 0, 1], [0, 1, 0, 1]], bool)
    assert connected_instances(mask).max() == 2


def test_more_instances_than_8_bits_number():
    instances = np.zeros((40, 60), np.uint16)
    instances[1::2, 1::2] = np.arange(1, 601).reshape(20, 30)
    dots = instance_dots(instances)
    rows, columns = np.divmod(np.arange(600), 30)
    np.testing.assert_array_equal(dots, np.stack([2 * columns + 1, 2 * rows + 1], -1))


def test_dots_are_the_interior_points_of_the_whole_image():
    """Instances are looked at one by one within their own boxes, which changes nothing."""
    generator = np.random.default_rng(0)
    instances = cv2.resize(
        generator.integers(0, 6, (7, 9), np.uint8), (90, 70), interpolation=cv2.INTER_NEAREST
    )
    expected = [interior_point(instances == value) for value in range(1, 6)]
    np.testing.assert_array_equal(instance_dots(instances), expected)


def test_an_empty_mask_has_no_dots():
    assert instance_dots(np.zeros((4, 4), np.uint8)).shape == (0, 2)
