"""Which implementation computes an attention."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from sampath_jax.errors import InputError
from sampath_jax.models.attention import sharded
from sampath_jax.models.attention.blockwise import blockwise_attention
from sampath_jax.models.attention.cudnn import cudnn_attention
from sampath_jax.models.attention.reference import reference_attention
from sampath_jax.models.attention.splash import splash_attention

#: Values of `config.model.attention` beside "auto".
IMPLEMENTATIONS: dict[str, Callable[..., Array]] = {
    "reference": reference_attention,
    "blockwise": blockwise_attention,
    "cudnn": cudnn_attention,
    "splash": splash_attention,
}


def decomposed_attention(
    q: Float[Array, "B N heads d"],
    k: Float[Array, "B N heads d"],
    v: Float[Array, "B N heads d"],
    rel_h: Float[Array, "rh d"] | None = None,
    rel_w: Float[Array, "rw d"] | None = None,
    *,
    implementation: str = "auto",
) -> Float[Array, "B N heads d"]:
    """softmax(q k^T / sqrt(d) + relative positions) v over an h x w grid; or plain, without positions.

    `reference` says exactly what the positions add.

    Args:
        q: queries, row-major over the grid; one image or one window per batch element.
        k: keys.
        v: values.
        rel_h: the learned vector of each difference between the query's row and the key's, from -(h - 1) to
            h - 1; None for plain attention.
        rel_w: the same for columns.
        implementation: one of `IMPLEMENTATIONS`, or "auto": by device and type.

    Raises:
        InputError: an unknown implementation.
    """
    if implementation == "auto":
        implementation = best_for(jax.default_backend(), q.dtype)
    if implementation not in IMPLEMENTATIONS:
        raise InputError(f"attention {implementation!r} is unknown: use auto, {', '.join(IMPLEMENTATIONS)}")
    attention = IMPLEMENTATIONS[implementation]
    arrays = (q, k, v) if rel_h is None or rel_w is None else (q, k, v, rel_h, rel_w)
    if implementation != "reference" and jax.device_count() > 1:
        attention = sharded.split_over_devices(attention, len(arrays))
    return attention(*arrays)


def best_for(platform: str, dtype: DTypeLike) -> str:
    """The implementation for arrays of `dtype` on a `platform` as JAX names it."""
    if platform == "tpu":
        return "splash"
    if platform in ("gpu", "cuda") and jnp.dtype(dtype).itemsize == 2:
        return "cudnn"
    return "blockwise"
