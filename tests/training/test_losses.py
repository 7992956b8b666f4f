import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from sampath_jax.training.losses import LossWeights, focal_loss, sampath_loss
from tests.shared import SHARED, needs_shared

PUBLISHED = LossWeights(0.25, 0.0625, "published")
EXACT = LossWeights(0.25, 0.0625, "exact")
EITHER = pytest.mark.parametrize("weights", [PUBLISHED, EXACT], ids=["published", "exact"])

loss = jax.jit(sampath_loss)


def batch(seed: int = 0, *, tiles: int = 3, size=(40, 72), low=(10, 18), channels: int = 4):
    """Random logits, IoU predictions and labels of non-square tiles; a fifth of the pixels has no label."""
    r = np.random.default_rng(seed)
    labels = r.integers(1, channels, (tiles, *size), dtype=np.uint8)
    labels[r.random(labels.shape) < 0.2] = 0
    logits = r.normal(0, 3, (tiles, *low, channels)).astype(np.float32)
    iou = r.normal(0.4, 0.3, (tiles, channels)).astype(np.float32)
    return jnp.asarray(logits), jnp.asarray(iou), jnp.asarray(labels), jnp.ones(tiles, bool)


def published_loss(logits, iou, labels) -> dict[str, torch.Tensor]:
    """The formulas of the published loss, at full size at once."""
    labels = torch.tensor(np.asarray(labels).astype(np.int64))
    x = torch.nn.functional.interpolate(logits.permute(0, 3, 1, 2), labels.shape[1:], mode="bilinear")
    x = x * (labels > 0)[:, None]
    y = torch.nn.functional.one_hot(labels, x.shape[1]).permute(0, 3, 1, 2).double()[:, 1:]
    s = x.softmax(1)[:, 1:]
    overlap, mass = (s * y).sum((2, 3)), (s + y).sum((2, 3))
    dice = (1 - (2 * overlap + 1e-5) / (mass + 1e-5)).mean()
    bce = torch.nn.functional.binary_cross_entropy_with_logits(x[:, 1:], y, reduction="none")
    focal = ((1 - torch.exp(-bce)) ** 2 * bce).mean()
    hard = (s >= 0.5).double()
    both = (hard * y).sum((2, 3))
    true = both / ((hard + y).sum((2, 3)) - both + 1e-7)
    regression = ((iou[:, 1:] - true) ** 2).mean()
    total = 0.75 * dice + 0.25 * focal + 0.0625 * regression
    return {"total": total, "dice": dice, "focal": focal, "iou": regression}


def double(array) -> torch.Tensor:
    return torch.tensor(np.asarray(array), dtype=torch.float64, requires_grad=True)


# 40: one block. 150: three blocks of 50. 131: three blocks of 44, the last with a row to spare.
@pytest.mark.parametrize("size", [(40, 72), (150, 72), (131, 52)])
def test_published_treatment_agrees_with_the_formulas(size):
    logits, iou, labels, valid = batch(size=size)
    ours = loss(logits, iou, labels, valid, PUBLISHED)
    for name, value in published_loss(double(logits), double(iou), labels).items():
        np.testing.assert_allclose(getattr(ours, name), value.detach(), rtol=2e-6, err_msg=name)


@EITHER
def test_fully_labelled_tiles_are_treated_alike(weights):
    logits, iou, labels, valid = batch()
    labels = jnp.maximum(labels, 1)
    expected = published_loss(double(logits), double(iou), labels)["total"].item()
    np.testing.assert_allclose(loss(logits, iou, labels, valid, weights).total, expected, rtol=2e-6)


def test_gradients_agree_with_torch():
    logits, iou, labels, valid = batch(size=(131, 52))
    total = jax.jit(jax.grad(lambda a, b: sampath_loss(a, b, labels, valid, PUBLISHED).total, argnums=(0, 1)))
    leaves = double(logits), double(iou)
    published_loss(*leaves, labels)["total"].backward()
    for gradient, leaf in zip(total(logits, iou), leaves, strict=True):
        np.testing.assert_allclose(gradient, leaf.grad, rtol=1e-4, atol=1e-6 * leaf.grad.abs().max())


def test_values_of_unlabelled_pixels_as_published():
    """ORIGINAL.md: an unlabelled pixel adds 0.25 ln 2 to focal; an unlabelled tile has Dice loss 1."""
    logits, iou, labels, valid = batch()
    parts = loss(logits, iou, jnp.zeros_like(labels), valid, PUBLISHED)
    np.testing.assert_allclose(parts.focal, 0.25 * np.log(2), rtol=1e-6)
    np.testing.assert_allclose(parts.dice, 1, rtol=1e-6)


@pytest.mark.parametrize(
    ("unlabelled", "dice", "focal"), [(0.0, 0.0002, 5e-6), (0.2, 0.095, 0.035), (0.5, 0.294, 0.087)]
)
def test_a_near_perfect_prediction_as_published(unlabelled, dice, focal):
    """The values that the original was measured to give for a share of unlabelled pixels."""
    labels = np.broadcast_to(np.repeat(np.arange(1, 6, dtype=np.uint8), 10), (1, 20, 50)).copy()
    target = jax.nn.one_hot(jnp.asarray(labels), 6)
    rows = round(20 * unlabelled)
    logits = target * 20.0 - 10.0
    labels[:, :rows] = 0
    parts = loss(logits, jnp.zeros((1, 6)), jnp.asarray(labels), jnp.ones(1, bool), PUBLISHED)
    np.testing.assert_allclose(parts.dice, dice, atol=1e-3)
    np.testing.assert_allclose(parts.focal, focal, atol=6e-4)
    perfect = loss(logits, jnp.ones((1, 6)), jnp.asarray(labels), jnp.ones(1, bool), EXACT)
    assert max(perfect) < 1e-5


@EITHER
def test_a_short_batch_equals_its_valid_tiles(weights):
    logits, iou, labels, valid = batch(tiles=4)
    short = loss(logits, iou, labels.at[2:].set(0), valid.at[2:].set(False), weights)
    alone = loss(logits[:2], iou[:2], labels[:2], valid[:2], weights)
    np.testing.assert_allclose(short, alone, rtol=1e-6)


@EITHER
def test_padding_has_no_gradient(weights):
    logits, iou, labels, valid = batch(tiles=3)
    total = lambda a, b: sampath_loss(a, b, labels, valid.at[1].set(False), weights).total  # noqa: E731
    gradients = jax.jit(jax.grad(total, argnums=(0, 1)))(logits, iou)
    for gradient in gradients:
        assert not gradient[1].any()
        assert gradient[0].any()


@EITHER
@pytest.mark.parametrize("padding", [False, True])
def test_a_batch_without_labels_is_finite_and_teaches_masks_nothing(weights, padding):
    logits, iou, labels, valid = batch()
    total = lambda a: sampath_loss(a, iou, jnp.zeros_like(labels), valid & (not padding), weights).total  # noqa: E731
    parts, gradient = jax.jit(jax.value_and_grad(total))(logits)
    assert np.isfinite(parts)
    assert not gradient.any()


def test_exact_is_blind_to_unlabelled_pixels_and_tiles():
    logits, iou, labels, valid = batch(size=(10, 18))
    expected = loss(logits, iou, labels, valid, EXACT)
    shuffled = jnp.where((labels > 0)[..., None], logits, 7.0)
    np.testing.assert_array_equal(loss(shuffled, iou, labels, valid, EXACT), expected)
    more = [jnp.concatenate([a, a[:1]]) for a in (logits, iou, labels, valid)]
    more[2] = more[2].at[3].set(0)
    np.testing.assert_allclose(loss(*more, EXACT), expected, rtol=1e-6)


def test_exact_equals_cropping_the_unlabelled_part_away():
    logits, iou, labels, valid = batch(size=(20, 18), low=(20, 18))
    labels = jnp.maximum(labels, 1).at[:, 12:].set(0)
    cropped = loss(logits[:, :12], iou, labels[:, :12], valid, EXACT)
    np.testing.assert_allclose(loss(logits, iou, labels, valid, EXACT), cropped, rtol=1e-6)


def test_focal_loss_of_a_confident_pixel():
    """Logit ln 3 is a probability of 3/4: right leaves (1/4)^2 ln 4/3, wrong (3/4)^2 ln 4."""
    values = focal_loss(jnp.full(2, np.log(3)), jnp.array([True, False]))
    np.testing.assert_allclose(values, [np.log(4 / 3) / 16, 9 / 16 * np.log(4)], rtol=1e-6)


def test_weights_may_be_mapped_over():
    logits, iou, labels, valid = batch()
    alphas, betas = jnp.array([0.25, 0.125]), jnp.array([0.0625, 0.0])
    sweep = jax.jit(jax.vmap(lambda a, b: sampath_loss(logits, iou, labels, valid, LossWeights(a, b)).total))
    single = [
        loss(logits, iou, labels, valid, LossWeights(a, b)).total for a, b in [(0.25, 0.0625), (0.125, 0.0)]
    ]
    np.testing.assert_allclose(sweep(alphas, betas), single, rtol=1e-6)


def test_full_resolution_logits_are_never_whole():
    """Loss and gradient of the published batch need less memory than one copy of the full-size logits."""
    shapes = [(12, 256, 256, 6), (12, 6), (12, 1024, 1024), (12,)]
    dtypes = [jnp.float32, jnp.float32, jnp.uint8, bool]
    batch = [jax.ShapeDtypeStruct(s, d) for s, d in zip(shapes, dtypes, strict=True)]
    gradient = jax.jit(jax.grad(lambda *arrays: sampath_loss(*arrays, EXACT).total))
    memory = gradient.lower(*batch).compile().memory_analysis()
    assert memory.temp_size_in_bytes < 12 * 1024 * 1024 * 6 * 4


@needs_shared
def test_small_reference():
    with np.load(SHARED / "reference/small.npz") as z:
        logits, iou, labels = (z[f"net/{name}"] for name in ("logits", "iou", "label"))
        expected = [float(z[f"loss/{name}"]) for name in ("loss", "dice", "focal", "iou")]
        expected_gradients = z["loss/grad_logits"], z["loss/grad_iou"]
    logits = jnp.asarray(logits.transpose(0, 2, 3, 1), jnp.float32)
    iou, labels, valid = jnp.asarray(iou, jnp.float32), jnp.asarray(labels[:2]), jnp.ones(2, bool)
    parts = loss(logits, iou, labels, valid, PUBLISHED)
    np.testing.assert_allclose(parts, expected, rtol=1e-6)
    total = lambda a, b: sampath_loss(a, b, labels, valid, PUBLISHED).total  # noqa: E731
    ours = jax.jit(jax.grad(total, argnums=(0, 1)))(logits, iou)
    np.testing.assert_allclose(ours[0].transpose(0, 3, 1, 2), expected_gradients[0], rtol=1e-4, atol=1e-9)
    np.testing.assert_allclose(ours[1], expected_gradients[1], rtol=1e-5, atol=1e-9)


@needs_shared
@pytest.mark.parametrize("dataset", ["bcss", "crag"])
def test_full_size_reference(dataset):
    """The stored low-resolution masks with every stored variation of the label map."""
    import cv2

    folder = SHARED / "reference" / dataset
    with np.load(folder / "decoder.npz") as z:
        logits = jnp.asarray(z["low_res_masks"].transpose(0, 2, 3, 1))
        iou = jnp.asarray(z["iou_predictions"])
    masks = [cv2.imread(str(p), cv2.IMREAD_UNCHANGED) for p in sorted((folder / "mask").iterdir())[:2]]
    labels = np.stack(masks) + np.uint8(dataset == "crag")  # 255, ignored, becomes 0
    variations = {
        "main": labels,
        "label0_replaced_by_1": np.maximum(labels, 1),
        "image0_entirely_ignored": labels * np.array([0, 1], np.uint8)[:, None, None],
        "batch_entirely_ignored": np.zeros_like(labels),
    }
    stored = json.loads((folder / "losses.json").read_text())
    for variation, map_ in variations.items():
        histogram = np.bincount(map_.ravel(), minlength=logits.shape[3])
        assert histogram.tolist() == stored[variation]["label_histogram"]
        for config, (alpha, beta) in {"bcss": (0.25, 0.0625), "crag": (0.125, 0.0)}.items():
            weights = LossWeights(alpha, beta, "published")
            parts = loss(logits, iou, jnp.asarray(map_), jnp.ones(2, bool), weights)
            expected = stored[variation][config]
            for name in ("dice", "focal", "iou"):
                np.testing.assert_allclose(getattr(parts, name), expected[name], rtol=5e-6, err_msg=name)
            if variation != "batch_entirely_ignored":  # the original logs NaN there
                np.testing.assert_allclose(parts.total, expected["loss"], rtol=5e-6)
