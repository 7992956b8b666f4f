"""Label maps over tiles: tints, outlines, legends and grids, against pixels that can be counted by hand."""

import numpy as np
import pytest

from sampath_jax import drawing
from sampath_jax.errors import InputError

RED, BLUE = "#ff0000", "#0000ff"


def test_colours_are_read_from_text():
    assert drawing.rgb("#009e73") == (0, 158, 115)
    for wrong in ("#00f", "green", "#00zz00"):
        with pytest.raises(InputError, match="rrggbb"):
            drawing.rgb(wrong)


def test_default_colours_repeat():
    assert drawing.default_colors(9)[0] == drawing.default_colors(9)[8] == drawing.PALETTE[0]
    assert len(set(drawing.default_colors(8))) == 8


def test_fill_mixes_and_leaves_unlabelled_pixels_alone():
    image = np.full((2, 3, 3), 100, np.uint8)
    labels = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
    filled = drawing.fill(image, labels, (RED, BLUE), opacity=0.5)
    np.testing.assert_array_equal(filled[0], [[100, 100, 100], [178, 50, 50], [50, 50, 178]])
    np.testing.assert_array_equal(filled[1], filled[0][::-1])


def test_outline_lies_just_inside_its_region():
    image = np.full((20, 30, 3), 255, np.uint8)
    labels = np.zeros((20, 30), np.uint8)
    labels[5:15, 8:24] = 1
    drawn = drawing.outline(image, labels, (RED,), width=1.0)
    red = (drawn[..., 0].astype(int) - drawn[..., 1]) > 150
    np.testing.assert_array_equal(red[10, :], np.isin(np.arange(30), [8, 23]))
    np.testing.assert_array_equal(red[:, 16], np.isin(np.arange(20), [5, 14]))
    np.testing.assert_array_equal(drawn[labels == 0], 255)


def test_regions_cut_by_the_picture_have_no_line_along_its_edge():
    labels = np.ones((12, 16), np.uint8)
    labels[:, 8:] = 2
    drawn = drawing.outline(np.full((12, 16, 3), 200, np.uint8), labels, (RED, BLUE), width=1.0)
    assert (drawn[:, :5] == 200).all()
    assert (drawn[:, 11:] == 200).all()
    np.testing.assert_array_equal(drawn[3, 7], drawn[0, 7])
    assert drawn[3, 7, 0] > 200 > drawn[3, 7, 2]
    assert drawn[3, 8, 2] > 200 > drawn[3, 8, 0]


def test_single_pixels_and_whole_tiles_are_drawn():
    labels = np.zeros((9, 13), np.uint8)
    labels[4, 6] = 1
    drawn = drawing.outline(np.full((9, 13, 3), 255, np.uint8), labels, (BLUE,))
    assert drawn[4, 6, 0] < 200
    whole = drawing.overlay(np.zeros((9, 13, 3), np.uint8), np.ones((9, 13), np.uint8), (BLUE,))
    assert (whole[..., 2] > 0).all()


def test_lines_follow_the_size_of_the_picture():
    widths = [drawing.line_width(np.zeros((side, 2 * side, 3), np.uint8)) for side in (64, 220, 2200)]
    assert widths == [1.0, 1.0, 10.0]


def test_wrong_labels_are_refused():
    image, labels = np.zeros((4, 5, 3), np.uint8), np.full((4, 5), 3, np.uint8)
    with pytest.raises(InputError, match="label 3 has no colour"):
        drawing.fill(image, labels, (RED, BLUE))
    with pytest.raises(InputError, match="cannot be drawn together"):
        drawing.outline(image, labels.T.copy(), (RED, BLUE, RED))


def test_legend_shows_each_colour_and_wraps():
    names, colors = ("tumour", "stroma", "necrosis"), (RED, BLUE, "#00ff00")
    wide, narrow = drawing.legend(names, colors, 600, 20), drawing.legend(names, colors, 150, 20)
    for sheet in (wide, narrow):
        for color in colors:
            assert (sheet == drawing.rgb(color)).all(-1).sum() > 200
    assert wide.shape[1] == 600
    assert narrow.shape[1] == 150
    assert narrow.shape[0] > 2 * wide.shape[0]
    with pytest.raises(InputError, match="3 class names, but 2 colours"):
        drawing.legend(names, colors[:2])


def test_grid_centres_pictures_on_white_paper():
    first, second = np.zeros((4, 10, 3), np.uint8), np.full((2, 6, 3), 7, np.uint8)
    sheet = drawing.grid([first, second, second], ncols=2)
    assert sheet.shape == (2 + 4 + 2 + 2 + 2, 2 + 10 + 2 + 10 + 2, 3)
    np.testing.assert_array_equal(sheet[2:6, 2:12], first)
    np.testing.assert_array_equal(sheet[3:5, 16:22], second)
    np.testing.assert_array_equal(sheet[8:10, 4:10], second)
    assert (sheet[8:, 14:] == 255).all()


def test_grid_fits_cells_and_titles():
    images = [np.zeros((40, 20, 3), np.uint8), np.zeros((300, 600, 3), np.uint8)]
    plain = drawing.grid(images, 2, cell=(80, 100))
    titled = drawing.grid(images, 2, cell=(80, 100), titles=("a", "a name that is far too long for its cell"))
    assert plain.shape == (2 + 80 + 2, 2 + 100 + 2 + 100 + 2, 3)
    assert titled.shape[0] > plain.shape[0]
    assert (titled[:10, 110:] < 128).any()
    with pytest.raises(InputError, match="no pictures"):
        drawing.grid([], 2)
    with pytest.raises(InputError, match="2 pictures, but 1 titles"):
        drawing.grid(images, 2, titles=("a",))
