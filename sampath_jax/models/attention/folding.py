"""SAM's relative positions as extra dimensions of queries and keys: plain attention kernels compute them.

The bias of a query at (y, x) is rows[ky] + columns[kx], with rows = rel_h[y] q and columns = rel_w[x] q.
That is a dot product of (rows, columns) with one-hot codes of the key's row and column:

    (q, rows, columns) . (k, one-hot ky, one-hot kx) = q.k + rows[ky] + columns[kx]

No N x N bias exists anywhere. The price is a head of d + h + w dimensions in the first of the two products.
"""

import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float


def position_terms(
    q: Float[Array, "B N heads d"], rel_h: Float[Array, "h h d"], rel_w: Float[Array, "w w d"]
) -> tuple[Float[Array, "B N heads h"], Float[Array, "B N heads w"]]:
    """Per query, the bias of each key row and of each key column; float32, from the unscaled query."""
    batch, n, heads, d = q.shape
    h, w = len(rel_h), len(rel_w)
    grid = q.reshape(batch, h, w, heads, d)
    rows = jnp.einsum("byxnd,yjd->byxnj", grid, rel_h, preferred_element_type=jnp.float32)
    columns = jnp.einsum("byxnd,xjd->byxnj", grid, rel_w, preferred_element_type=jnp.float32)
    return rows.reshape(batch, n, heads, h), columns.reshape(batch, n, heads, w)


def fold_positions(
    q: Float[Array, "B N heads d"],
    k: Float[Array, "B N heads d"],
    rel_h: Float[Array, "h h d"],
    rel_w: Float[Array, "w w d"],
    *,
    multiple: int = 1,
) -> tuple[Float[Array, "B N heads e"], Float[Array, "B N heads e"]]:
    """Queries and keys whose dot product, times d**-0.5, is SAM's logit.

    Args:
        q: queries, row-major over the h x w grid.
        k: keys, likewise.
        rel_h: `rel_h[i, j]` for query row i, key row j.
        rel_w: the same for columns.
        multiple: zeros are added until d + h + w is a multiple of this; kernels ask for 8 or 128.
    """
    batch, n, heads, d = q.shape
    h, w = len(rel_h), len(rel_w)
    terms = [term * d**0.5 for term in position_terms(q, rel_h, rel_w)]
    spare = jnp.zeros((batch, n, heads, -(d + h + w) % multiple), q.dtype)
    codes = _grid_codes(h, w, k.dtype)[None, :, None]
    codes = jnp.broadcast_to(codes, (batch, n, heads, h + w))
    queries = jnp.concatenate([q, *(term.astype(q.dtype) for term in terms), spare], axis=-1)
    return queries, jnp.concatenate([k, codes, spare], axis=-1)


def _grid_codes(h: int, w: int, dtype: DTypeLike) -> Float[Array, "N c"]:
    """One-hot row and one-hot column of each position of a row-major h x w grid."""
    rows = jnp.repeat(jnp.eye(h, dtype=dtype), w, axis=0)
    return jnp.concatenate([rows, jnp.tile(jnp.eye(w, dtype=dtype), (h, 1))], axis=1)
