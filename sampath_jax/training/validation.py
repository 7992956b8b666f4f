"""Scores on the validation split while training, with the encoders' features computed once."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from flax import nnx
from jaxtyping import Int

from sampath_jax.data.feature_cache import FeatureCache, Room
from sampath_jax.data.pipeline import Batch, BatchIterator, evaluation_batches
from sampath_jax.data.source import TileSource
from sampath_jax.distributed import Placement
from sampath_jax.evaluation.evaluator import Evaluator
from sampath_jax.evaluation.metrics import Scores
from sampath_jax.models.config import SamPathConfig
from sampath_jax.training.feature_identity import identity_of_tiles
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
        room: for cached features, of which as much as the split needs is reserved.
    """

    def __init__(
        self,
        workdir: WorkDir,
        placement: Placement,
        graphdef: nnx.GraphDef,
        frozen_fingerprint: str,
        room: Room,
    ):
        config = workdir.config
        self._batches = evaluation_batches(
            config, "val", process_index=placement.process_index, process_count=placement.process_count
        )
        self._names = tuple(entry["name"] for entry in config.data.classes)
        self._evaluator = Evaluator(graphdef, config, placement)
        model, source = SamPathConfig.from_config(config), self._batches.source
        # Tiles are encoded batch by batch, and a batch of another size may round otherwise.
        identity = identity_of_tiles(frozen_fingerprint, config, source)
        self._cache = FeatureCache(
            room,
            f"{identity} {config.eval.batch_size} on {placement.mesh.shape['data']}",
            (*model.grid, model.feature_width),
            model.compute_dtype,
        )
        self._cache.reserve(math.ceil(len(source) / placement.process_count))

    @property
    def source(self) -> TileSource:
        """The validation tiles."""
        return self._batches.source

    def scores(
        self,
        heads: Sequence[Any],
        frozen: Any,
        stop: Interrupt | None = None,
        shown: Callable[[int, int], None] | None = None,
    ) -> list[dict[str, Any]]:
        """Overall and per-class scores as plain numbers for `metrics.jsonl`; None where not defined.

        Args:
            heads: the trained parameters of each; they share one pass over the tiles.
            frozen: all other parameters.
            stop: looked at before every batch.
            shown: called after every batch, with the tiles done and all tiles.

        Raises:
            Stopped: `stop` was requested meanwhile.
        """
        self._batches.set_state({"next_batch": 0})
        batches = _Watched(self._batches, stop, shown)
        return [
            self._plain(confusion.sum(0))
            for confusion in self._evaluator.evaluate(heads, frozen, batches, self._cache)
        ]

    def _plain(self, confusion: Int[np.ndarray, "k k"]) -> dict[str, Any]:
        scores = Scores.from_confusion(confusion, self._names)
        per_class = {
            name: {key: _number(value) for key, value in values.items()}
            for name, values in scores.per_class().items()
        }
        return {name: _number(value) for name, value in scores.overall().items()} | {"per_class": per_class}

    def close(self) -> None:
        """Ends the worker processes."""
        self._batches.close()


class _Watched:
    """Batches that say how far they are, and end with `Stopped` when a signal has come."""

    def __init__(
        self, batches: BatchIterator, stop: Interrupt | None, shown: Callable[[int, int], None] | None
    ):
        self._batches, self._stop, self._shown = batches, stop, shown
        self.source = batches.source

    def __iter__(self) -> Iterator[Batch]:
        plan = self._batches.plan
        for number, batch in enumerate(self._batches, start=1):
            if self._stop is not None and self._stop.requested:
                raise Stopped
            yield batch
            if self._shown is not None:
                self._shown(min(number * plan.batch_size, plan.n_tiles), plan.n_tiles)


def _number(value: Any) -> float | int | None:
    number = np.asarray(value).item()
    return None if isinstance(number, float) and math.isnan(number) else number
