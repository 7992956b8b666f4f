"""What a training step costs with and without cached features: `python benchmarks/cached_training.py`.

The same synthetic tiles, in turns so that a machine that slows down slows down all: encoded in the step as
usual; encoded and kept, as when a view is drawn for the first time; with features from memory; from disk.
A step is reading, putting on the device (with encoding, where features are not known) and learning.
"""

import argparse
import dataclasses
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from sampath_jax import cli, console
from sampath_jax.config import load_config
from sampath_jax.data.feature_cache import GB, FeatureCache, Room
from sampath_jax.data.pipeline import LoadBatch, training_batches
from sampath_jax.data.synthetic import CLASSES, IGNORED, write_dataset
from sampath_jax.data.view_batches import view_batches
from sampath_jax.data.views import FixedViews
from sampath_jax.distributed import Placement, make_mesh
from sampath_jax.models.config import SamPathConfig
from sampath_jax.models.freezing import split_head
from sampath_jax.training.feed import EncodeRows, PutFeatures
from sampath_jax.training.optimiser import make_optimiser
from sampath_jax.training.state import TrainState
from sampath_jax.training.step import make_train_step, make_view_encoder
from sampath_jax.weights import build_model

CONFIGS = Path(__file__).parents[1] / "configs"
COLUMNS = ("features", "read ms", "put ms", "learn ms", "step ms", "fastest", "slowest")


def main(arguments: Sequence[str]) -> int:
    """Prints a row for each way, medians of the timed steps."""
    parser = argparse.ArgumentParser(prog="python benchmarks/cached_training.py", description=main.__doc__)
    parser.add_argument("--config", type=Path, default=CONFIGS / "bcss.py", metavar="FILE")
    parser.add_argument("--batch-size", type=int, default=1, metavar="N")
    parser.add_argument("--steps", type=int, default=4, metavar="N", help="that are timed, of each")
    options, _ = cli.parse(parser, arguments)
    with tempfile.TemporaryDirectory() as folder:
        config = _config(options.config, Path(folder), options.batch_size, options.steps, options.overrides)
        ways = _ways(config, Path(folder) / "cache")
        for n in range(options.steps + 1):  # the first is not timed
            for way in ways:
                way.advance(n, timed=n > 0)
    device = f"{jax.device_count()} x {jax.devices()[0].device_kind}"
    title = f"{options.config.stem}, {config.data.canvas}, batch {options.batch_size}, {device}"
    console.table(title, COLUMNS, [way.row() for way in ways])
    return 0


def _config(file: Path, folder: Path, batch: int, steps: int, overrides: Sequence[str]) -> ConfigDict:
    """With tiles enough for every step; two in three are of the training split."""
    config = load_config(file, overrides).unlock()
    config.data.root, config.data.layout = str(folder / "tiles"), "published"
    config.data.classes, config.data.ignored, config.data.workers = CLASSES, IGNORED, 0
    config.weights.sam, config.weights.hipt = "random", "random"
    config.optim.batch_size = batch
    write_dataset(folder / "tiles", count=2 * batch * (steps + 1), size=config.data.canvas, tiles_per_slide=1)
    return config.lock()


class Way:
    """A training step with its state, and the times it took."""

    def __init__(self, name: str, load: LoadBatch, put: Any, step: Any, state: TrainState):
        self._name, self._load = name, load
        self._put, self._step, self._state = put, step, state
        self._times: list[tuple[float, float, float]] = []

    def advance(self, n: int, *, timed: bool) -> None:
        """Step `n` of the epoch, from the file to the end of the update."""
        clock = [time.perf_counter()]
        batch = self._load(n)
        clock.append(time.perf_counter())
        placed = jax.block_until_ready(self._put(batch))
        clock.append(time.perf_counter())
        self._state, metrics = self._step(self._state, placed)
        jax.block_until_ready(metrics)
        clock.append(time.perf_counter())
        if timed:
            self._times.append((clock[1] - clock[0], clock[2] - clock[1], clock[3] - clock[2]))

    def row(self) -> tuple[str, ...]:
        """Medians, milliseconds."""
        whole = [sum(parts) for parts in self._times]
        medians = [statistics.median(part) for part in (*zip(*self._times, strict=True), whole)]
        return self._name, *(f"{1000 * t:,.0f}" for t in (*medians, min(whole), max(whole)))


def _ways(config: ConfigDict, folder: Path) -> list[Way]:
    placement = Placement(make_mesh(config.mesh))
    graphdef, head, frozen = split_head(build_model(config))
    frozen = placement.put_frozen(frozen)
    batches, tx = training_batches(config), make_optimiser(config.optim, 100)
    cached = config.copy_and_resolve_references().unlock()
    cached.data.cache_features = True
    steps = [placement.compile_step(make_train_step(graphdef, tx, c), frozen) for c in (config, cached)]
    encode = EncodeRows(placement, make_view_encoder(graphdef, head, cached), frozen)
    views, model = FixedViews(0, 1), SamPathConfig.from_config(config)

    def way(name: str, step: Any, load: LoadBatch, put: Any) -> Way:
        state = placement.put(TrainState.create(jax.tree.map(jnp.copy, head), tx))
        in_order = dataclasses.replace(load, plan=dataclasses.replace(load.plan, seed=None))
        return Way(name, in_order, put, lambda state, batch: step(state, frozen, batch), state)

    ways = [way("computed in the step", steps[0], batches.load, placement.put_batch)]
    for name, room in (("memory", Room(folder, 100 * GB, 0)), ("disk", Room(folder, 0, 100 * GB))):
        cache = FeatureCache(room, name, (*model.grid, model.feature_width), model.compute_dtype)
        put = PutFeatures(placement, encode, cache, [tile.id for tile in batches.source.tiles])
        load = view_batches(batches, views, cache).load
        ways.append(way(f"encoded, kept in {name}", steps[1], load, put))
        ways.append(way(f"from {name}", steps[1], load, put))
    return ways


if __name__ == "__main__":
    cli.run(main)
