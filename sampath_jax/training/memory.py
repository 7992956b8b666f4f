"""How many heads of a sweep fit into memory, by the compiler's own account, before anything is trained."""

import math
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from sampath_jax.distributed import Placement
from sampath_jax.errors import InputError
from sampath_jax.training import free_memory
from sampath_jax.training.sweep_step import Program, SweepPrograms
from sampath_jax.training.watch import RUN_AHEAD

#: Share of what is free that a sweep may plan to use; the rest is for validation and the unforeseen.
USABLE = 0.8


@dataclass(frozen=True)
class Need:
    """Bytes on a device, or on the host if its CPU is the device.

    Attributes:
        fixed: however many heads there are.
        each: for every head.
    """

    fixed: int
    each: int

    def of(self, heads: int) -> int:
        """Bytes for so many heads."""
        return self.fixed + heads * self.each

    def heads(self, usable: float) -> int:
        """How many heads fit into `usable` bytes."""
        return max(0, int((usable - self.fixed) // self.each))


def plan_groups(programs: SweepPrograms, heads: int) -> tuple[int, Program]:
    """The most heads that can take their step together, and their program.

    More at a time are faster on accelerators, and take more memory. A CPU is busy with a single one.

    Raises:
        InputError: not even one after another do they fit; with the number of heads that would.
    """
    free = _free_everywhere(programs.placement)
    usable = math.inf if free is None else USABLE * free
    for together in group_sizes(heads):
        program = programs.step(together, stacked=together > 1)
        need = needed(programs, program)
        if need.of(heads) <= usable:
            return together, program
    raise InputError(
        f"{heads} heads need {need.of(heads) / 1e9:.1f} GB of memory, but only {usable / 1e9:.1f} GB, "
        f"{USABLE:.0%} of what is free, may be planned: {need.heads(usable)} heads would fit. "
        "Split the sweep into several, or lower config.optim.batch_size"
    )


def group_sizes(heads: int) -> list[int]:
    """Candidates for the number of heads that step together, the best first."""
    if jax.default_backend() == "cpu":
        return [1]
    sizes = [heads]
    while sizes[-1] > 1:
        sizes.append(-(-sizes[-1] // 2))
    return sizes


def needed(programs: SweepPrograms, step: Program) -> Need:
    """What a sweep needs whose groups step with `step`."""
    placement, encode = programs.placement, programs.encode
    batches = _bytes(programs.batch, placement.by_batch) + _bytes(encode.out_info, placement.by_batch)
    frozen = _bytes(programs.frozen, placement.frozen(programs.frozen))
    each = _bytes(programs.state, placement.replicated)
    plan = step.memory_analysis()
    working = plan.temp_size_in_bytes + plan.output_size_in_bytes - plan.alias_size_in_bytes
    working = max(encode.memory_analysis().temp_size_in_bytes, working)
    # the checkpoint that is being written is a copy of one head's state
    fixed = frozen + (1 + RUN_AHEAD) * batches + working + each
    devices = placement.mesh.local_devices
    sharing = len(devices) if devices[0].platform == "cpu" else 1  # CPU devices share the host's memory
    return Need(sharing * fixed, sharing * each)


def _bytes(tree: Any, shardings: Any) -> int:
    """Bytes of the arrays of a tree, which may be abstract, on one device."""
    leaves = jax.tree.leaves(tree)
    placed = jax.tree.leaves(shardings)
    placed = placed if len(placed) == len(leaves) else placed * len(leaves)
    return sum(
        int(np.prod(sharding.shard_shape(leaf.shape))) * leaf.dtype.itemsize
        for leaf, sharding in zip(leaves, placed, strict=True)
    )


def _free_everywhere(placement: Placement) -> int | None:
    """Free bytes of the process that has the fewest: all must decide alike."""
    free = free_memory.free_bytes(placement.mesh.local_devices[0])
    if placement.process_count == 1:
        return free
    megabytes = np.array(-1 if free is None else free >> 20)  # bytes would not fit into JAX's 32 bits
    least = int(multihost_utils.process_allgather(megabytes).min())
    return None if least < 0 else least << 20
