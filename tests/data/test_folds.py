"""Folds per slide: complete, balanced, seeded."""

import numpy as np
import pytest

from sampath_jax.data.folds import draw_folds
from sampath_jax.errors import InputError


def slides(count, seed=0):
    """Slides of very different size and composition: four classes, the last in a quarter of the slides."""
    rng = np.random.default_rng(seed)
    pixels = rng.lognormal(10, 1, (count, 1)) * rng.dirichlet((2, 2, 0.5, 0.2), count)
    pixels[rng.random(count) < 0.75, 3] = 0
    return {f"slide{n:03d}": pixels[n] for n in range(count)}


def shares(contents, folds, count):
    held = np.zeros((count, 4))
    for slide, fold in folds.items():
        held[fold] += contents[slide]
    return held / held.sum(0)


def test_equal_slides_are_dealt_evenly():
    folds = draw_folds({name: np.array([5.0, 1.0]) for name in "abcdef"}, 3, seed=0)
    assert sorted(folds.values()) == [0, 0, 1, 1, 2, 2]


def test_two_kinds_of_slides_meet_in_every_fold():
    contents = {f"a{n}": np.array([9.0, 0.0]) for n in range(3)} | {
        f"b{n}": np.array([0.0, 4.0]) for n in range(3)
    }
    folds = draw_folds(contents, 3, seed=1)
    for fold in range(3):
        assert {slide[0] for slide, f in folds.items() if f == fold} == {"a", "b"}


@pytest.mark.parametrize("seed", range(5))
def test_every_fold_holds_about_its_share_of_every_class(seed):
    contents = slides(100, seed)
    folds = draw_folds(contents, 5, seed)
    assert folds.keys() == contents.keys()
    ours = shares(contents, folds, 5)
    by_chance = shares(contents, dict(zip(contents, np.arange(100) % 5, strict=True)), 5)
    pixels = np.stack(list(contents.values()))
    largest = pixels.max(0) / pixels.sum(0)  # a slide that holds more than a fold's share cannot be divided
    assert (ours.max(0) < np.maximum(0.2, largest) + 0.05).all()
    assert ours[:, :2].min() > 0.17  # the two common classes
    assert np.abs(ours - 0.2).max() <= np.abs(by_chance - 0.2).max()


def test_seed_decides():
    contents = slides(60)
    assert draw_folds(contents, 5, 3) == draw_folds(dict(reversed(contents.items())), 5, 3)
    assert draw_folds(contents, 5, 3) != draw_folds(contents, 5, 4)


def test_no_fold_is_empty():
    assert set(draw_folds(slides(5), 5, 0).values()) == set(range(5))


def test_fewer_slides_than_folds():
    with pytest.raises(InputError, match="3 slides cannot be dealt to 5 folds"):
        draw_folds(slides(3), 5, 0)
