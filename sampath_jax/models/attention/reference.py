"""Attention as a formula: the meaning that every other implementation keeps."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def reference_attention(
    q: Float[Array, "B N heads d"],
    k: Float[Array, "B M heads d"],
    v: Float[Array, "B M heads d"],
    rel_h: Float[Array, "rh d"] | None = None,
    rel_w: Float[Array, "rw d"] | None = None,
) -> Float[Array, "B N heads d"]:
    """softmax(q k^T / sqrt(d) + position bias) v, with the whole matrix in memory; softmax in float32.

    `rel_h` has the learned vector of each difference between the query's row and the key's on the h x w grid,
    from -(h - 1) to h - 1; `rel_w` the same for columns. Both multiply the *unscaled* query, as in SAM.
    """
    logits = jnp.einsum("bnhd,bmhd->bhnm", q, k, preferred_element_type=jnp.float32) * q.shape[-1] ** -0.5
    if rel_h is not None and rel_w is not None:
        logits += position_bias(q, rel_h, rel_w)
    weights = jax.nn.softmax(logits, axis=-1).astype(v.dtype)
    return jnp.einsum("bhnm,bmhd->bnhd", weights, v)


def position_bias(
    q: Float[Array, "B N heads d"], rel_h: Float[Array, "rh d"], rel_w: Float[Array, "rw d"]
) -> Float[Array, "B heads N N"]:
    """The products q . rel_h[of the rows] + q . rel_w[of the columns], for each query and key."""
    batch, n, heads, d = q.shape
    by_row, by_column = pairs(rel_h), pairs(rel_w)
    h, w = len(by_row), len(by_column)
    grid = q.reshape(batch, h, w, heads, d)
    rows = jnp.einsum("byxnd,yjd->bnyxj", grid, by_row, preferred_element_type=jnp.float32)
    columns = jnp.einsum("byxnd,xjd->bnyxj", grid, by_column, preferred_element_type=jnp.float32)
    return (rows[..., :, None] + columns[..., None, :]).reshape(batch, heads, n, n)


def pairs(table: Float[Array, "r d"]) -> Float[Array, "s s d"]:
    """The vector of each query row q and key row k (or columns): table[q - k + s - 1], with 2 s - 1 = r."""
    return table[differences((len(table) + 1) // 2)]


def differences(side: int) -> np.ndarray:
    """Where the table has the vector of each query row and key row: [side, side], int."""
    at = np.arange(side)
    return at[:, None] - at[None] + side - 1
