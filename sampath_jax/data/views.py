"""Which view of a tile an epoch sees when every tile has a fixed set of views, whose features can be cached.

What view number n of a tile looks like is up to `augmentation.fixed_views`. This module stays free of JAX, as
the loader needs it.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int32
from ml_collections import ConfigDict

from sampath_jax.config import data_seed

#: Views without crop or colour change: the four quarter turns, and the same of the mirrored tile.
DIHEDRAL = 8
#: Tells these draws from others of the same seed, such as the order of the tiles.
PURPOSE = 1


@dataclass(frozen=True)
class FixedViews:
    """Views 0 to `count` - 1 of every tile."""

    seed: int
    count: int

    @classmethod
    def from_config(cls, config: ConfigDict) -> "FixedViews":
        """Eight whole views and `config.data.cache_crops` crops; without augmentation the tile as it is."""
        count = DIHEDRAL + config.data.cache_crops if config.augment.enabled else 1
        return cls(data_seed(config), count)

    def numbers(self, epoch: int, index: Int32[np.ndarray, " B"]) -> Int32[np.ndarray, " B"]:
        """The views that the tiles at `index` show in `epoch`; all are equally likely.

        A tile's view depends on the seed, the epoch and the tile, never on its batch or who loads it.
        """
        draws = [np.random.default_rng([self.seed, epoch, int(i), PURPOSE]) for i in index]
        return np.array([draw.integers(self.count) for draw in draws], np.int32)

    def expected(self, epochs: float) -> float:
        """How many different views of a tile `epochs` draws show on average."""
        return self.count * (1 - (1 - 1 / self.count) ** epochs)


def view_key(name: str, number: int) -> str:
    """The key of a view's features."""
    return f"view {number}/{name}"
