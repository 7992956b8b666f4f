"""Times attention at the sizes of SAM ViT-B and HIPT on a 1024 x 1024 tile: `python benchmarks/attention.py`.

Wall time and processor time, the best of several: on a busy machine only the second means something.
"""

import functools
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sampath_jax import console
from sampath_jax.models.attention.blockwise import blockwise_attention
from sampath_jax.models.attention.reference import reference_attention

#: name: (sequences, rows, columns, extra tokens, heads)
SIZES = {
    "SAM global": (1, 64, 64, 0, 12),
    "SAM windows": (25, 14, 14, 0, 12),
    "HIPT": (1, 64, 64, 1, 6),
}
HEAD = 64
ROWS = (64, 128, 256, 512, 1024, 2049)
REPEATS = 5


def main() -> None:
    """Prints one table per size."""
    for name, (sequences, h, w, extra, heads) in SIZES.items():
        length = h * w + extra
        draw = np.random.default_rng(0).normal
        shape = (sequences, length, heads, HEAD)
        arrays = [jnp.asarray(draw(size=shape), jnp.float32) for _ in range(3)]
        if not extra:
            arrays += [jnp.asarray(0.1 * draw(size=(2 * side - 1, HEAD)), jnp.float32) for side in (h, w)]
        ways: dict[str, Callable[..., Any]] = {"reference": reference_attention}
        if length > ROWS[-1]:
            ways |= {f"blocks of {rows}": functools.partial(blockwise_attention, rows=rows) for rows in ROWS}
        else:
            ways["folded, several windows at once"] = blockwise_attention
        flops = 4 * sequences * heads * length**2 * HEAD
        rows = [(way, *_time(function, arrays, flops)) for way, function in ways.items()]
        columns = ("how", "ms", "cpu ms", "GFLOP/s of two cores' cpu time", "temporary MB")
        console.table(f"{name}: {flops / 1e9:.1f} GFLOP", columns, rows)


def _time(function: Callable[..., Any], arrays: Sequence[Any], flops: int) -> tuple[str, ...]:
    compiled = jax.jit(function).lower(*arrays).compile()
    jax.block_until_ready(compiled(*arrays))
    wall, processor = [], []
    for _ in range(REPEATS):
        started, used = time.perf_counter(), time.process_time()
        jax.block_until_ready(compiled(*arrays))
        wall.append(time.perf_counter() - started)
        processor.append(time.process_time() - used)
    plan = compiled.memory_analysis()
    temporary = plan.temp_size_in_bytes if plan else 0
    rate = 2 * flops / min(processor)
    return (
        f"{1e3 * min(wall):.0f}",
        f"{1e3 * min(processor):.0f}",
        f"{rate / 1e9:.0f}",
        f"{temporary / 1e6:.0f}",
    )


if __name__ == "__main__":
    main()
