"""What is frozen gets no gradient, and no optimiser ever sees it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from sampath_jax.models.freezing import frozen_names, split_frozen, split_head
from sampath_jax.trees import flatten
from tests.models import tiny


def loss(graphdef, head, frozen, images):
    logits, iou = nnx.merge(graphdef, head, frozen)(images)
    return (logits**2).mean() + (iou**2).mean()


def test_the_differentiated_tree_is_neck_and_decoder_only():
    graphdef, head, frozen = split_head(tiny.model())
    images = jax.ShapeDtypeStruct((1, 64, 48, 3), jnp.uint8)
    gradient = jax.eval_shape(lambda *a: jax.grad(loss, argnums=1)(graphdef, *a), head, frozen, images)
    assert flatten(gradient).keys() == flatten(head).keys()
    assert {path.split("/")[0] for path in flatten(gradient)} == {"neck", "mask_decoder"}
    assert {path.split("/")[0] for path in flatten(frozen)} == {
        "sam_encoder",
        "hipt_encoder",
        "prompt_encoder",
    }


def test_every_parameter_of_the_head_is_reached():
    graphdef, head, frozen = split_head(tiny.model())
    features = jnp.asarray(np.random.default_rng(0).normal(size=(1, 4, 3, 36)), jnp.float32)

    @jax.jit
    @jax.grad
    def gradient(head):
        logits, iou = nnx.merge(graphdef, head, frozen).decode(features)
        return (logits**2).mean() + (iou**2).mean()

    for path, value in flatten(gradient(head)).items():
        # what is added to all keys alike changes no attention: their bias has a gradient of zero
        assert np.abs(value).max() > 1e-7 or path.endswith("k_proj/bias"), path


def test_many_heads_share_one_encoder_pass():
    graphdef, head, frozen = split_head(tiny.model())
    features = jnp.asarray(np.random.default_rng(0).normal(size=(1, 4, 3, 36)), jnp.float32)
    heads = jax.tree.map(lambda x: jnp.stack([x, 0.5 * x]), head)

    @jax.jit
    def run(head, heads):
        def decode(head):
            return nnx.merge(graphdef, head, frozen).decode(features)

        return jax.vmap(decode)(heads), decode(head)

    together, (logits, iou) = run(head, heads)
    np.testing.assert_allclose(together[0][0], logits, atol=1e-4)
    np.testing.assert_allclose(together[1][0], iou, atol=1e-4)
    assert np.abs(together[0][1] - logits).max() > 0.1


@pytest.mark.parametrize(
    ("encoders", "train_neck", "frozen_names"),
    [
        (("sam", "hipt"), True, {"sam_encoder", "hipt_encoder", "prompt_encoder"}),
        (("sam",), True, {"sam_encoder", "prompt_encoder"}),
        (("sam",), False, {"sam_encoder", "prompt_encoder", "neck"}),
        (("hipt",), True, {"hipt_encoder", "prompt_encoder"}),
    ],
)
def test_what_is_frozen_in_each_variant(encoders, train_neck, frozen_names):
    _, head, frozen = split_head(tiny.model(encoders=encoders, train_neck=train_neck))
    assert set(frozen) == frozen_names
    assert set(head) == {"neck", "mask_decoder"} - frozen_names


def test_merging_gives_the_model_back():
    model = tiny.model()
    merged = nnx.merge(*split_head(model))
    before, after = flatten(nnx.as_pure(nnx.state(model))), flatten(nnx.as_pure(nnx.state(merged)))
    assert before.keys() == after.keys()
    for path, value in before.items():
        np.testing.assert_array_equal(after[path], value)


@pytest.mark.parametrize("wrong", ["sam_encodr", "image_encoder", "blocks"])
def test_a_wrong_rule_fails_loudly(wrong):
    with pytest.raises(ValueError, match=f"nothing to freeze in {wrong}.*sam_encoder"):
        split_frozen(tiny.model(), (wrong, "hipt_encoder", "prompt_encoder"))


def test_in_bfloat16_kernels_are_rounded_once_and_nothing_changes():
    model = tiny.model(encoder_dtype="bfloat16")
    graphdef, head, rounded = split_head(model)
    _, _, loaded = split_frozen(model, frozen_names(model))
    for path, array in flatten(rounded).items():
        product = path.endswith(tuple(f"/{n}/kernel" for n in ("qkv", "proj", "lin1", "lin2", "fc1", "fc2")))
        assert array.dtype == (jnp.bfloat16 if product else jnp.float32), path
    assert all(array.dtype == jnp.float32 for array in flatten(loaded).values())
    images = jnp.asarray(np.random.default_rng(0).integers(0, 256, (1, 64, 48, 3), np.uint8))
    encode = jax.jit(lambda frozen: nnx.merge(graphdef, head, frozen).encode(images))
    np.testing.assert_array_equal(encode(rounded), encode(loaded))


def test_a_float32_model_keeps_its_weights():
    model = tiny.model()
    _, _, frozen = split_head(model)
    np.testing.assert_array_equal(
        frozen["sam_encoder"]["blocks"][0]["attn"]["qkv"]["kernel"],
        model.sam_encoder.blocks[0].attn.qkv.kernel[...],
    )
