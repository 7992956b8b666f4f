"""Attention for CPUs: a bounded block of logits at a time, shaped so that XLA's fast CPU kernels apply.

Long sequences go one head and `ROWS` queries at a time: a block of logits stays in the last-level cache, and
its product, maximum and exponential are fused kernels that use all cores. Short ones (windows) go several at
once, with the positions folded into queries and keys. docs/performance.md has the measurements.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from sampath_jax.models.attention.folding import fold_positions, position_terms

#: Queries per block. Fewer leave the cores idle between small products, more fall out of the cache.
ROWS = 512
#: Logits per block of short sequences: windows are taken together up to this many.
SHORT_BLOCK = 1 << 22


def blockwise_attention(
    q: Float[Array, "B N heads d"],
    k: Float[Array, "B N heads d"],
    v: Float[Array, "B N heads d"],
    rel_h: Float[Array, "h h d"] | None = None,
    rel_w: Float[Array, "w w d"] | None = None,
    *,
    rows: int = ROWS,
) -> Float[Array, "B N heads d"]:
    """The same as `reference_attention`, with `rows` x N logits of one head in memory, or one short block."""
    if q.shape[1] <= rows:
        return _short(q, k, v, rel_h, rel_w)
    return _long(q, k, v, rel_h, rel_w, rows)


def _short(q: Array, k: Array, v: Array, rel_h: Array | None, rel_w: Array | None) -> Array:
    """Whole sequences, several at a time; the count divides the batch, so no padding is computed."""
    batch, n, heads, _ = q.shape
    most = max(1, SHORT_BLOCK // (heads * n * n))
    chunk = max(size for size in range(1, batch + 1) if batch % size == 0 and size <= most)
    sequences = tuple(x.reshape(batch // chunk, chunk, *x.shape[1:]) for x in (q, k, v))

    def attend(block: tuple[Array, Array, Array]) -> Array:
        q, k, v = block
        scale = q.shape[-1] ** -0.5
        if rel_h is not None and rel_w is not None:
            q, k = fold_positions(q, k, rel_h, rel_w)
        q, k, v = (x.swapaxes(1, 2) for x in (q * scale, k, v))
        logits = jnp.einsum("bhnd,bhmd->bhnm", q, k, preferred_element_type=jnp.float32)
        return _mix(logits, v, key_axes=(3,)).swapaxes(1, 2)

    return lax.map(attend, sequences).reshape(q.shape)


def _long(q: Array, k: Array, v: Array, rel_h: Array | None, rel_w: Array | None, rows: int) -> Array:
    """One head of one image after the other, its queries in equal blocks of at most `rows`."""
    batch, n, heads, d = q.shape
    blocks = -(-n // rows)
    size = -(-n // blocks)
    terms = () if rel_h is None or rel_w is None else position_terms(q, rel_h, rel_w)

    def by_head(x: Array) -> Array:
        return x.swapaxes(1, 2).reshape(batch * heads, n, x.shape[-1])

    def by_block(x: Array) -> Array:
        padded = jnp.pad(by_head(x), ((0, 0), (0, blocks * size - n), (0, 0)))
        return padded.reshape(batch * heads, blocks, size, x.shape[-1])

    def attend_head(head: tuple[tuple[Array, ...], Array, Array]) -> Array:
        queries, k, v = head

        def attend(block: tuple[Array, ...]) -> Array:
            q, *terms = block
            logits = jnp.einsum("nd,md->nm", q, k, preferred_element_type=jnp.float32)
            if terms:
                return _mix(_add_terms(logits, *terms), v, key_axes=(1, 2))
            return _mix(logits, v, key_axes=(1,))

        return lax.map(attend, queries).reshape(blocks * size, d)[:n]

    queries = tuple(by_block(x) for x in (q * d**-0.5, *terms))
    mixed = lax.map(attend_head, (queries, by_head(k), by_head(v)))
    return mixed.reshape(batch, heads, n, d).swapaxes(1, 2)


def _add_terms(
    logits: Float[Array, "n m"], rows: Float[Array, "n h"], columns: Float[Array, "n w"]
) -> Float[Array, "n h w"]:
    """Adds the position bias while the maximum is taken; the barrier keeps it out of the product's kernel.

    Fused into the product, the two broadcasts are computed element by element and double its time.
    """
    grid = lax.optimization_barrier(logits).reshape(len(logits), rows.shape[1], columns.shape[1])
    return grid + rows[:, :, None] + columns[:, None, :]


def _mix(logits: Float[Array, "..."], v: Float[Array, "*B m d"], key_axes: tuple[int, ...]) -> Array:
    """softmax(logits) v, divided after the product: d numbers per query instead of m."""
    weights = jnp.exp(logits - logits.max(key_axes, keepdims=True))
    total = weights.sum(key_axes)[..., None]
    weights = weights.reshape(*total.shape[:-1], v.shape[-2]).astype(v.dtype)
    mixed = jnp.einsum("...nm,...md->...nd", weights, v, preferred_element_type=jnp.float32)
    return (mixed / total).astype(v.dtype)
