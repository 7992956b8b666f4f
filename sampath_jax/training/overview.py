"""The tables at the start of training: what runs where, what learns, and on which schedule."""

from collections.abc import Iterable
from typing import Any

import jax
from ml_collections import ConfigDict

from sampath_jax import console
from sampath_jax.data.feature_cache import FeatureCache
from sampath_jax.data.views import DIHEDRAL, FixedViews
from sampath_jax.distributed import Placement
from sampath_jax.training.plan import Plan


def print_devices(placement: Placement, batch_size: int) -> None:
    """Devices, processes and mesh, and whether a batch divides among them."""
    devices = placement.mesh.devices.flatten()
    mesh = " x ".join(f"{name} {size}" for name, size in placement.mesh.shape.items())
    row = (devices[0].device_kind, len(devices), placement.process_count, mesh)
    console.table("Devices", ("kind", "devices", "processes", "mesh"), [row])
    data = placement.mesh.shape["data"]
    if rest := batch_size % data:
        console.out.print(
            f"Batches of {batch_size} tiles get {data - rest} empty rows, to split over {data} devices; the "
            "loss does not depend on it.",
            soft_wrap=True,
        )


def print_parameters(head: Any, frozen: Any) -> None:
    """Numbers per part of the model, trainable and frozen."""
    rows = [(name, _count(tree), 0) for name, tree in _parts(head)]
    rows += [(name, 0, _count(tree)) for name, tree in _parts(frozen)]
    rows.append(("total", sum(row[1] for row in rows), sum(row[2] for row in rows)))
    console.table("Parameters", ("part", "trainable", "frozen"), rows)


def print_schedule(config: ConfigDict, plan: Plan) -> None:
    """Batches, steps, learning rate and loss; warns of settings that come to nothing."""
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
    _warn_of_idle_settings(optim, plan)


def _warn_of_idle_settings(optim: ConfigDict, plan: Plan) -> None:
    drops = zip(optim.drop_epochs, plan.schedule.drops, strict=True)
    if late := [f"{epoch:g}" for epoch, drop in drops if drop >= plan.schedule.total]:
        console.warning(
            f"training ends after {optim.epochs:g} epochs; the learning rate, which drops at epoch "
            f"{' and '.join(late)}, does not get there. Set config.optim.drop_epochs too"
        )
    if optim.accumulate > plan.steps_per_epoch:
        console.warning(
            f"an epoch has {plan.steps_per_epoch} batches, fewer than config.optim.accumulate: each "
            f"optimiser step sums that many gradients and still divides by {optim.accumulate}"
        )


def print_cache(
    config: ConfigDict, cache: FeatureCache, views: FixedViews, tiles: int, processes: int
) -> None:
    """How many views there are, what their features take, and how often the encoders run."""
    number, each = tiles * views.count, cache.item_bytes
    whole = min(views.count, DIHEDRAL)
    room = f"{_size(cache.room.memory)} in memory, {_size(cache.room.disk)} on disk in {cache.room.folder}"
    if stored := cache.stored:
        room += f", and {stored:,} views that are there already"
    epochs = config.optim.epochs
    drawn, different = tiles * epochs, tiles * views.expected(epochs)
    rows = [
        ("views of a tile", f"{views.count}: {whole} of the whole tile, {views.count - whole} crops"),
        ("a tile", f"{views.count} x {_size(each)} = {_size(views.count * each)}"),
        ("all", f"{tiles:,} tiles = {number:,} views = {_size(number * each)}"),
        ("room", room + (f", for each of {processes} processes" if processes > 1 else "")),
        ("drawn", f"{drawn:,.0f} in {epochs:g} epochs, about {different:,.0f} different"),
    ]
    console.table("Cached features", ("what", "value"), rows)
    if (fits := cache.capacity) < number:
        console.out.print(
            f"There is room for {fits:,} of {number:,} views: the other {number - fits:,} will be encoded "
            "each time they are drawn. Raise config.data.cache_disk_gb or cache_memory_gb to keep more."
        )


def _size(size: int) -> str:
    """Bytes as people say it."""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if size >= unit:
            return f"{size / unit:,.1f} {name}"
    return f"{size} bytes"


def _parts(tree: Any) -> Iterable[tuple[str, Any]]:
    return ((str(name), tree[name]) for name in tree)


def _count(tree: Any) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))
