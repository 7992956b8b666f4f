"""Trains the tiny experiment on meshes of CPU devices and prints what came out.

    JAX_NUM_CPU_DEVICES=8 python -m tests.distributed_worker '[[8, 1], [4, 2], [2, 1, 1]]'

A third number that is not 0 asks for training from cached features. One line of JSON per mesh: the loss of
every step, the norm of the final head, how many frozen arrays are split. `test_distributed.py` starts it.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from sampath_jax import distributed
from sampath_jax.data.feature_cache import FeatureCache, Room
from sampath_jax.training.feed import EncodeRows, PutFeatures
from sampath_jax.training.optimiser import make_optimiser
from sampath_jax.training.state import TrainState
from sampath_jax.training.step import make_train_step, make_view_encoder
from tests.training import tiny

STEPS = 4
#: Rows, columns and channels of the tiny encoders.
FEATURES = (4, 3, 144)


def train(data: int, model: int, cached: int = 0) -> dict[str, object]:
    """Four steps on a `data` x `model` mesh; the last batch of the epoch is short."""
    config, graphdef, head, frozen = tiny.experiment()
    config.data.cache_features = bool(cached)
    config.mesh.data, config.mesh.model = data, model
    placement = distributed.Placement(distributed.make_mesh(config.mesh))
    tx = make_optimiser(config.optim, STEPS)
    state, frozen = placement.put(TrainState.create(head, tx)), placement.put_frozen(frozen)
    step = placement.compile_step(make_train_step(graphdef, tx, config), frozen)
    put = placement.put_batch
    if cached:
        put = put_features(placement, make_view_encoder(graphdef, head, config), frozen)
    losses = []
    rows = tiny.BATCH // placement.process_count
    mine = slice(placement.process_index * rows, (placement.process_index + 1) * rows)
    for i in range(STEPS):
        batch = tiny.batch(i, valid=3 if i == 2 else tiny.BATCH)
        if cached:
            batch |= {"view": batch["epoch"], "features": np.zeros((tiny.BATCH, *FEATURES), np.float32)}
            batch["known"] = np.zeros(tiny.BATCH, bool)
        batch = {name: rows[mine] for name, rows in batch.items()}
        if cached and placement.process_index == 0 and i == 1:
            put(batch)  # from here on one process has more features than the other
        state, metrics = step(state, frozen, put(batch))
        losses.append(float(metrics["loss"]))
    norm = np.sqrt(sum(np.square(leaf).sum() for leaf in jax.tree.leaves(jax.device_get(state.head))))
    split = sum(not leaf.is_fully_replicated for leaf in jax.tree.leaves(frozen))
    return {"losses": losses, "head_norm": float(norm), "split": split, "processes": jax.process_count()}


def put_features(placement: distributed.Placement, encode: Callable, frozen: Any) -> PutFeatures:
    """With a cache of its own for each process."""
    cache = FeatureCache(Room(Path(), memory=10**6, disk=0), "", FEATURES, np.float32)
    names = [str(i) for i in range(tiny.BATCH)]
    return PutFeatures(placement, EncodeRows(placement, encode, frozen), cache, names)


if __name__ == "__main__":
    distributed.start()
    for shape in json.loads(sys.argv[1]):
        print(json.dumps({"mesh": shape} | train(*shape)), flush=True)
