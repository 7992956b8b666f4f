"""Layers applied to a piece of the tokens or an image at a time give what they give to all."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sampath_jax.models.pieces import by_image, by_pieces
from sampath_jax.models.sam_encoder import SamEncoder
from tests.models import tiny


def layers(x):
    """Tells tokens and channels apart; a window's tokens see each other."""
    return jnp.sin(3 * x) + (x.sum(-2, keepdims=True) if x.ndim == 4 else 0)


@pytest.mark.parametrize("shape", [(1, 12, 4), (2, 12, 4), (1, 13, 4), (3, 25, 5, 4), (2, 7, 1, 4)])
@pytest.mark.parametrize("tokens", [1, 4, 10, 1000])
def test_pieces_together_are_the_whole(shape, tokens):
    x = jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)
    pieces = jax.jit(lambda x: by_pieces(layers, x, tokens=tokens))(x)
    np.testing.assert_allclose(pieces, layers(x), atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "tokens", "piece"),
    [
        ((1, 4096, 8), 1024, (1, 1024, 8)),
        ((4, 4096, 8), 1024, (4, 256, 8)),
        ((1, 4097, 8), 1024, (1, 820, 8)),  # 5 pieces
        ((1, 25, 196, 8), 1024, (1, 5, 196, 8)),
        ((1, 25, 196, 8), 2048, (1, 5, 196, 8)),  # 3 pieces of 9 would compute two windows twice
        ((16, 25, 196, 8), 1024, (16, 1, 196, 8)),  # a window of every image is the least
        ((1, 64, 8), 1024, (1, 64, 8)),
    ],
)
def test_pieces_are_equal_and_no_larger_than_asked(shape, tokens, piece, monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    seen = set()

    def look(x):
        seen.add(x.shape)
        return x

    jax.eval_shape(lambda x: by_pieces(look, x, tokens=tokens), jnp.zeros(shape))
    assert seen == {piece}


@pytest.mark.parametrize(("images", "at_once"), [(6, 2), (5, 1), (2, 2), (1, 1)])
def test_images_take_turns_on_two_devices(images, at_once):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(images, 13, 6)), jnp.float32)
    seen = set()

    def look(x):
        seen.add(len(x))
        return layers(x)[:, 1:]

    np.testing.assert_allclose(jax.jit(lambda x: by_image(look, x))(x), layers(x)[:, 1:], atol=1e-6)
    assert seen == {at_once}


@pytest.mark.parametrize(
    "apply",
    [lambda x: by_pieces(layers, x, tokens=2), lambda x: by_image(layers, x)],
    ids=["pieces", "images"],
)
def test_devices_keep_their_images(apply):
    """Split over the batch, nothing is exchanged and nothing changes."""
    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 13, 6)), jnp.float32)
    split = jax.device_put(x, jax.NamedSharding(mesh, jax.P("data")))
    program = jax.jit(apply).lower(split).compile()
    assert "while" in program.as_text()
    assert not re.search(r"all-(gather|reduce|to-all)|collective-permute", program.as_text())
    np.testing.assert_allclose(program(split), layers(x), atol=1e-6)


def test_gradients_pass_through():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 13, 6)), jnp.float32)

    def loss(apply):
        return lambda x: jnp.sum(jnp.cos(apply(x)))

    actual = jax.grad(loss(lambda x: by_pieces(layers, x, tokens=4)))(x)
    np.testing.assert_allclose(actual, jax.grad(loss(layers))(x), atol=1e-6)


def test_working_memory_does_not_grow_with_the_depth_of_an_encoder():
    """What loops write to is not made for all blocks when the program starts."""
    config = dataclasses.replace(tiny.SAM, global_blocks=(1, 3, 5))
    two, six = (
        tiny.module(lambda rngs, d=depth: SamEncoder(dataclasses.replace(config, depth=d), rngs=rngs))
        for depth in (2, 6)
    )
    assert planned(six, 1) == pytest.approx(planned(two, 1), rel=0.05)


def test_working_memory_of_the_encoders_does_not_grow_with_the_batch():
    """Four images more on each of two devices add their features alone, which are held twice."""
    encode = tiny.model(input_size=(1024, 1024)).encode
    features = 2 * 64 * 64 * 36 * 4
    assert planned(encode, 12) - planned(encode, 4) <= 8 * features * 1.05


def planned(function, images):
    """Bytes of temporary memory."""
    shape = jax.ShapeDtypeStruct((images, 1024, 1024, 3), jnp.float32)
    return jax.jit(function).lower(shape).compile().memory_analysis().temp_size_in_bytes
