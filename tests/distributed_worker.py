"""Trains the tiny experiment on meshes of CPU devices and prints what came out.

    JAX_NUM_CPU_DEVICES=8 python -m tests.distributed_worker '[[8, 1], [4, 2]]'

One line of JSON per mesh: the loss of every step, the norm of the final head, how many frozen arrays are
split. `test_distributed.py` starts it.
"""

import json
import sys

import jax
import numpy as np

from sampath_jax import distributed
from sampath_jax.training.optimiser import make_optimiser
from sampath_jax.training.state import TrainState
from sampath_jax.training.step import make_train_step
from tests.training import tiny

STEPS = 4


def train(data: int, model: int) -> dict[str, object]:
    """Four steps on a `data` x `model` mesh; the last batch of the epoch is short."""
    config, graphdef, head, frozen = tiny.experiment()
    config.mesh.data, config.mesh.model = data, model
    placement = distributed.Placement(distributed.make_mesh(config.mesh))
    placement.check_batch_size(tiny.BATCH, "optim.batch_size")
    tx = make_optimiser(config.optim, STEPS)
    state, frozen = placement.put(TrainState.create(head, tx)), placement.put_frozen(frozen)
    step = placement.compile_step(make_train_step(graphdef, tx, config), frozen)
    losses = []
    rows = tiny.BATCH // placement.process_count
    mine = slice(placement.process_index * rows, (placement.process_index + 1) * rows)
    for i in range(STEPS):
        batch = tiny.batch(i, valid=3 if i == 2 else tiny.BATCH)
        state, metrics = step(state, frozen, placement.put_batch({k: v[mine] for k, v in batch.items()}))
        losses.append(float(metrics["loss"]))
    norm = np.sqrt(sum(np.square(leaf).sum() for leaf in jax.tree.leaves(jax.device_get(state.head))))
    split = sum(not leaf.is_fully_replicated for leaf in jax.tree.leaves(frozen))
    return {"losses": losses, "head_norm": float(norm), "split": split, "processes": jax.process_count()}


if __name__ == "__main__":
    distributed.start()
    for shape in json.loads(sys.argv[1]):
        print(json.dumps({"mesh": shape} | train(*shape)), flush=True)
