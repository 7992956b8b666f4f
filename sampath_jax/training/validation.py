"""Scores on the validation split while training, with the encoders' features computed once."""

import hashlib
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from flax import nnx
from ml_collections import ConfigDict

from sampath_jax.data.feature_cache import FeatureCache
from sampath_jax.data.pipeline import Batch, BatchIterator, evaluation_batches
from sampath_jax.data.source import TileSource
from sampath_jax.distributed import Placement
from sampath_jax.evaluation.evaluator import Evaluator
from sampath_jax.evaluation.metrics import Scores
from sampath_jax.models.config import SamPathConfig
from sampath_jax.training.interrupt import Interrupt
from sampath_jax.workdir import WorkDir


class Stopped(Exception):
    """A signal asked to stop in the middle of an evaluation."""


class Validation:
    """Evaluates heads on the validation split.

    Args:
        workdir: of the experiment.
        placement: the mesh.
        graphdef: of `models.freezing.split_head`.
        frozen_fingerprint: of the frozen weights; cached features of others are not used.
    """

    def __init__(
        self, workdir: WorkDir, placement: Placement, graphdef: nnx.GraphDef, frozen_fingerprint: str
    ):
        config = workdir.config
        self._batches = evaluation_batches(
            config, "val", process_index=placement.process_index, process_count=placement.process_count
        )
        self._names = tuple(entry["name"] for entry in config.data.classes)
        self._evaluator = Evaluator(graphdef, config, placement)
        self._cache = FeatureCache(
            workdir.cache,
            config.data.cache_memory_gb,
            config.data.cache_disk_gb,
            f"{frozen_fingerprint} {_encoding(config)} {tiles_on_disk(self._batches.source)}",
        )

    @property
    def source(self) -> TileSource:
        """The validation tiles."""
        return self._batches.source

    def scores(self, head: Any, frozen: Any, stop: Interrupt | None = None) -> dict[str, Any]:
        """Overall and per-class scores as plain numbers for `metrics.jsonl`; None where not defined.

        Raises:
            Stopped: `stop` was requested meanwhile.
        """
        self._batches.set_state({"next_batch": 0})
        confusion = self._evaluator.evaluate(head, frozen, _Stoppable(self._batches, stop), self._cache)
        scores = Scores.from_confusion(confusion.sum(0), self._names)
        per_class = {
            name: {key: _number(value) for key, value in values.items()}
            for name, values in scores.per_class().items()
        }
        return {name: _number(value) for name, value in scores.overall().items()} | {"per_class": per_class}

    def close(self) -> None:
        """Ends the worker processes."""
        self._batches.close()


class _Stoppable:
    """Batches that end with `Stopped` when a signal has come."""

    def __init__(self, batches: BatchIterator, stop: Interrupt | None):
        self._batches, self._stop = batches, stop
        self.source = batches.source

    def __iter__(self) -> Iterator[Batch]:
        for batch in self._batches:
            if self._stop is not None and self._stop.requested:
                raise Stopped
            yield batch


def _encoding(config: ConfigDict) -> str:
    """What decides a tile's features, beside its pixels and the weights."""
    model = SamPathConfig.from_config(config)
    return f"{config.data.canvas} {model.input_size} {model.encoders} {model.compute_dtype}"


def tiles_on_disk(source: TileSource) -> str:
    """Changes when a tile's file changes, without reading it."""
    digest = hashlib.sha256()
    for tile in source.tiles:
        status = tile.image.stat() if tile.image.is_file() else None
        digest.update(f"{tile.id} {status and (status.st_size, status.st_mtime_ns)}\n".encode())
    return digest.hexdigest()


def _number(value: Any) -> float | int | None:
    number = np.asarray(value).item()
    return None if isinstance(number, float) and math.isnan(number) else number
