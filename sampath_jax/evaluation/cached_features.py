"""Encoder features of whole tiles, looked up and kept batch by batch, by every process for its own rows."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np
from jax.experimental import multihost_utils
from jaxtyping import Array, Shaped

from sampath_jax.types import Features


@runtime_checkable
class FeatureStore(Protocol):
    """Keeps arrays by key, such as `data.feature_cache.FeatureCache`."""

    def get(self, key: str) -> Shaped[np.ndarray, "..."] | None:
        """The array of `key`, None if it is not kept."""

    def put(self, key: str, array: Shaped[np.ndarray, "..."]) -> None:
        """Keeps `array`, or not."""


class CachedFeatures:
    """A `FeatureStore` read and filled with whole batches.

    Args:
        store: where the features are; its fingerprint must cover the encoders, the canvas, the input size and
            the compute type.
        names: of the tiles of the split; keys are `tile_key` of them.
    """

    def __init__(self, store: FeatureStore, names: Sequence[str]):
        self._store = store
        self._names = names

    def rows(self, batch: Mapping[str, Any]) -> Shaped[np.ndarray, "B h w C"] | None:
        """This process's rows, zeros for padding; None unless every process has all of its own."""
        found = {row: self._store.get(key) for row, key in self._keys(batch).items()}
        kept = [features for features in found.values() if features is not None]
        complete = 0 < len(kept) == len(found)
        if jax.process_count() > 1:
            complete = bool(np.all(multihost_utils.process_allgather(np.array(complete))))
        if not complete:
            return None
        rows = np.zeros((len(batch["valid"]), *kept[0].shape), kept[0].dtype)
        rows[list(found)] = kept
        return rows

    def keep(self, batch: Mapping[str, Any], features: Features) -> None:
        """Gives the store this process's rows of the batch's features, without the padding."""
        rows = local_rows(features)
        for row, key in self._keys(batch).items():
            self._store.put(key, rows[row].copy())

    def _keys(self, batch: Mapping[str, Any]) -> dict[int, str]:
        return {
            int(row): tile_key(self._names[batch["index"][row]]) for row in np.flatnonzero(batch["valid"])
        }


def tile_key(name: str) -> str:
    """The key of a tile as it is, neither cropped nor augmented."""
    return f"whole/{name}"


def local_rows(array: Shaped[Array, "B ..."]) -> Shaped[np.ndarray, "b ..."]:
    """This process's rows of an array that is split along its first axis (and repeated over others)."""
    shards = {shard.index[0].start or 0: shard.data for shard in array.addressable_shards}
    return np.concatenate([np.asarray(shards[start]) for start in sorted(shards)])
