import numpy as np
import pytest

from sampath_jax.evaluation.bootstrap import pool_by_slide, score_intervals

NAMES = ("a", "b")


def slide(right: int, wrong: int) -> np.ndarray:
    return np.array([[0, 0, 0], [0, right, wrong], [0, wrong, right]])


def test_tiles_of_a_slide_are_pooled_in_order():
    names, pooled = pool_by_slide(np.stack([slide(1, 0), slide(2, 0), slide(4, 1)]), ["s2", "s1", "s2"])
    assert names == ["s2", "s1"]
    np.testing.assert_array_equal(pooled, [slide(5, 1), slide(2, 0)])


def test_equal_slides_leave_no_uncertainty():
    limits = score_intervals(np.stack([slide(3, 1)] * 5), NAMES)
    assert limits["accuracy"] == (0.75, 0.75)
    assert limits["dice/a"] == (0.75, 0.75)


def test_covers_the_true_mean_about_as_often_as_it_says():
    """Accuracy of slides drawn around 0.7: the interval of 30 slides holds 0.7 in about 95 % of data sets."""
    rng = np.random.default_rng(0)
    held = 0
    for seed in range(200):
        right = rng.binomial(1000, np.clip(rng.normal(0.7, 0.1, 30), 0, 1))
        pooled = np.stack([slide(int(r), 1000 - int(r)) for r in right])
        low, high = score_intervals(pooled, NAMES, replicates=400, seed=seed)["accuracy"]
        held += low <= 0.7 <= high
    assert 0.89 <= held / 200 <= 0.99


def test_draws_whole_slides_not_tiles():
    """Ten tiles of two slides that disagree: draws of slides swing between them, draws of tiles would not."""
    tiles = np.stack([slide(9, 1)] * 5 + [slide(1, 9)] * 5)
    _, pooled = pool_by_slide(tiles, ["s1"] * 5 + ["s2"] * 5)
    assert score_intervals(pooled, NAMES)["accuracy"] == (0.1, 0.9)
    low, high = score_intervals(tiles, NAMES)["accuracy"]
    assert 0.1 < low < high < 0.9


def test_one_slide_has_no_interval():
    assert np.isnan(score_intervals(slide(3, 1)[None], NAMES)["accuracy"]).all()


def test_draws_without_a_class_are_left_out_of_its_interval():
    without_b = np.array([[0, 0, 0], [0, 9, 0], [0, 0, 0]])
    low, high = score_intervals(np.stack([without_b, slide(3, 1)]), NAMES)["dice/b"]
    assert 0 < low <= high <= 0.75


@pytest.mark.parametrize("seed", [0, 1])
def test_same_seed_same_interval(seed):
    pooled = np.stack([slide(3, 1), slide(5, 2), slide(1, 1)])
    assert score_intervals(pooled, NAMES, seed=seed) == score_intervals(pooled, NAMES, seed=seed)
