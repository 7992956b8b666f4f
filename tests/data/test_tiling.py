"""Where tiles are cut: literals, cover, and regions smaller than a tile."""

import numpy as np
import pytest

from sampath_jax.data.tiling import cut, grid_shape, starts
from tests.data import made


@pytest.mark.parametrize(
    ("side", "expected"),
    [
        (3000, (0, 988, 1976)),
        (4000, (0, 992, 1984, 2976)),
        (1025, (0, 1)),
        (2048, (0, 1024)),
        (1024, (0,)),
        (700, (0,)),
    ],
)
def test_starts(side, expected):
    assert starts(side, 1024) == expected


@pytest.mark.parametrize("side", [5, 8, 9, 16, 17, 23, 100])
def test_tiles_cover_every_pixel_and_never_leave_the_image(side):
    covered = np.zeros(side, int)
    for start in starts(side, 8):
        covered[start : start + 8] += 1
        assert side < 8 or start + 8 <= side
    assert covered.min() >= 1


def test_pieces_are_the_pixels_of_their_window():
    image, mask = made.image(1, (20, 30)), made.mask((20, 30))
    pieces = list(cut(image, mask, 16, unlabelled=0))
    assert [(p.row, p.column) for p in pieces] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert grid_shape((20, 30), 16) == (2, 2)
    np.testing.assert_array_equal(pieces[2].image, image[4:20, 0:16])
    np.testing.assert_array_equal(pieces[1].mask, mask[0:16, 14:30])


def test_small_region_is_mirrored_and_unlabelled_beyond_its_border():
    image, mask = made.image(1, (5, 20)), made.mask((5, 20))
    first, second = cut(image, mask, 16, unlabelled=200)
    assert first.image.shape == (16, 16, 3)
    np.testing.assert_array_equal(first.image[:5], image[:, :16])
    np.testing.assert_array_equal(first.image[5], image[3, :16])  # the row before the last one
    np.testing.assert_array_equal(second.mask[:5], mask[:, 4:])
    assert (second.mask[5:] == 200).all()


def test_zero_keeps_the_region_whole():
    (piece,) = cut(made.image(1, (5, 20)), made.mask((5, 20)), 0, unlabelled=0)
    assert piece.image.shape == (5, 20, 3)
    assert grid_shape((5, 20), 0) == (1, 1)
