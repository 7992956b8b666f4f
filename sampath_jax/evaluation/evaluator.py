"""Runs a model over the tiles of a split: compiled once, sharded over the mesh, features cached if asked.

The program has one shape, that of a full batch: the pipeline pads a short last batch with empty tiles, whose
counts are dropped here. Counts are integers per tile, so neither padding nor batch size nor the number of
devices can change a score.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, UInt8
from ml_collections import ConfigDict

from sampath_jax.distributed import Placement
from sampath_jax.evaluation import averaging
from sampath_jax.evaluation.cached_features import CachedFeatures, FeatureStore, local_rows
from sampath_jax.evaluation.confusion import tile_confusions
from sampath_jax.models.sam_path import class_map
from sampath_jax.types import Features, Images, Labels, Valid

#: Arrays in a tree.
Tree = Any


#: What `data.pipeline.evaluation_batches` gives; any iterable of such batches where nothing is cached.
Batches = Any


class Evaluated(NamedTuple):
    """One batch after the forward pass, still on the devices."""

    confusion: Int[Array, "B k k"]  # replicated
    valid: Valid  # replicated
    labels: Labels  # the predicted class of every canvas pixel, 1..k
    logits: Float[Array, "B *n h w C"]  # of every head of an ensemble
    batch: Mapping[str, np.ndarray]  # what was given, this process's rows
    seconds: float | None = None  # from the batch in memory to its labels, the devices being idle before

    def tiles(self) -> Iterator[tuple[int, UInt8[np.ndarray, "H W"], Float[np.ndarray, "*n h w C"]]]:
        """This process's tiles without padding: position in the split, labels on the canvas, logits."""
        labels, logits = local_rows(self.labels), local_rows(self.logits)
        for row in np.flatnonzero(self.batch["valid"]):
            yield int(self.batch["index"][row]), labels[row], logits[row]


class Evaluator:
    """Predicts the tiles of a split and counts them; see `evaluate` and `run`.

    Args:
        graphdef: of `models.freezing.split_head`.
        config: of the experiment.
        placement: the mesh; heads and frozen arrays given to the methods are put on it by the caller
            (`Placement.put`, `Placement.put_frozen`).
        ensemble: the heads given have a leading axis in every array, and their probabilities are averaged.
    """

    def __init__(
        self, graphdef: nnx.GraphDef, config: ConfigDict, placement: Placement, *, ensemble: bool = False
    ):
        self._placement = placement
        canvas, num_classes = tuple(config.data.canvas), len(config.data.classes)

        def encode(frozen: Tree, head: Tree, images: Images) -> Features:
            if ensemble:
                return averaging.encode(graphdef, head, frozen, images)
            return nnx.merge(graphdef, head, frozen).encode(images)

        def decode(frozen: Tree, head: Tree, features: Features) -> tuple:
            if ensemble:
                logits = averaging.decode(graphdef, head, frozen, features)
                return averaging.mean_class_map(logits, canvas), jnp.moveaxis(logits, 0, 1)
            logits, _ = nnx.merge(graphdef, head, frozen).decode(features)
            return class_map(logits, canvas), logits

        def score(frozen: Tree, head: Tree, features: Features, labels: Labels, valid: Valid) -> tuple:
            predicted, logits = decode(frozen, head, features)
            return tile_confusions(labels, predicted, num_classes), valid, predicted, logits

        def count(*arguments: Any) -> tuple:
            return score(*arguments)[:2]

        whole, rows = placement.replicated, placement.by_batch
        self._encode = jax.jit(encode, out_shardings=rows)
        self._score = jax.jit(score, out_shardings=(whole, whole, rows, rows))
        self._count = jax.jit(count, out_shardings=whole)

    def evaluate(
        self, heads: Sequence[Tree], frozen: Tree, batches: Batches, cache: FeatureStore | None = None
    ) -> Int[np.ndarray, "heads n k k"]:
        """Confusion matrices [n, k+1, k+1] of the tiles of `batches`, in order, of each head.

        Every process gets them all.

        Args:
            heads: trained parameters of each. A sequence that makes them when asked is asked once a batch.
            frozen: all others; the heads see the same features.
            batches: as `data.pipeline.evaluation_batches` gives them.
            cache: of features of whole tiles, see `CachedFeatures`; needs `batches.source.tiles`.
        """
        counts: list[np.ndarray] = []
        cached, ahead = _cached(cache, batches), None
        for batch in batches:
            behind, ahead = ahead, self._counts(heads, frozen, batch, cached)
            if behind is not None:
                counts.append(_without_padding(behind))
        assert ahead is not None
        return np.concatenate([*counts, _without_padding(ahead)], axis=1).astype(np.int64)

    def run(
        self, head: Tree, frozen: Tree, batches: Batches, cache: FeatureStore | None = None, *, timed: int = 0
    ) -> Iterator[Evaluated]:
        """Every batch after the forward pass. The devices compute one batch ahead of what is taken.

        Args:
            head: trained parameters.
            frozen: all others.
            batches: as for `evaluate`.
            cache: as for `evaluate`.
            timed: how many batches have their `seconds` taken, from the second on: the first compiles.
        """
        cached, ahead = _cached(cache, batches), None
        for number, batch in enumerate(batches):
            if 1 <= number <= timed:
                jax.block_until_ready(ahead)
                done = self.timed(head, frozen, batch, cached)
            else:
                done = self._forward(head, frozen, batch, cached)
            behind, ahead = ahead, done
            if behind is not None:
                yield behind
        if ahead is not None:
            yield ahead

    def timed(
        self, head: Tree, frozen: Tree, batch: Mapping[str, Any], cached: CachedFeatures | None = None
    ) -> Evaluated:
        """One batch, waited for, with its `seconds`; compiling is among them unless one was run before."""
        started = time.perf_counter()
        done = jax.block_until_ready(self._forward(head, frozen, batch, cached))
        return done._replace(seconds=time.perf_counter() - started)

    def _forward(
        self, head: Tree, frozen: Tree, batch: Mapping[str, Any], cached: CachedFeatures | None
    ) -> Evaluated:
        placed = self._placement.put_batch({"label": batch["label"], "valid": batch["valid"]})
        features = self._features(head, frozen, batch, cached)
        counts, valid, labels, logits = self._score(frozen, head, features, placed["label"], placed["valid"])
        return Evaluated(counts, valid, labels, logits, batch)

    def _counts(
        self, heads: Sequence[Tree], frozen: Tree, batch: Mapping[str, Any], cached: CachedFeatures | None
    ) -> list[tuple[Any, Valid]]:
        """Confusion matrices of the rows for each head, and which rows are tiles; still on the devices."""
        placed = self._placement.put_batch({"label": batch["label"], "valid": batch["valid"]})
        features = self._features(heads[0], frozen, batch, cached)
        return [self._count(frozen, head, features, placed["label"], placed["valid"]) for head in heads]

    def _features(
        self, head: Tree, frozen: Tree, batch: Mapping[str, Any], cached: CachedFeatures | None
    ) -> Features:
        kept: Any = cached.rows(batch) if cached is not None else None
        if kept is not None:
            return self._placement.put_batch(kept)
        features = self._encode(frozen, head, self._placement.put_batch(batch["image"]))
        if cached is not None:
            cached.keep(batch, features)
        return features


def _cached(cache: FeatureStore | None, batches: Batches) -> CachedFeatures | None:
    return None if cache is None else CachedFeatures(cache, [tile.id for tile in batches.source.tiles])


def _without_padding(counts: Sequence[tuple[Any, Valid]]) -> Int[np.ndarray, "heads b k k"]:
    return np.stack([np.asarray(confusion)[np.asarray(valid)] for confusion, valid in counts])
