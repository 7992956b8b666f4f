"""The tables at the start of training: what runs where, what learns, and on which schedule."""

from collections.abc import Iterable
from typing import Any

import jax
from ml_collections import ConfigDict

from sampath_jax import console
from sampath_jax.distributed import Placement
from sampath_jax.training.plan import Plan


def print_devices(placement: Placement) -> None:
    """Devices, processes and mesh."""
    devices = placement.mesh.devices.flatten()
    mesh = " x ".join(f"{name} {size}" for name, size in placement.mesh.shape.items())
    row = (devices[0].device_kind, len(devices), placement.process_count, mesh)
    console.table("Devices", ("kind", "devices", "processes", "mesh"), [row])


def print_parameters(head: Any, frozen: Any) -> None:
    """Numbers per part of the model, trainable and frozen."""
    rows = [(name, _count(tree), 0) for name, tree in _parts(head)]
    rows += [(name, 0, _count(tree)) for name, tree in _parts(frozen)]
    rows.append(("total", sum(row[1] for row in rows), sum(row[2] for row in rows)))
    console.table("Parameters", ("part", "trainable", "frozen"), rows)


def print_schedule(config: ConfigDict, plan: Plan) -> None:
    """Batches, steps, learning rate and loss."""
    optim, schedule = config.optim, plan.schedule
    rate = f"{optim.learning_rate:g}, warm-up over {schedule.warmup:,} steps"
    for drop, epoch in zip(schedule.drops, optim.drop_epochs, strict=True):
        rate += f", x {optim.drop_factor:g} at step {drop:,} (epoch {epoch:g})"
    batch = f"{optim.batch_size} tiles"
    if optim.accumulate > 1:
        batch += f", {optim.accumulate} batches per step"
    rows = [
        ("batch", batch),
        ("epochs", f"{optim.epochs:g} of {schedule.steps_per_epoch:,} steps = {schedule.total:,} steps"),
        ("learning rate", rate),
        ("weight decay", f"{optim.weight_decay:g}"),
        (
            "loss",
            f"alpha {config.loss.alpha:g}, beta {config.loss.beta:g}, {config.loss.unlabelled} unlabelled",
        ),
    ]
    console.table("Schedule", ("what", "value"), rows)


def _parts(tree: Any) -> Iterable[tuple[str, Any]]:
    return ((str(name), tree[name]) for name in tree)


def _count(tree: Any) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))
