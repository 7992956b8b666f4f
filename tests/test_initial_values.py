import numpy as np

from sampath_jax.initial_values import fresh_head, random_weights

SHAPES = {
    "neck/conv1/kernel": (1, 1, 400, 64),
    "mask_decoder/iou_prediction_head/layers/2/kernel": (100, 50),
    "mask_decoder/iou_prediction_head/layers/2/bias": (50,),
    "mask_decoder/mask_tokens": (40, 100),
    "neck/norm1/scale": (64,),
    "neck/norm1/bias": (64,),
}


def test_fresh_heads_start_with_torchs_defaults():
    values = fresh_head(SHAPES, seed=0)
    kernel = values["neck/conv1/kernel"]
    assert 0.049 < np.abs(kernel).max() <= 0.05  # 1 / sqrt(400)
    assert abs(kernel.std() - 0.05 / np.sqrt(3)) < 1e-3
    assert (
        0.09 < np.abs(values["mask_decoder/iou_prediction_head/layers/2/bias"]).max() <= 0.1
    )  # 1 / sqrt(100)
    assert abs(values["mask_decoder/mask_tokens"].std() - 1) < 0.05
    assert (values["neck/norm1/scale"] == 1).all()
    assert (values["neck/norm1/bias"] == 0).all()


def test_values_depend_on_seed_and_path_and_nothing_else():
    everything = random_weights(SHAPES, seed=3)
    alone = random_weights({"neck/norm1/bias": (64,)}, seed=3)
    np.testing.assert_array_equal(alone["neck/norm1/bias"], everything["neck/norm1/bias"])
    other = random_weights(SHAPES, seed=4)
    assert all((other[path] != value).any() for path, value in everything.items())


def test_random_weights_are_the_same_on_every_machine():
    """The demo and the stored parity numbers rest on them."""
    values = random_weights({"a/pos_embed": (2, 2), "a/qkv/kernel": (1, 3)}, seed=0)
    np.testing.assert_allclose(
        values["a/pos_embed"], [[-0.053652, -0.193969], [0.374379, 0.708428]], atol=1e-6
    )
    np.testing.assert_allclose(values["a/qkv/kernel"], [[-1.138876, 2.422002, 1.012509]], atol=1e-6)


def test_no_random_weight_is_trivial():
    for path, value in random_weights(SHAPES, seed=0).items():
        assert value.dtype == np.float32
        assert value.shape == SHAPES[path]
        assert value.std() > 0
