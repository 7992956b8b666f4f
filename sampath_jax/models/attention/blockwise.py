"""Attention for CPUs: a bounded block of logits at a time, shaped so that XLA's fast CPU kernels apply.

Long sequences go one head and `ROWS` queries at a time, and nothing between product and exponential waits for
a whole row of logits. Short ones (windows) go several at once, with the positions folded into queries and
keys. docs/performance.md has the measurements.
"""

import math

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from sampath_jax.models.attention.folding import fold_positions
from sampath_jax.models.attention.loops import map_in_place
from sampath_jax.models.attention.terms import looked_up_terms, position_terms

#: Queries per block: half of HIPT's tokens. In blocks of a few hundred the cores hand most logits to each
#: other between two operations, which takes attention twice as long where they share no cache.
ROWS = 2049
#: Shorter sequences are taken whole.
SHORTEST = 512
#: Logits per block of short sequences: windows are taken together up to this many.
SHORT_BLOCK = 1 << 22


def blockwise_attention(
    q: Float[Array, "B N heads d"],
    k: Float[Array, "B N heads d"],
    v: Float[Array, "B N heads d"],
    rel_h: Float[Array, "rh d"] | None = None,
    rel_w: Float[Array, "rw d"] | None = None,
    *,
    rows: int = ROWS,
    shortest: int = SHORTEST,
) -> Float[Array, "B N heads d"]:
    """The same as `reference_attention`, with `rows` x N logits of one head in memory, or one short block.

    Args:
        q: queries.
        k: keys.
        v: values.
        rel_h: as in `reference_attention`.
        rel_w: likewise.
        rows: queries per block of a long sequence.
        shortest: sequences below it are short.
    """
    if q.shape[1] < shortest:
        return _short(q, k, v, rel_h, rel_w)
    return _long(q, k, v, rel_h, rel_w, rows)


def _short(q: Array, k: Array, v: Array, rel_h: Array | None, rel_w: Array | None) -> Array:
    """Whole sequences, several at a time; the count divides the batch, so no padding is computed."""
    batch, n, heads, _ = q.shape
    most = max(1, SHORT_BLOCK // (heads * n * n))
    chunk = max(size for size in range(1, batch + 1) if batch % size == 0 and size <= most)
    sequences = tuple(x.reshape(batch // chunk, chunk, *x.shape[1:]) for x in (q, k, v))

    def attend(*block: Array) -> Array:
        q, k, v = (x.swapaxes(1, 2) for x in block)
        scale = q.shape[-1] ** -0.5
        if rel_h is not None and rel_w is not None:
            q, k = fold_positions(q, k, looked_up_terms(q, rel_h, rel_w))
        logits = jnp.einsum("bhnd,bhmd->bhnm", q * scale, k, preferred_element_type=jnp.float32)
        mixed, total = _mix(jnp.exp(logits - logits.max(-1, keepdims=True)), v)
        return (mixed / total).astype(v.dtype).swapaxes(1, 2)

    return map_in_place(attend, *sequences).reshape(q.shape)


def _long(q: Array, k: Array, v: Array, rel_h: Array | None, rel_w: Array | None, rows: int) -> Array:
    """One head of one image after the other, its queries in equal blocks of at most `rows`.

    Softmax stays the same whatever is subtracted from a query's logits. Their maximum would be known only
    after a whole row, and the exponential be a second pass over memory; so the maximum of a sample of keys,
    found beforehand, takes its place. A block that overflows all the same is done again with the true one.
    """
    batch, n, heads, d = q.shape
    blocks = -(-n // rows)
    size = -(-n // blocks)
    q, k, v = (x.swapaxes(1, 2) for x in (q, k, v))
    terms = () if rel_h is None or rel_w is None else position_terms(q, rel_h, rel_w)
    q = q * d**-0.5

    def by_head(x: Array) -> Array:
        return x.reshape(batch * heads, *x.shape[2:])

    def by_block(x: Array) -> Array:
        padded = jnp.pad(x, ((0, 0), (0, 0), (0, blocks * size - n), (0, 0)))
        return padded.reshape(batch * heads, blocks, size, x.shape[-1])

    def attend_head(q: Array, k: Array, v: Array, sampled: Array, *terms: Array) -> Array:
        def attend(q: Array, sampled: Array, *terms: Array) -> Array:
            def softmax_from(most: Array | None) -> tuple[Array, Array]:
                logits = _logits(q, k, *terms)
                keys = tuple(range(1, logits.ndim))
                most = logits.max(keys, keepdims=True) if most is None else jnp.expand_dims(most, keys[1:])
                return _mix(jnp.exp(logits - most).reshape(len(q), -1), v)

            mixed, total = softmax_from(sampled)
            finite = jnp.isfinite(mixed).all() & jnp.isfinite(total).all()
            mixed, total = lax.cond(finite, lambda: (mixed, total), lambda: softmax_from(None))
            return (mixed / total).astype(v.dtype)

        return map_in_place(attend, q, sampled, *terms)

    sampled, *terms_of_blocks = (by_block(x) for x in (_sampled_maximum(q, k, *terms), *terms))
    mixed = map_in_place(attend_head, by_block(q), by_head(k), by_head(v), sampled, *terms_of_blocks)
    return mixed.reshape(batch, heads, blocks * size, d)[:, :, :n].swapaxes(1, 2)


def _sampled_maximum(q: Array, k: Array, rows: Array | None = None, columns: Array | None = None) -> Array:
    """The largest logit of each query among about sqrt(N) keys: on a square grid, those of its diagonal."""
    keys = np.arange(0, k.shape[2], math.isqrt(k.shape[2]) + 1)
    logits = jnp.einsum("bhnd,bhmd->bhnm", q, k[:, :, keys], preferred_element_type=jnp.float32)
    if rows is not None and columns is not None:
        y, x = np.divmod(keys, columns.shape[-1])
        logits += rows[..., y] + columns[..., x]
    return logits.max(-1, keepdims=True)


def _logits(
    q: Float[Array, "n d"],
    k: Float[Array, "m d"],
    rows: Float[Array, "n h"] | None = None,
    columns: Float[Array, "n w"] | None = None,
) -> Array:
    """Of one head: [n, m], or with positions [n, h, w]."""
    logits = jnp.einsum("nd,md->nm", q, k, preferred_element_type=jnp.float32)
    if rows is None or columns is None:
        return logits
    grid = logits.reshape(len(q), rows.shape[1], columns.shape[1])
    return grid + rows[:, :, None] + columns[:, None, :]


def _mix(weights: Float[Array, "*B n m"], v: Float[Array, "*B m d"]) -> tuple[Array, Array]:
    """Weighted sums of the values, and the sums of the weights to divide them by: cheaper than m weights."""
    total = weights.sum(-1, keepdims=True)
    mixed = jnp.einsum("...nm,...md->...nd", weights.astype(v.dtype), v, preferred_element_type=jnp.float32)
    return mixed, total
