import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from sampath_jax.models.config import SamEncoderConfig, SamPathConfig
from sampath_jax.models.normalise import normalise
from sampath_jax.models.resize import resize_bilinear
from sampath_jax.models.sam_path import SamPath, class_map
from sampath_jax.weights import abstract_model
from tests.models import tiny


def tiles(height, width, count=2):
    return jnp.asarray(np.random.default_rng(0).integers(0, 256, (count, height, width, 3), np.uint8))


@pytest.fixture(scope="module")
def model():
    return tiny.model()


@pytest.fixture(scope="module")
def encode(model):
    return jax.jit(model.encode)


@pytest.mark.parametrize(("encoders", "width"), [(("sam", "hipt"), 36), (("sam",), 24), (("hipt",), 12)])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_variants(encoders, width, dtype):
    graphdef, state = nnx.split(abstract_model(tiny.config(encoders=encoders, encoder_dtype=dtype)))
    tops = {"sam": "sam_encoder", "hipt": "hipt_encoder"}
    assert set(state) == {tops[e] for e in encoders} | {"prompt_encoder", "neck", "mask_decoder"}

    images = jax.ShapeDtypeStruct((2, 64, 48, 3), jnp.uint8)
    features = jax.eval_shape(lambda s, x: nnx.merge(graphdef, s).encode(x), state, images)
    assert (features.shape, features.dtype) == ((2, 4, 3, width), jnp.dtype(dtype))
    logits, iou = jax.eval_shape(lambda s, x: nnx.merge(graphdef, s).decode(x), state, features)
    assert (logits.shape, logits.dtype) == ((2, 16, 12, 4), jnp.float32)
    assert (iou.shape, iou.dtype) == ((2, 4), jnp.float32)


@pytest.mark.parametrize(
    ("size", "parameters"), [("vit_b", 115914695), ("vit_l", 334522055), ("vit_h", 663269831)]
)
def test_full_sizes_abstractly(size, parameters):
    config = SamPathConfig(num_classes=5, sam=getattr(SamEncoderConfig, size)(), attention="reference")
    graphdef, state = nnx.split(abstract_model(config))
    assert sum(leaf.size for leaf in jax.tree.leaves(nnx.as_pure(state))) == parameters

    images = jax.ShapeDtypeStruct((2, 1024, 1024, 3), jnp.uint8)
    logits, iou = jax.eval_shape(lambda s, x: nnx.merge(graphdef, s)(x), state, images)
    assert (logits.shape, iou.shape) == ((2, 256, 256, 6), (2, 6))


def test_features_are_sams_then_hipts_and_a_call_is_encode_then_decode(model):
    @jax.jit
    def run(images):
        pixels = normalise(images)
        features = model.encode(images)
        return (
            model(images),
            features,
            model.decode(features),
            model.sam_encoder(pixels),
            model.hipt_encoder(pixels),
        )

    call, features, decoded, sam, hipt = run(tiles(64, 48))
    np.testing.assert_allclose(features[..., :24], sam, atol=1e-5)
    np.testing.assert_allclose(features[..., 24:], hipt, atol=1e-5)
    for ours, expected in zip(call, decoded, strict=True):
        np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_a_canvas_of_another_size_is_resized_after_normalisation(model):
    @jax.jit
    def run(images):
        return model.encode(images)[..., :24], model.sam_encoder(resize_bilinear(normalise(images), (64, 48)))

    ours, expected = run(tiles(50, 70))
    np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_whole_numbers_and_fractions_of_intensity_are_the_same_images(encode):
    images = tiles(64, 48)
    np.testing.assert_array_equal(encode(images), encode(images.astype(jnp.float32)))


def test_bfloat16_is_close_to_float32(encode):
    images = tiles(64, 48)
    low = jax.jit(tiny.model(encoder_dtype="bfloat16").encode)(images).astype(jnp.float32)
    exact = encode(images)
    error = float(jnp.abs(low - exact).max() / jnp.abs(exact).max())
    assert 1e-5 < error < 0.03


def test_the_same_parameters_are_not_held_twice(model):
    assert nnx.find_duplicates(model) == []
    assert isinstance(model, SamPath)


def test_class_map_never_gives_unlabelled_and_ties_go_to_the_lower_class():
    logits = jnp.asarray([[[[9.0, 1.0, 0.0], [9.0, 0.0, 1.0], [9.0, 2.0, 2.0]]]])
    np.testing.assert_array_equal(class_map(logits, (1, 3)), [[[1, 2, 1]]])
    assert class_map(logits, (1, 3)).dtype == jnp.uint8


def test_class_map_is_upsampled_before_the_best_is_chosen():
    # class 2 wins at both ends of the row, class 1 is a close second everywhere: it wins in between
    logits = jnp.asarray([[[[0.0, 0.9, 1.0, -2.0], [0.0, 0.9, -2.0, 1.0]]]])
    np.testing.assert_array_equal(class_map(logits, (2, 4))[0, 0], [2, 1, 1, 3])
