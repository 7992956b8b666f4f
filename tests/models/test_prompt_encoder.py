import jax.numpy as jnp
import numpy as np
from flax import nnx

from sampath_jax.models.prompt_encoder import PromptEncoder


def test_codes_of_a_non_square_grid():
    encoder = PromptEncoder(width=4, rngs=nnx.Rngs(0))
    encoder.positional_encoding[...] = jnp.asarray([[0.25, 0.0], [0.0, 0.5]])  # x turns slowly, y faster
    codes = np.asarray(encoder.dense_positions((1, 2)))
    # centres: y = 1/2, x = 1/4 and 3/4; as 2 c - 1: y = 0, x = -1/2 and 1/2; angles 2 pi (x/4) and 2 pi (y/2)
    half = np.sqrt(0.5)
    np.testing.assert_allclose(codes, [[[-half, 0, half, 1], [half, 0, half, 1]]], atol=1e-6)


def test_the_dense_embedding_is_the_same_everywhere():
    encoder = PromptEncoder(width=4, rngs=nnx.Rngs(0))
    assert encoder.dense_embedding().shape == (1, 1, 1, 4)
    np.testing.assert_array_equal(encoder.dense_embedding()[0, 0, 0], encoder.no_mask_embed[...])
