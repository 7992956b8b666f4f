"""How training batches get to the devices: as images, or as features that are encoded once and kept."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from sampath_jax.data.feature_cache import FeatureCache
from sampath_jax.data.pipeline import Batch, BatchIterator
from sampath_jax.data.view_batches import view_batches
from sampath_jax.data.views import FixedViews, view_key
from sampath_jax.distributed import Placement
from sampath_jax.models.config import SamPathConfig
from sampath_jax.training import overview
from sampath_jax.training.feature_identity import identity_of_views
from sampath_jax.training.session import Session
from sampath_jax.training.step import make_view_encoder


@dataclass(frozen=True)
class Feed:
    """The training batches, and what puts one on the mesh for the step."""

    batches: BatchIterator
    put: Callable[[Batch], Any]


def open_feed(session: Session) -> Feed:
    """The feed that `config.data.cache_features` asks for. Open it last: it takes what room is left."""
    config, source = session.workdir.config, session.batches.source
    if not config.data.cache_features:
        return Feed(session.batches, session.placement.put_batch)
    views, model = FixedViews.from_config(config), SamPathConfig.from_config(config)
    identity = identity_of_views(session.fingerprint, config, source)
    shape = (*model.grid, model.feature_width)
    cache = FeatureCache(session.room, identity, shape, model.compute_dtype)
    if session.writes:
        overview.print_cache(config, cache, views, len(source), session.placement.process_count)
    encode = EncodeRows(
        session.placement, make_view_encoder(session.graphdef, session.head, config), session.frozen
    )
    put = PutFeatures(session.placement, encode, cache, [tile.id for tile in source.tiles])
    return Feed(view_batches(session.batches, views, cache), put)


class EncodeRows:
    """Encodes some rows of this process's part of a batch, whatever the other processes do.

    Every device computes one tile at a time. So the features of a view are the same, bit for bit, whichever
    tiles are encoded beside it, and no device computes a tile whose features are known.

    Args:
        placement: the mesh.
        encode: of `make_view_encoder`.
        frozen: parameters, on the mesh.
    """

    def __init__(self, placement: Placement, encode: Callable[..., Any], frozen: Any):
        self._own = placement.own()
        self._frozen = self._own.adopt(frozen)
        self._encode = self._own.compile_encoder(encode, self._frozen)

    def __call__(self, batch: Batch, rows: Sequence[int]) -> list[np.ndarray]:
        """The features of `rows` of the batch, [gh, gw, F] each."""
        at_once = self._own.mesh.shape["data"]
        parts = []
        for start in range(0, len(rows), at_once):
            chosen = np.resize(rows[start : start + at_once], at_once)  # repeated, if too few
            tiles = {name: batch[name][chosen] for name in ("image", "index", "view")}
            parts.append(self._encode(self._frozen, self._own.put_batch(tiles)))
        return [features for part in parts for features in jax.device_get(part)][: len(rows)]


class PutFeatures:
    """Puts batches of `view_batches` on the mesh; features that are not known are encoded first, and kept.

    Args:
        placement: the mesh.
        encode: of the missing rows.
        cache: where the features are kept.
        names: of the tiles of the split.
    """

    def __init__(self, placement: Placement, encode: EncodeRows, cache: FeatureCache, names: Sequence[str]):
        self._placement, self._encode, self._cache, self._names = placement, encode, cache, names

    def __call__(self, batch: Batch) -> Any:
        """The global `ViewBatch`, of which this process has `batch`."""
        unknown = np.flatnonzero(batch["valid"] & ~batch["known"])
        missing = [row for row in map(int, unknown) if not self._find(batch, row)]
        for row, features in zip(missing, self._encode(batch, missing), strict=True):
            batch["features"][row] = features
            self._cache.put(self._key(batch, row), features.copy())
        names = ("features", "label", "valid", "index", "view")
        return self._placement.put_batch({name: batch[name] for name in names})

    def _find(self, batch: Batch, row: int) -> bool:
        """Looks once more: a batch is loaded early, perhaps before the same view was encoded."""
        kept = self._cache.get(self._key(batch, row))
        if kept is not None:
            batch["features"][row] = kept
        return kept is not None

    def _key(self, batch: Batch, row: int) -> str:
        return view_key(self._names[batch["index"][row]], int(batch["view"][row]))
