"""SAM's relative positions as extra dimensions of queries and keys: plain attention kernels compute them.

The bias rows[ky] + columns[kx] is (rows, columns) times one-hot codes of the key's row and column:

    (q, rows, columns) . (k, one-hot ky, one-hot kx) = q.k + rows[ky] + columns[kx]

No N x N bias exists anywhere. The price is a head of d + h + w dimensions in the first of the two products.
"""

import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from sampath_jax.models.attention.terms import Terms


def fold_positions(
    q: Float[Array, "B heads N d"],
    k: Float[Array, "B heads N d"],
    terms: Terms,
    *,
    multiple: int = 1,
) -> tuple[Float[Array, "B heads N e"], Float[Array, "B heads N e"]]:
    """Queries and keys whose dot product, times d**-0.5, is SAM's logit.

    Args:
        q: queries, row-major over the h x w grid.
        k: keys, likewise.
        terms: the bias of each key row and of each key column.
        multiple: zeros are added until d + h + w is a multiple of this; kernels ask for 8 or 128.
    """
    *start, n, d = q.shape
    h, w = (term.shape[-1] for term in terms)
    spare = jnp.zeros((*start, n, -(d + h + w) % multiple), q.dtype)
    codes = jnp.broadcast_to(_grid_codes(h, w, k.dtype), (*start, n, h + w))
    queries = jnp.concatenate([q, *((term * d**0.5).astype(q.dtype) for term in terms), spare], axis=-1)
    return queries, jnp.concatenate([k, codes, spare], axis=-1)


def _grid_codes(h: int, w: int, dtype: DTypeLike) -> Float[Array, "N c"]:
    """One-hot row and one-hot column of each position of a row-major h x w grid."""
    rows = jnp.repeat(jnp.eye(h, dtype=dtype), w, axis=0)
    return jnp.concatenate([rows, jnp.tile(jnp.eye(w, dtype=dtype), (h, 1))], axis=1)
