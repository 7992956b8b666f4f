"""Every implementation of attention computes what the reference states."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax._src.cudnn import fused_attention_stablehlo

from sampath_jax.errors import InputError
from sampath_jax.models.attention import decomposed_attention, sharded
from sampath_jax.models.attention.blockwise import blockwise_attention
from sampath_jax.models.attention.choice import best_for
from sampath_jax.models.attention.cudnn import cudnn_attention
from sampath_jax.models.attention.folding import fold_positions
from sampath_jax.models.attention.reference import pairs, reference_attention
from sampath_jax.models.attention.splash import splash_attention
from sampath_jax.models.attention.terms import looked_up_terms, position_terms

H, W = 3, 5  # never square: rows and columns must not be interchangeable


def inputs(batch=2, h=H, w=W, heads=3, d=4, extra=0, dtype=jnp.float32):
    """Random q, k, v for an h x w grid (and `extra` tokens), and position tables."""
    draw = np.random.default_rng(0).normal
    q, k, v = (jnp.asarray(draw(size=(batch, h * w + extra, heads, d)), dtype) for _ in range(3))
    return q, k, v, *(jnp.asarray(draw(size=(2 * side - 1, d)), dtype) for side in (h, w))


#: Both ways of the blockwise implementation, whatever the length.
short = functools.partial(blockwise_attention, shortest=1024)
long = functools.partial(blockwise_attention, shortest=1)


def test_reference_is_the_formula_written_out():
    q, k, v, rel_h, rel_w = inputs()
    mixed = reference_attention(q, k, v, rel_h, rel_w)
    image, head = 1, 2
    for n in (0, 7, 14):
        y, x = divmod(n, W)
        logits = np.array(
            [
                q[image, n, head] @ k[image, m, head] / 2  # sqrt(4)
                + q[image, n, head] @ rel_h[y - m // W + H - 1]
                + q[image, n, head] @ rel_w[x - m % W + W - 1]
                for m in range(H * W)
            ]
        )
        weights = np.exp(logits) / np.exp(logits).sum()
        np.testing.assert_allclose(mixed[image, n, head], weights @ v[image, :, head], rtol=1e-5, atol=1e-6)


def test_pairs_count_from_the_key_to_the_query():
    table = jnp.arange(-2.0, 3.0)[:, None]
    np.testing.assert_array_equal(pairs(table)[..., 0], [[0, -1, -2], [1, 0, -1], [2, 1, 0]])


@pytest.mark.parametrize("terms", [position_terms, looked_up_terms])
def test_positions_are_rows_then_columns(terms):
    """One query direction, position vectors that count: the bias can be read off."""
    q = jnp.ones((1, 1, H * W, 1))
    rel_h, rel_w = 10 * jnp.arange(1.0 - H, H)[:, None], jnp.arange(1.0 - W, W)[:, None]
    rows, columns = terms(q, rel_h, rel_w)
    np.testing.assert_array_equal(rows[0, 0, 1 * W + 4], [10, 0, -10])  # the query at row 1, column 4
    np.testing.assert_array_equal(columns[0, 0, 1 * W + 4], [4, 3, 2, 1, 0])


def test_looked_up_terms_are_the_terms():
    q, _, _, *tables = inputs()
    q = q.swapaxes(1, 2)
    for actual, expected in zip(looked_up_terms(q, *tables), position_terms(q, *tables), strict=True):
        np.testing.assert_allclose(actual, expected, atol=1e-6)


@pytest.mark.parametrize("positions", [True, False])
@pytest.mark.parametrize(
    "blockwise",
    [
        short,
        *(functools.partial(long, rows=rows) for rows in (4, 5, 6, 15, 16)),  # not all divide 15 queries
    ],
)
def test_blockwise_is_the_reference(blockwise, positions):
    q, k, v, *tables = inputs()
    tables = tables if positions else (None, None)
    np.testing.assert_allclose(blockwise(q, k, v, *tables), reference_attention(q, k, v, *tables), atol=2e-6)


def test_blockwise_with_a_class_token():
    q, k, v, *_ = inputs(extra=1)
    np.testing.assert_allclose(long(q, k, v, rows=7), reference_attention(q, k, v), atol=2e-6)


@pytest.mark.parametrize("positions", [True, False])
@pytest.mark.parametrize("blockwise", [short, functools.partial(long, rows=4)])
def test_large_logits_stay_finite_and_exact(blockwise, positions):
    """Logits of some hundreds must not overflow, whatever is subtracted from them."""
    q, k, v, *tables = inputs()
    tables = tables if positions else (None, None)
    mixed = blockwise(100 * q, k, v, *tables)
    np.testing.assert_allclose(mixed, reference_attention(100 * q, k, v, *tables), atol=2e-4)


@pytest.mark.parametrize("largest", [60.0, 95.0, 1e4])
def test_one_key_far_above_the_sampled_ones(largest):
    """Below the range of float32's exponential the sample does; above, the block is computed again."""
    q, k, v = jnp.ones((1, 16, 1, 1)), jnp.zeros((1, 16, 1, 1)), jnp.arange(16.0)[None, :, None, None]
    k = k.at[0, 7].set(largest)  # the sample is keys 0, 5, 10 and 15
    np.testing.assert_allclose(long(q, k, v, rows=4), jnp.full(v.shape, 7.0), rtol=1e-6)


def test_not_a_number_is_not_hidden():
    q, k, v, *_ = inputs()
    assert jnp.isnan(long(q, k.at[0, 3].set(jnp.nan), v, rows=4)[0]).any()


@pytest.mark.parametrize("multiple", [1, 8, 128])
def test_folding_moves_positions_into_queries_and_keys(multiple):
    q, k, v, *tables = inputs()
    queries, keys = q.swapaxes(1, 2), k.swapaxes(1, 2)
    folded_q, folded_k = fold_positions(queries, keys, position_terms(queries, *tables), multiple=multiple)
    assert folded_q.shape[-1] == -(-(4 + H + W) // multiple) * multiple
    logits = jnp.einsum("bhnd,bhmd->bhnm", folded_q, folded_k) * 4**-0.5
    mixed = jnp.einsum("bhnm,bmhd->bnhd", jax.nn.softmax(logits), v)
    np.testing.assert_allclose(mixed, reference_attention(q, k, v, *tables), atol=2e-6)


def test_bfloat16_keeps_the_softmax_in_float32():
    q, k, v, *tables = inputs(dtype=jnp.bfloat16)
    exact = reference_attention(*(x.astype(jnp.float32) for x in (q, k, v, *tables)))
    for blockwise in (short, functools.partial(long, rows=4)):
        mixed = blockwise(q, k, v, *tables)
        assert mixed.dtype == jnp.bfloat16
        np.testing.assert_allclose(mixed.astype(jnp.float32), exact, atol=0.06)


def test_gradients_agree():
    q, k, v, *tables = inputs()

    def loss(attention, q):
        return jnp.sum(jnp.sin(attention(q, k, v, *tables)))

    expected = jax.grad(lambda q: loss(reference_attention, q))(q)
    actual = jax.grad(lambda q: loss(functools.partial(long, rows=4), q))(q)
    np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_blockwise_never_holds_the_whole_matrix():
    """Temporary memory at 32 x 32 grows with rows x keys, far below one head's keys x keys."""
    shape = jax.ShapeDtypeStruct((1, 32 * 32, 2, 8), jnp.float32)
    tables = [jax.ShapeDtypeStruct((63, 8), jnp.float32)] * 2

    def temporary(attention):
        return jax.jit(attention).lower(shape, shape, shape, *tables).compile().memory_analysis()

    whole = temporary(reference_attention).temp_size_in_bytes
    blocks = temporary(lambda *a: blockwise_attention(*a, rows=64)).temp_size_in_bytes
    assert whole > 2 * 4 * 1024**2
    assert blocks < 2e6


def test_unknown_implementation():
    with pytest.raises(InputError, match="blockwise"):
        decomposed_attention(*inputs(), implementation="flashy")


@pytest.mark.parametrize("positions", [True, False])
def test_splash_is_the_reference(positions):
    """The TPU kernel in the interpreter; 15 and 16 tokens are padded to one block of 128."""
    q, k, v, *tables = inputs(extra=0 if positions else 1)
    tables = tables if positions else (None, None)
    mixed = splash_attention(q, k, v, *tables, block=128, shortest=1, interpret=True)
    np.testing.assert_allclose(mixed, reference_attention(q, k, v, *tables), atol=2e-6)


@pytest.fixture
def plain_cudnn(monkeypatch):
    """Replaces cuDNN by XLA's own attention, which computes the same from the same arguments."""
    plain, calls = jax.nn.dot_product_attention, []

    def attention(q, k, v, bias=None, *, scale, implementation):
        assert implementation == "cudnn"
        calls.append((q.shape, None if bias is None else bias.shape))
        with jax.numpy_dtype_promotion("standard"):
            return plain(q, k, v, bias, scale=scale, implementation="xla")

    monkeypatch.setattr(jax.nn, "dot_product_attention", attention)
    return calls


@pytest.mark.parametrize(
    ("largest_head", "head", "bias"),
    [
        (16, (2, 15, 3, 16), None),  # 4 + 3 + 5 fit: folded, rounded up to a multiple of 8
        (8, (2, 15, 1, 4), (2, 1, 15, 15)),  # they do not: one head at a time, with a bias
    ],
)
def test_cudnn_is_the_reference(plain_cudnn, largest_head, head, bias):
    q, k, v, *tables = inputs(dtype=jnp.bfloat16)
    mixed = cudnn_attention(q, k, v, *tables, largest_head=largest_head)
    assert plain_cudnn == [(head, bias)]
    exact = reference_attention(*(x.astype(jnp.float32) for x in (q, k, v, *tables)))
    np.testing.assert_allclose(mixed.astype(jnp.float32), exact, atol=0.08)


def test_cudnn_without_positions(plain_cudnn):
    q, k, v, *_ = inputs(dtype=jnp.bfloat16, extra=1)
    mixed = cudnn_attention(q, k, v).astype(jnp.float32)
    assert plain_cudnn == [((2, 16, 3, 4), None)]
    np.testing.assert_allclose(mixed, reference_attention(q, k, v).astype(jnp.float32), atol=0.05)


def test_lowers_for_cuda(monkeypatch):
    """SAM ViT-B's global and windowed attention at full size become cuDNN calls; needs no GPU."""
    monkeypatch.setattr(fused_attention_stablehlo, "check_cudnn_version", lambda: 91000)
    monkeypatch.setattr(fused_attention_stablehlo, "check_compute_capability", lambda _: True)
    for batch, side in ((2, 64), (50, 14)):
        tokens = jax.ShapeDtypeStruct((batch, side * side, 12, 64), jnp.bfloat16)
        table = jax.ShapeDtypeStruct((2 * side - 1, 64), jnp.bfloat16)
        attention = jax.jit(lambda *a: cudnn_attention(*a, largest_head=256))
        program = jax.export.export(
            attention,
            platforms=["cuda"],
            disabled_checks=[jax.export.DisabledSafetyCheck.custom_call("__cudnn$fmhaSoftmax")],
        )(tokens, tokens, tokens, table, table)
        assert "__cudnn$fmhaSoftmax" in program.mlir_module()


def test_lowers_for_tpu():
    """SAM ViT-B's global attention at full size becomes one Mosaic kernel; needs no TPU."""
    tokens = jax.ShapeDtypeStruct((2, 4096, 12, 64), jnp.bfloat16)
    table = jax.ShapeDtypeStruct((127, 64), jnp.bfloat16)
    program = jax.export.export(jax.jit(splash_attention), platforms=["tpu"])(
        tokens, tokens, tokens, table, table
    )
    assert "tpu_custom_call" in program.mlir_module()


@pytest.mark.parametrize("positions", [True, False])
@pytest.mark.parametrize(
    "attention",
    [
        short,
        functools.partial(long, rows=4),
        functools.partial(splash_attention, block=128, shortest=1, interpret=True),
    ],
)
def test_devices_compute_their_own_images(attention, positions):
    """Split over the batch, nothing is exchanged and nothing changes."""
    q, k, v, *tables = inputs(batch=4)
    tables = tables if positions else []
    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    rows, whole = (jax.NamedSharding(mesh, jax.P(*axes)) for axes in (("data",), ()))
    attention = jax.jit(
        sharded.split_over_devices(attention, 3 + len(tables)),
        in_shardings=(rows,) * 3 + (whole,) * len(tables),
    )
    program = attention.lower(q, k, v, *tables).compile()
    assert not re.search(r"all-(gather|reduce|to-all)|collective-permute", program.as_text())
    mixed = attention(q, k, v, *tables)
    assert mixed.sharding.spec[0] == "data"
    np.testing.assert_allclose(mixed, reference_attention(q, k, v, *tables), atol=2e-6)


@pytest.mark.parametrize(
    ("platform", "dtype", "expected"),
    [
        ("cpu", jnp.float32, "blockwise"),
        ("cpu", jnp.bfloat16, "blockwise"),
        ("gpu", jnp.bfloat16, "cudnn"),
        ("gpu", jnp.float32, "blockwise"),
        ("tpu", jnp.bfloat16, "splash"),
    ],
)
def test_choice_by_device_and_type(platform, dtype, expected):
    assert best_for(platform, dtype) == expected
