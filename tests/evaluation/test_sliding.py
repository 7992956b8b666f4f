import itertools

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampath_jax.evaluation.sliding import (
    Blend,
    Layout,
    best_labels,
    partition_of_unity,
    probabilities_at,
    starts,
)
from sampath_jax.models.sam_path import class_map


def test_starts_as_the_published_tiles_lie():
    """BCSS regions are cut without overlap into ceil(side / 1024) evenly spread tiles."""
    assert starts(3000, 1024, 0) == (0, 988, 1976)
    assert starts(1024, 1024, 0) == (0,)
    assert starts(700, 1024, 256) == (0,)


def test_starts_with_overlap():
    assert starts(5000, 1024, 256) == (0, 663, 1325, 1988, 2651, 3313, 3976)


@given(st.integers(1, 4000), st.integers(8, 600), st.floats(0, 0.5))
def test_windows_cover_everything_and_share_the_overlap(length, window, share):
    overlap = int(share * window)
    first = starts(length, window, overlap)
    assert first[0] == 0
    assert first[-1] + window == max(length, window)
    assert all(before + window - after >= overlap - 1 for before, after in itertools.pairwise(first))


@given(st.integers(10, 3000), st.integers(8, 400), st.floats(0.05, 0.5))
def test_weights_add_up_to_one_and_are_smooth(length, window, share):
    ramp = max(1, int(share * window))
    first = starts(length, window, ramp)
    weights = partition_of_unity(first, window, ramp)
    total = np.zeros(first[-1] + window)
    for start, weight in zip(first, weights, strict=True):
        total[start : start + window] += weight
    np.testing.assert_allclose(total, 1, rtol=1e-6)
    if len(first) > 1 and ramp > 4:
        assert weights[0][-1] < 0.2
        assert np.abs(np.diff(weights[0])).max() < 4 / ramp


def test_one_window_up_to_a_quarter_larger():
    assert Layout.cover((1537, 1509), (1536, 1536)).window == (1537, 1509)
    assert len(Layout.cover((60, 30), (64, 48))) == 1
    large = Layout.cover((81, 30), (64, 48))
    assert large.window == (64, 48)
    assert (large.tops, large.lefts) == ((0, 17), (0,))


def test_short_side_is_mirrored():
    layout = Layout.cover((200, 3), (64, 5))
    image = np.arange(200 * 3, dtype=np.uint8).reshape(200, 3)[..., None].repeat(3, -1)
    crop = layout.crop(image, 0, 0)
    assert crop.shape == (64, 5, 3)
    np.testing.assert_array_equal(crop[0, :, 0], [0, 1, 2, 1, 0])


@pytest.mark.parametrize("size", [(300, 207), (64, 400), (40, 400), (300, 20), (50, 40)])
def test_blending_windows_of_one_map_gives_the_map(size):
    whole = np.random.default_rng(0).random((2, max(size[0], 64), max(size[1], 48)), np.float32)
    layout = Layout.cover(size, (64, 48), overlap=0.3)
    rows = []
    blend = Blend(layout, 2, lambda block: rows.append(block.copy()))
    for done, (row, column) in enumerate(layout, start=1):
        top, left = layout.tops[row], layout.lefts[column]
        window = whole[:, top : top + layout.window[0], left : left + layout.window[1]]
        assert blend.add(row, column, window) == (done == len(layout))
    np.testing.assert_allclose(np.concatenate(rows, 1), whole[:, : size[0], : size[1]], rtol=1e-5)


def test_alone_a_window_is_itself():
    layout = Layout.cover((128, 48), (64, 48), overlap=0.25)
    rows = []
    blend = Blend(layout, 1, lambda block: rows.append(block.copy()))
    windows = np.random.default_rng(0).random((len(layout), 1, 64, 48), np.float32)
    for (row, column), window in zip(layout, windows, strict=True):
        blend.add(row, column, window)
    second = layout.tops[1]
    np.testing.assert_array_equal(np.concatenate(rows, 1)[:, :second], windows[0][:, :second])


def test_holds_one_row_of_windows():
    layout = Layout.cover((100_000, 100), (64, 48))
    blend = Blend(layout, 3, lambda block: None)
    assert blend._sum.nbytes == 3 * 64 * 100 * 4


def test_probabilities_agree_with_the_class_map():
    logits = np.random.default_rng(0).normal(size=(12, 16, 4)).astype(np.float32)
    probabilities = probabilities_at(logits, (48, 64))
    np.testing.assert_allclose(probabilities.sum(0), 1, rtol=1e-6)
    np.testing.assert_array_equal(
        best_labels(probabilities), class_map(jnp.asarray(logits)[None], (48, 64))[0]
    )


def test_unlabelled_is_never_predicted_and_ties_go_to_the_lower_class():
    logits = np.zeros((2, 3, 3), np.float32)
    logits[..., 0] = 9
    np.testing.assert_array_equal(best_labels(probabilities_at(logits, (2, 3))), np.ones((2, 3)))


def test_windows_that_disagree_are_joined_without_a_jump():
    """Every window says something else, 0 or 1; the steepest step of a sin^2 ramp is pi / 2 / its length."""
    layout = Layout.cover((200, 260), (64, 80), overlap=0.25)
    rows = []
    blend = Blend(layout, 1, lambda block: rows.append(block.copy()))
    for row, column in layout:
        blend.add(row, column, np.full((1, *layout.window), (row + column) % 2, np.float32))
    field = np.concatenate(rows, 1)[0]
    assert field.min() < 0.01
    assert field.max() > 0.99
    for axis, ramp in enumerate(layout.ramps):
        assert np.abs(np.diff(field, axis=axis)).max() < 1.3 * np.pi / 2 / ramp
