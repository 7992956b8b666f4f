"""Attention on several devices: each computes its own images and heads, nothing is exchanged.

XLA cannot split a loop over images, nor a kernel of cuDNN or Pallas: left alone, it would gather the whole
batch on every device.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax.experimental.custom_partitioning import custom_partitioning
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array

Attention = Callable[..., Array]


def split_over_devices(attention: Attention, arguments: int) -> Attention:
    """`attention(q, k, v, *tables)`, partitioned as q is along images and heads; it has no gradient.

    Args:
        attention: [B, N, heads, d] three times and tables, to [B, N, heads, d].
        arguments: how many arrays it takes: 3, or 5 with tables.
    """
    # Inside `jit` an implementation may have constants of its own, which custom_partitioning refuses.
    compiled = jax.jit(attention)

    def partition(mesh: Mesh, shapes: tuple[Any, ...], result: Any) -> tuple[Any, ...]:
        axes = (*shapes[0].sharding.spec, None, None, None, None)
        split = NamedSharding(mesh, PartitionSpec(axes[0], None, axes[2], None))
        whole = NamedSharding(mesh, PartitionSpec())
        return mesh, compiled, split, (split,) * 3 + (whole,) * (arguments - 3)

    wrapped = custom_partitioning(lambda *arrays: compiled(*arrays))
    tables = ", i e, j e" if arguments == 5 else ""
    wrapped.def_partition(partition, sharding_rule=f"b n h d, b m h d, b m h d{tables} -> b n h d")
    return wrapped
