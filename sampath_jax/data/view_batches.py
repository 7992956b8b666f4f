"""Batches of fixed views: rows whose features are kept come with them and without their image."""

import sys
from dataclasses import dataclass

import numpy as np

from sampath_jax.data.feature_cache import FeatureCache
from sampath_jax.data.pipeline import THREADS, Batch, BatchIterator, LoadBatch
from sampath_jax.data.views import FixedViews, view_key

#: A batch of features is several times larger than one of images, so fewer are prepared at the same time.
VIEW_THREADS = min(4, THREADS)


@dataclass(frozen=True)
class LoadViews(LoadBatch):
    """`LoadBatch` with three arrays more: the view of each row, its features, and whether they are known.

    Features that are not known are zeros. Labels are those of the tile as it is.
    """

    views: FixedViews
    cache: FeatureCache

    def __call__(self, batch: int) -> Batch:
        """Batch number `batch`."""
        rows = self.plan.rows(batch)
        view = self.views.numbers(rows.epoch, rows.index)
        features = np.zeros((len(view), *self.cache.shape), self.cache.dtype)
        known = np.zeros(len(view), bool)
        for row in np.flatnonzero(rows.valid):
            kept = self.cache.get(view_key(self.source.tiles[rows.index[row]].id, int(view[row])))
            if kept is not None:
                features[row], known[row] = kept, True
        loaded = self.load(rows, rows.valid & ~known)
        return loaded | {"view": view, "features": features, "known": known}


def view_batches(batches: BatchIterator, views: FixedViews, cache: FeatureCache) -> BatchIterator:
    """The tiles of `batches` in the same order, from threads: the cache is in this process's memory."""
    like = batches.load
    load = LoadViews(like.source, like.plan, like.labels, like.canvas, views, cache)
    return BatchIterator(load, sys.maxsize, workers=0, threads=VIEW_THREADS)
