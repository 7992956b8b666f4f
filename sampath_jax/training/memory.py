"""Whether the heads of a sweep fit into memory, told before anything is trained."""

from pathlib import Path
from typing import Any

import jax

from sampath_jax.distributed import Placement
from sampath_jax.errors import InputError

#: Share of what is free that a sweep may plan to use; the rest is for encoders, batches and the unforeseen.
USABLE = 0.8
#: Gradients and updates of a head while it takes its step, in units of the head.
WHILE_STEPPING = 2


def check_fits(state: Any, heads: int, at_once: int, placement: Placement) -> None:
    """Refuses a sweep whose states do not fit on a device.

    Args:
        state: `TrainState` of one head, as shapes.
        heads: how many there are; every device holds all of them.
        at_once: how many take their step together.
        placement: the mesh.

    Raises:
        InputError: with the number of heads that would fit.
    """
    free = available_bytes(placement.mesh.local_devices[0])
    if free is None:
        return
    # the checkpoint being written holds a second copy of a state
    each = tree_bytes(state)
    stepping = WHILE_STEPPING * at_once * tree_bytes(state.head)
    needed = heads * each + stepping + each
    if needed > USABLE * free:
        fit = max(0, int((USABLE * free - stepping - each) / each))
        raise InputError(
            f"{heads} heads need {needed / 1e9:.1f} GB, but {free / 1e9:.1f} GB are free, of which "
            f"{USABLE:.0%} may be planned: {fit} heads would fit. Split the sweep into several"
        )


def tree_bytes(tree: Any) -> int:
    """Bytes of all arrays, or shapes of arrays, of a tree."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def available_bytes(device: jax.Device) -> int | None:
    """Free memory of an accelerator, or of the host for a CPU device; None where nobody tells."""
    stats = device.memory_stats() if device.platform != "cpu" else None
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    meminfo = Path("/proc/meminfo")
    if device.platform != "cpu" or not meminfo.is_file():
        return None
    fields = dict(line.split(":") for line in meminfo.read_text().splitlines())
    return int(fields["MemAvailable"].split()[0]) * 1024
