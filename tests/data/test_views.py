import numpy as np

from sampath_jax.config import base_config
from sampath_jax.data.views import DIHEDRAL, FixedViews

INDEX = np.arange(500, dtype=np.int32)


def test_the_number_of_views_follows_from_the_config():
    config = base_config()
    config.data.seed, config.data.cache_crops = 3, 5
    assert FixedViews.from_config(config) == FixedViews(seed=3, count=DIHEDRAL + 5)
    config.augment.enabled = False
    assert FixedViews.from_config(config) == FixedViews(seed=3, count=1)
    assert not FixedViews(seed=3, count=1).numbers(7, INDEX).any()


def test_a_view_depends_on_seed_epoch_and_tile_alone():
    views = FixedViews(seed=1, count=12)
    whole = views.numbers(4, INDEX)
    some = np.array([7, 3, 499], np.int32)
    np.testing.assert_array_equal(views.numbers(4, some), whole[some])
    assert (views.numbers(5, INDEX) != whole).any()
    assert (FixedViews(seed=2, count=12).numbers(4, INDEX) != whole).any()


def test_views_are_equally_likely_and_new_in_every_epoch():
    views = FixedViews(seed=1, count=4)
    drawn = np.stack([views.numbers(epoch, INDEX) for epoch in range(6)])
    share = np.bincount(drawn.ravel(), minlength=4) / drawn.size
    np.testing.assert_allclose(share, 0.25, atol=0.03)
    assert abs((drawn[1:] == drawn[:-1]).mean() - 0.25) < 0.05
    different = np.mean([len(set(column)) for column in drawn.T])
    assert abs(different - views.expected(6.0)) < 0.1
