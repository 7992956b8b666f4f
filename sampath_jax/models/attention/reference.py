"""Attention as a formula: the meaning that every other implementation keeps."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def reference_attention(
    q: Float[Array, "B N heads d"],
    k: Float[Array, "B M heads d"],
    v: Float[Array, "B M heads d"],
    rel_h: Float[Array, "h h d"] | None = None,
    rel_w: Float[Array, "w w d"] | None = None,
) -> Float[Array, "B N heads d"]:
    """softmax(q k^T / sqrt(d) + position bias) v, with the whole matrix in memory; softmax in float32.

    `rel_h[i, j]` is the learned vector for a query in row i and a key in row j of the h x w grid, `rel_w` the
    same for columns. Their products are taken with the *unscaled* query, as SAM does.
    """
    logits = jnp.einsum("bnhd,bmhd->bhnm", q, k, preferred_element_type=jnp.float32) * q.shape[-1] ** -0.5
    if rel_h is not None and rel_w is not None:
        logits += position_bias(q, rel_h, rel_w)
    weights = jax.nn.softmax(logits, axis=-1).astype(v.dtype)
    return jnp.einsum("bhnm,bmhd->bnhd", weights, v)


def position_bias(
    q: Float[Array, "B N heads d"], rel_h: Float[Array, "h h d"], rel_w: Float[Array, "w w d"]
) -> Float[Array, "B heads N N"]:
    """The products q . rel_h[row of q, row of k] + q . rel_w[column of q, column of k], added."""
    batch, n, heads, d = q.shape
    h, w = len(rel_h), len(rel_w)
    grid = q.reshape(batch, h, w, heads, d)
    rows = jnp.einsum("byxnd,yjd->bnyxj", grid, rel_h, preferred_element_type=jnp.float32)
    columns = jnp.einsum("byxnd,xjd->bnyxj", grid, rel_w, preferred_element_type=jnp.float32)
    return (rows[..., :, None] + columns[..., None, :]).reshape(batch, heads, n, n)
