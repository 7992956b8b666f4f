"""The attention between tokens and patches; the transformer as a whole is compared in `tests/parity`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sampath_jax.models.two_way_transformer import GROUP, attend


def draw(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


@pytest.mark.parametrize("keys", [1, 7, GROUP, GROUP + 1, 200])
def test_attention_in_groups_is_attention(keys):
    q, k, v = (jnp.asarray(draw(i, 2, n, 3, 8)) for i, n in enumerate((5, keys, keys)))
    expected = jax.nn.dot_product_attention(q, k, v)
    np.testing.assert_allclose(attend(q, k, v), expected, rtol=0, atol=2e-6)


def test_the_sum_over_thousands_of_patches_keeps_its_digits():
    """Weights are alike and values have a mean, so that every partial sum rounds; one sum errs by 1e-6."""
    q, k, v = 0.1 * draw(0, 1, 6, 8, 16), 0.1 * draw(1, 1, 4096, 8, 16), 1 + draw(2, 1, 4096, 8, 16)
    exact = attend_in_float64(q, k, v)
    error = np.asarray(jax.jit(attend)(*map(jnp.asarray, (q, k, v)))) - exact
    assert np.sqrt((error**2).mean() / (exact**2).mean()) < 2e-7


def attend_in_float64(q, k, v):
    q, k, v = (x.astype(np.float64) for x in (q, k, v))
    logits = np.einsum("bnhd,bmhd->bhnm", q, k) / np.sqrt(q.shape[-1])
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return np.einsum("bhnm,bmhd->bnhd", weights / weights.sum(-1, keepdims=True), v)
