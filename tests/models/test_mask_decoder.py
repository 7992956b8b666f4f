import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

from sampath_jax.models.mask_decoder import MaskDecoder, Upscaling
from tests.models import tiny


@pytest.fixture(scope="module")
def decoder():
    return tiny.module(lambda rngs: MaskDecoder(3, width=16, heads=2, mlp_width=8, rngs=rngs))


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def test_upscaling_makes_squares():
    layer = Upscaling(1, 1, rngs=nnx.Rngs(0))
    layer.kernel[...] = jnp.asarray([[1.0, 2.0], [3.0, 4.0]])[..., None, None]
    grid = jnp.asarray([[1.0, 10.0, 100.0]])[None, ..., None]
    np.testing.assert_array_equal(
        layer(grid)[0, ..., 0],
        [[1, 2, 10, 20, 100, 200], [3, 4, 30, 40, 300, 400]],
    )


def test_upscaling_is_torchs_transposed_convolution():
    layer = tiny.module(lambda rngs: Upscaling(5, 3, rngs=rngs))
    grid = normal(2, 3, 4, 5)
    kernel = torch.tensor(np.asarray(layer.kernel)).permute(2, 3, 0, 1)
    theirs = torch.nn.functional.conv_transpose2d(
        torch.tensor(np.asarray(grid)).permute(0, 3, 1, 2),
        kernel,
        torch.tensor(np.asarray(layer.bias)),
        stride=2,
    )
    np.testing.assert_allclose(layer(grid), theirs.permute(0, 2, 3, 1), atol=1e-5)


def test_shapes_on_a_non_square_grid(decoder):
    arguments = normal(2, 3, 5, 16), normal(3, 5, 16), jnp.zeros((2, 0, 16))
    masks, iou = jax.eval_shape(decoder, *arguments)
    assert masks.shape == (2, 12, 20, 3)
    assert iou.shape == (2, 3)


def test_images_of_a_batch_do_not_see_each_other(decoder):
    grid, positions, prompts = normal(2, 3, 5, 16), normal(3, 5, 16, seed=1), normal(2, 4, 16, seed=2)
    run = jax.jit(decoder)
    masks, iou = run(grid, positions, prompts)
    other_masks, other_iou = run(grid.at[0].add(1.0), positions, prompts.at[0].add(1.0))
    np.testing.assert_allclose(other_masks[1], masks[1], atol=1e-5)
    np.testing.assert_allclose(other_iou[1], iou[1], atol=1e-5)
    assert np.abs(other_masks[0] - masks[0]).max() > 0.1


def test_every_mask_has_its_own_network(decoder):
    tokens = jnp.broadcast_to(normal(1, 1, 16), (1, 3, 16))
    drawn = jax.jit(decoder.draw)(tokens)[0]
    first = [np.asarray(layer.kernel[0]) for layer in decoder.output_hypernetworks_mlps.layers]
    biases = [np.asarray(layer.bias[0]) for layer in decoder.output_hypernetworks_mlps.layers]
    x = np.asarray(tokens[0, 0])
    for kernel, bias in zip(first[:2], biases[:2], strict=True):
        x = np.maximum(x @ kernel + bias, 0)
    np.testing.assert_allclose(drawn[0], x @ first[2] + biases[2], atol=1e-5)
    assert np.abs(drawn[0] - drawn[1]).max() > 0.1


def test_the_unread_mask_token_still_matters(decoder):
    """SAM-Path reads neither its mask nor its IoU, but it takes part in the attention between tokens."""
    arguments = normal(1, 3, 5, 16), normal(3, 5, 16), jnp.zeros((1, 0, 16))
    run = jax.jit(lambda decoder: decoder(*arguments)[0][..., 1:])
    before = run(decoder)
    changed = nnx.clone(decoder)
    changed.mask_tokens[...] = changed.mask_tokens[...].at[0].add(1.0)
    assert np.abs(run(changed) - before).max() > 1e-3
