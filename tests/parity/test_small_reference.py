"""Every stage at tiny width against float64 numbers of the original code (`shared/reference/small.npz`)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from convert import hipt, sam
from convert.table import Table, convert
from sampath_jax.models.abstract import abstract, shapes_of
from sampath_jax.models.config import HiptConfig, SamEncoderConfig
from sampath_jax.models.hipt_encoder import HiptEncoder
from sampath_jax.models.mask_decoder import MaskDecoder
from sampath_jax.models.neck import Neck
from sampath_jax.models.positions import hipt_positions
from sampath_jax.models.prompt_encoder import PromptEncoder
from sampath_jax.models.sam_encoder import SamEncoder
from sampath_jax.models.sam_path import class_map
from sampath_jax.weights import fill
from tests.parity.compare import ENCODER_TOLERANCE, HEAD_TOLERANCE, close
from tests.shared import SHARED, needs_shared

pytestmark = needs_shared


@pytest.fixture(scope="module")
def reference():
    assert SHARED is not None
    with np.load(SHARED / "reference" / "small.npz") as file:
        return dict(file)


def load(make, part, prefix, rows, reference):
    """The module `make(rngs)`, named `part` in SAM-Path, with the parameters below `prefix`."""
    empty = abstract(make)
    shapes = {f"{part}/{path}": shape for path, shape in shapes_of(empty).items()}
    tensors = {name.removeprefix(prefix): v for name, v in reference.items() if name.startswith(prefix)}
    arrays = convert(tensors, Table(rows), shapes, prefix).arrays
    return fill(empty, {path.removeprefix(f"{part}/"): value for path, value in arrays.items()})


def prefixed(reference, beginning, prefix, new):
    """Renames `beginning`... to `prefix + new`..., so that the rows of the full model apply."""
    return {
        f"{prefix}{new}{k.removeprefix(beginning)}": v
        for k, v in reference.items()
        if k.startswith(beginning)
    }


def channels_last(x):
    return np.moveaxis(np.asarray(x), 1, -1)


def test_sam_encoder_and_its_neck(reference):
    config = SamEncoderConfig(width=48, depth=2, heads=3, global_blocks=(1,), window=4, grid=(10, 10))
    body = {k: v for k, v in reference.items() if k.startswith("sam/p/") and not k.startswith("sam/p/neck")}
    body = prefixed(body, "sam/p/", "sam/p/", "image_encoder.")
    encoder = load(lambda rngs: SamEncoder(config, rngs=rngs), "sam_encoder", "sam/p/", sam.ENCODER, body)
    necks = prefixed(reference, "sam/p/neck", "sam/p/", "neck")
    neck = load(lambda rngs: Neck(48, 16, rngs=rngs), "neck", "sam/p/", sam.neck_rows("neck"), necks)
    tokens, reduced = jax.jit(lambda x: (t := encoder(x), neck(t)))(
        jnp.asarray(channels_last(reference["sam/in"]))
    )
    close(tokens, reference["sam/tokens"], ENCODER_TOLERANCE)
    close(reduced, channels_last(reference["sam/neck"]), ENCODER_TOLERANCE)


def test_hipt_encoder(reference):
    config = HiptConfig(width=48, depth=2, heads=3, grid=4)
    encoder = load(
        lambda rngs: HiptEncoder(config, rngs=rngs), "hipt_encoder", "hipt/p/", hipt.ROWS, reference
    )
    tokens = jax.jit(encoder)(jnp.asarray(channels_last(reference["hipt/in"])))
    close(tokens.reshape(2, 100, 48), reference["hipt/tokens"], ENCODER_TOLERANCE)


def test_position_interpolation(reference):
    close(hipt_positions(jnp.asarray(reference["pos/table"]), (64, 64), 14), reference["pos/out"], 1e-6)
    table = jnp.asarray(reference["hipt/p/pos_embed"])
    close(hipt_positions(table, (10, 10), 4), reference["hipt/pos"], 1e-6)


@pytest.fixture(scope="module")
def head(reference):
    """Neck, prompt constants and decoder; image 0 and 1 of the reference's tokens."""
    necks = prefixed(reference, "net/p/fusion_neck", "net/p/", "neck")
    decoders = prefixed(reference, "net/p/mask_decoder.", "net/p/", "mask_decoder.")
    neck = load(lambda rngs: Neck(96, 32, rngs=rngs), "neck", "net/p/", sam.neck_rows("neck"), necks)
    decoder = load(
        lambda rngs: MaskDecoder(7, width=32, mlp_width=64, rngs=rngs),
        "mask_decoder",
        "net/p/",
        sam.DECODER,
        decoders,
    )
    prompts = PromptEncoder(32, rngs=nnx.Rngs(0))
    prompts.no_mask_embed[...] = jnp.asarray(reference["net/p/no_mask"])
    prompts.positional_encoding[...] = jnp.asarray(reference["net/p/gauss"])
    return neck, prompts, decoder


def test_head(reference, head):
    neck, prompts, decoder = head
    hipt_tokens = reference["net/hipt_tokens"][:2].reshape(2, 10, 10, 48)
    features = jnp.asarray(np.concatenate([reference["net/sam_tokens"][:2], hipt_tokens], axis=-1))

    @jax.jit
    def run(features):
        fused, positions = neck(features), prompts.dense_positions((10, 10))
        masks, iou = decoder(fused + prompts.dense_embedding(), positions, jnp.zeros((2, 0, 32)))
        return fused, positions, masks[..., 1:], iou[:, 1:], class_map(masks[..., 1:], (64, 64))

    fused, positions, logits, iou, labels = run(features)
    close(positions, channels_last(reference["net/dense_pe"])[0], ENCODER_TOLERANCE)
    close(fused, channels_last(reference["net/embedding"]), ENCODER_TOLERANCE)
    close(logits[1:], channels_last(reference["net/masks_of_image_1"]), HEAD_TOLERANCE)
    close(iou, reference["net/iou"], HEAD_TOLERANCE)
    np.testing.assert_array_equal(labels, reference["net/class_map"])
