"""Flash attention on NVIDIA GPUs, by cuDNN through JAX; half precision only.

cuDNN's kernel takes heads of up to 128 dimensions, from Hopper on up to 256: SAM's 64 + 64 + 64 fold there.
On older GPUs the positions of long sequences are a bias instead, one head at a time.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from sampath_jax.models.attention.blockwise import blockwise_attention
from sampath_jax.models.attention.folding import fold_positions
from sampath_jax.models.attention.reference import position_bias
from sampath_jax.models.attention.terms import position_terms

#: cuDNN's largest head size before Hopper, and from Hopper (compute capability 9.0) on.
LARGEST_HEAD, LARGEST_HEAD_HOPPER = 128, 256
#: Head sizes are multiples of this.
MULTIPLE = 8


def cudnn_attention(
    q: Float[Array, "B N heads d"],
    k: Float[Array, "B N heads d"],
    v: Float[Array, "B N heads d"],
    rel_h: Float[Array, "rh d"] | None = None,
    rel_w: Float[Array, "rw d"] | None = None,
    *,
    largest_head: int | None = None,
) -> Float[Array, "B N heads d"]:
    """The same as `reference_attention` without a matrix of logits in memory; float32 goes blockwise.

    Args:
        q: queries.
        k: keys.
        v: values.
        rel_h: as in `reference_attention`.
        rel_w: likewise.
        largest_head: of the GPU; None asks the first one.
    """
    if q.dtype not in (jnp.bfloat16, jnp.float16):
        return blockwise_attention(q, k, v, rel_h, rel_w)
    if rel_h is None or rel_w is None:
        return _flash(q, k, v)
    largest = largest_head or _largest_head()
    queries, keys = q.swapaxes(1, 2), k.swapaxes(1, 2)
    terms = position_terms(queries, rel_h, rel_w)
    d = q.shape[-1]
    if d + sum(term.shape[-1] for term in terms) <= largest:
        queries, keys = fold_positions(queries, keys, terms, multiple=MULTIPLE)
        return _flash(queries.swapaxes(1, 2), keys.swapaxes(1, 2), v, scale=d**-0.5)
    return _with_bias(q, k, v, rel_h, rel_w)


def _flash(q: Array, k: Array, v: Array, *, bias: Array | None = None, scale: float | None = None) -> Array:
    """JAX asks for values as wide as the keys: zeros are added and cut off again."""
    width = v.shape[-1]
    wide = jnp.pad(v, ((0, 0), (0, 0), (0, 0), (0, k.shape[-1] - width)))
    return jax.nn.dot_product_attention(q, k, wide, bias, scale=scale, implementation="cudnn")[..., :width]


def _with_bias(q: Array, k: Array, v: Array, rel_h: Array, rel_w: Array) -> Array:
    """One head of all images after the other, so that only N x N numbers per image exist at a time."""

    def attend(head: tuple[Array, Array, Array]) -> Array:
        q, k, v = (x[:, :, None] for x in head)
        return _flash(q, k, v, bias=position_bias(q, rel_h, rel_w).astype(q.dtype))[:, :, 0]

    heads = tuple(jnp.moveaxis(x, 2, 0) for x in (q, k, v))
    return jnp.moveaxis(lax.map(attend, heads), 0, 2)


def _largest_head() -> int:
    """What the GPUs of this process take; all are taken to be of one kind."""
    capability = getattr(jax.local_devices()[0], "compute_capability", "0.0")
    return LARGEST_HEAD_HOPPER if float(capability) >= 9.0 else LARGEST_HEAD
