"""Flash attention on TPUs: JAX's splash-attention kernel for long sequences, with the positions folded in."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sampath_jax.models.attention.blockwise import blockwise_attention
from sampath_jax.models.attention.folding import fold_positions
from sampath_jax.models.attention.terms import position_terms

#: Queries and keys per block of the kernel.
BLOCK = 512
#: Shorter sequences (windows) are one block each: XLA's own fusion is the better kernel for them.
SHORTEST = 1024


def splash_attention(
    q: Float[Array, "B N heads d"],
    k: Float[Array, "B N heads d"],
    v: Float[Array, "B N heads d"],
    rel_h: Float[Array, "rh d"] | None = None,
    rel_w: Float[Array, "rw d"] | None = None,
    *,
    block: int = BLOCK,
    shortest: int = SHORTEST,
    interpret: bool = False,
) -> Float[Array, "B N heads d"]:
    """The same as `reference_attention`; a sequence is padded to whole blocks, and the padding masked.

    Args:
        q: queries.
        k: keys.
        v: values.
        rel_h: as in `reference_attention`.
        rel_w: likewise.
        block: queries and keys per block; a multiple of 128 (the TPU's lanes).
        shortest: sequences below it go through `blockwise_attention`.
        interpret: run the kernel's Python on any device, for tests.
    """
    _, n, heads, d = q.shape
    if n < shortest:
        return blockwise_attention(q, k, v, rel_h, rel_w)
    q, k, v = (x.swapaxes(1, 2) for x in (q, k, v))
    if rel_h is not None and rel_w is not None:
        q, k = fold_positions(q, k, position_terms(q, rel_h, rel_w))
    spare = -n % block
    q, k, v = (jnp.pad(x, ((0, 0), (0, 0), (0, spare), (0, 0))) for x in (q * d**-0.5, k, v))
    kernel = _kernel(heads, n + spare, block, interpret)
    segments = _segments(n, spare)
    mixed = jax.vmap(lambda q, k, v: kernel(q, k, v, segment_ids=segments))(q, k, v)
    return mixed.swapaxes(1, 2)[:, :n].astype(v.dtype)


def _segments(n: int, spare: int):
    """Padding is a segment of its own: it attends, and is attended to, only by itself."""
    from jax.experimental.pallas.ops.tpu.splash_attention import SegmentIds

    ids = (jnp.arange(n + spare) >= n).astype(jnp.int32)
    return SegmentIds(ids, ids)


@functools.cache
def _kernel(heads: int, length: int, block: int, interpret: bool):
    """The kernel holds tables of its blocks: made once per shape. Imported here, as Pallas is slow to."""
    from jax.experimental.pallas.ops.tpu import splash_attention as splash

    mask = splash.MultiHeadMask([splash.FullMask((length, length))] * heads)
    sizes = splash.BlockSizes(block_q=block, block_kv=block, block_kv_compute=block)
    with jax.ensure_compile_time_eval():
        return splash.make_splash_mha(
            mask=mask, head_shards=1, q_seq_shards=1, block_sizes=sizes, interpret=interpret
        )
