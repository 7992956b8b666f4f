"""Encoders and head against PyTorch, side by side: transformers' SAM, plain modules for the rest."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from sampath_jax.models.normalise import normalise
from tests.parity import ours, seeded, torch_models
from tests.parity.compare import ENCODER_TOLERANCE, HEAD_TOLERANCE, close, errors

SIZES = ["tiny", pytest.param("full", marks=pytest.mark.full)]


def pixels(config):
    """The seeded image as both sides see it, channels first."""
    return torch.tensor(np.asarray(normalise(jnp.asarray(seeded.image(config))))).permute(0, 3, 1, 2)


@pytest.mark.parametrize("size", SIZES)
@torch.no_grad()
def test_sam_encoder(size):
    config = seeded.SIZES[size]
    theirs = torch_models.sam_encoder(seeded.weights(config), config)(pixels(config)).last_hidden_state
    check_tokens("sam_tokens", theirs.numpy(), size)


@pytest.mark.parametrize("size", SIZES)
@torch.no_grad()
def test_hipt_encoder(size):
    config = seeded.SIZES[size]
    theirs = torch_models.hipt_encoder(seeded.weights(config), config)(pixels(config))
    check_tokens("hipt_tokens", theirs.numpy(), size)


def check_tokens(name, theirs, size):
    """Close to PyTorch, and at most twice as far from the stored float64 numbers as PyTorch is now."""
    value, step = ours.stages(size)[name], seeded.STEPS[size][name]
    close(value, theirs, ENCODER_TOLERANCE)
    exact = np.load(seeded.DATA / f"{size}.npz")[name]
    own, torchs = (errors(seeded.thin(v, step), exact) for v in (value, theirs))
    assert own[0] <= 2 * torchs[0]
    assert own[1] <= 2 * torchs[1]


@pytest.mark.full
@torch.no_grad()
def test_head_at_full_size():
    config, stages = seeded.SIZES["full"], ours.stages("full")
    features = torch.tensor(np.concatenate([stages["sam_tokens"], stages["hipt_tokens"]], axis=-1))
    check_head(stages, torch_models.head(seeded.weights(config), config), features)


@pytest.mark.parametrize("encoders", [("sam", "hipt"), ("sam",), ("hipt",)])
@torch.no_grad()
def test_head_of_every_variant(encoders):
    """Two images at once on a non-square grid; PyTorch decodes them one by one."""
    config = dataclasses.replace(seeded.SIZES["tiny"], encoders=encoders)
    features = np.random.default_rng(1).normal(size=(2, 5, 7, config.feature_width)).astype(np.float32)
    fused, (logits, iou) = jax.jit(lambda m, x: (m.neck(x), m.decode(x)))(ours.model(config), features)
    stages = {"fused": fused, "logits": logits, "iou": iou}
    check_head(stages, torch_models.head(seeded.weights(config), config), torch.tensor(features))


def check_head(stages, theirs, features):
    fused = theirs.neck(features.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    logits, iou = theirs(features)
    close(stages["fused"], fused.numpy(), ENCODER_TOLERANCE)
    close(stages["logits"], logits.numpy(), HEAD_TOLERANCE)
    close(stages["iou"], iou.numpy(), HEAD_TOLERANCE)


@torch.no_grad()
def test_hipt_on_a_non_square_image():
    config = dataclasses.replace(seeded.SIZES["tiny"], encoders=("hipt",), input_size=(96, 160))
    theirs = torch_models.hipt_encoder(seeded.weights(config), config)(pixels(config))
    features = jax.jit(lambda m, x: m.encode(x))(ours.model(config), jnp.asarray(seeded.image(config)))
    close(features, theirs.numpy(), ENCODER_TOLERANCE)
