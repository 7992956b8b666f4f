"""The encoder at other sizes than in pretraining; equality with PyTorch is in tests/parity."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from sampath_jax.models.abstract import abstract
from sampath_jax.models.sam_encoder import GridAttention, SamEncoder
from tests.models import tiny


@pytest.fixture(scope="module")
def encoder():
    return tiny.module(lambda rngs: SamEncoder(tiny.SAM, rngs=rngs))


def test_positions_of_rows_and_columns_are_not_mixed_up():
    """On a 2 x 3 grid, against the definition written out pair by pair."""
    how = {"attention": "reference", "dtype": jnp.float32}
    attention = tiny.module(lambda rngs: GridAttention(4, 1, (2, 3), **how, rngs=rngs))
    x = np.random.default_rng(0).normal(size=(1, 2, 3, 4)).astype(np.float32)

    tokens = x.reshape(6, 4)
    q, k, v = np.split(tokens @ np.asarray(attention.qkv.kernel) + np.asarray(attention.qkv.bias), 3, axis=1)
    rel_h, rel_w = np.asarray(attention.rel_pos_h), np.asarray(attention.rel_pos_w)
    logits = np.empty((6, 6))
    for i in range(6):
        for j in range(6):
            rows, columns = i // 3 - j // 3 + 1, i % 3 - j % 3 + 2
            logits[i, j] = q[i] @ k[j] / 2 + q[i] @ rel_h[rows] + q[i] @ rel_w[columns]
    weights = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = weights @ v @ np.asarray(attention.proj.kernel) + np.asarray(attention.proj.bias)
    np.testing.assert_allclose(jax.jit(attention)(jnp.asarray(x)).reshape(6, 4), expected, atol=1e-5)


def test_windowed_blocks_attend_to_the_border(encoder):
    """The border comes after the normalisation: its q, k, v are the biases, and they take part."""
    block = encoder.blocks[
        0
    ]  # windows of 3 on a grid of 4 rows: the last window has one row and a border of two

    @jax.jit
    def run(x):
        last_window = jnp.pad(block.norm1(x)[:, 3:], ((0, 0), (0, 2), (0, 0), (0, 0)))
        middle = (x[:, 3:] + block.attn(last_window)[:, :1]).reshape(1, 3, 24)
        return block(x)[:, 3:].reshape(1, 3, 24), middle + block.mlp(block.norm2(middle))

    ours, expected = run(jnp.asarray(np.random.default_rng(0).normal(size=(1, 4, 3, 24)), jnp.float32))
    np.testing.assert_allclose(ours, expected, atol=1e-5)


@pytest.mark.parametrize("size", [(64, 80), (48, 96), (16, 16)])
def test_inputs_of_any_size_give_a_grid_of_patches(encoder, size):
    assert jax.eval_shape(encoder, jnp.zeros((2, *size, 3))).shape == (2, size[0] // 16, size[1] // 16, 24)


def test_products_in_bfloat16_keep_the_stream_in_float32():
    encoder = abstract(lambda rngs: SamEncoder(tiny.SAM, dtype=jnp.bfloat16, rngs=rngs))
    graphdef, state = nnx.split(encoder)
    jaxpr = jax.make_jaxpr(lambda s, x: nnx.merge(graphdef, s)(x))(state, jnp.zeros((1, 64, 80, 3)))
    embedding, *products = [e for e in jaxpr.eqns if e.primitive.name == "dot_general"]
    assert jaxpr.out_avals[0].dtype == jnp.float32
    assert embedding.invars[0].aval.dtype == jnp.float32  # of patches: in bfloat16 it would cost the most
    assert products
    assert all(x.aval.dtype == jnp.bfloat16 for e in products for x in e.invars)
