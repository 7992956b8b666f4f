"""Full size against float64 numbers of the original code (`shared/reference/{bcss,crag}`), on image 0."""

import functools
import importlib.util
from pathlib import Path

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from convert.sampath import TABLES, checkpoint_shapes
from convert.table import convert
from sampath_jax.config import load_config
from sampath_jax.models.config import SamPathConfig
from sampath_jax.models.sam_path import SamPath, class_map
from sampath_jax.weights import abstract_model, fill
from tests.parity.compare import ENCODER_TOLERANCE, HEAD_TOLERANCE, close
from tests.shared import SHARED, needs_shared

pytestmark = [needs_shared, pytest.mark.full]

REFERENCE = SHARED / "reference" if SHARED else None
REPOSITORY = Path(__file__).resolve().parents[2]
ENCODERS = {"fusion": ("sam", "hipt"), "sam_only": ("sam",), "hipt_only": ("hipt",)}
#: Pixels of a class map that may differ: two classes are equal but for rounding. The original's own float32
#: and float64 runs differ in 2 of 2,097,152 (bcss) and 14 of 4,718,592 (crag).
TIES = 10
#: Largest differences of the original's float32 run from its float64 run on bcss, from the README there.
PYTORCH = {"sam": 3.4e-5, "hipt": 7.3e-6, "fused": 1.3e-5, "logits": 8.7e-5, "iou": 1.1e-6}


@functools.cache
def weight_maker():
    spec = importlib.util.spec_from_file_location("make_weights", REFERENCE / "make_weights.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def published_model(experiment: str, variant: str) -> SamPath:
    encoders = ENCODERS[variant]
    config = load_config(REPOSITORY / "configs" / f"{experiment}.py", [f"model.encoders={encoders!r}"])
    tensors = {k: v.numpy() for k, v in weight_maker().trained(experiment, variant, seed=0).items()}
    arrays = convert(tensors, TABLES[encoders], checkpoint_shapes(config), variant).arrays
    values = {path.partition("/")[2]: array for path, array in arrays.items()}
    return fill(abstract_model(SamPathConfig.from_config(config)), values)


@functools.cache
def features(experiment: str) -> jax.Array:
    """Of image 0; the encoders' weights are the same in all variants."""
    image = cv2.imread(str(REFERENCE / experiment / "img" / f"{experiment}_0.png"))[None, ..., ::-1]
    model = published_model(experiment, "fusion")
    return jax.jit(lambda m, x: m.encode(x))(model, jnp.asarray(image.copy()))


def stored(*parts: str) -> dict[str, np.ndarray]:
    with np.load(REFERENCE.joinpath(*parts)) as file:
        return dict(file)


def channels_last(x: np.ndarray) -> np.ndarray:
    return np.moveaxis(x, 1, -1)


@pytest.mark.parametrize(("experiment", "step"), [("bcss", 1), ("crag", 4)])
def test_encoders(experiment, step):
    reference, ours = stored(experiment, "encoders.npz"), np.asarray(features(experiment))[:, ::step, ::step]
    hipt_tokens = reference["hipt_tokens"].reshape(*ours.shape[:3], 384)
    close(ours[..., :768], reference["sam_tokens"], ENCODER_TOLERANCE)
    close(ours[..., 768:], hipt_tokens, ENCODER_TOLERANCE)
    if experiment == "bcss":
        assert np.abs(ours[..., :768] - reference["sam_tokens"]).max() <= 2 * PYTORCH["sam"]
        assert np.abs(ours[..., 768:] - hipt_tokens).max() <= 2 * PYTORCH["hipt"]


@pytest.mark.parametrize(("experiment", "step"), [("bcss", 1), ("crag", 4)])
def test_sam_path(experiment, step):
    reference = stored(experiment, "decoder.npz")
    fused, logits, iou, labels = run_head(experiment, "fusion")
    close(fused[:, ::step, ::step], channels_last(reference["embedding"]), ENCODER_TOLERANCE)
    close(logits, channels_last(reference["low_res_masks"][:1]), HEAD_TOLERANCE)
    close(iou, reference["iou_predictions"][:1], HEAD_TOLERANCE)
    assert (labels != reference["class_map"][:1]).sum() <= TIES
    if experiment == "bcss":
        assert np.abs(fused - channels_last(reference["embedding"])).max() <= 2 * PYTORCH["fused"]
        assert np.abs(logits - channels_last(reference["low_res_masks"][:1])).max() <= 2 * PYTORCH["logits"]
        assert np.abs(iou - reference["iou_predictions"][:1]).max() <= 2 * PYTORCH["iou"]


@pytest.mark.parametrize("variant", ["sam_only", "hipt_only"])
@pytest.mark.parametrize("experiment", ["bcss", "crag"])
def test_one_encoder_alone(experiment, variant):
    reference = stored(experiment, "variants", f"{variant}.npz")
    fused, logits, iou, labels = run_head(experiment, variant)
    close(fused[:, ::4, ::4], channels_last(reference["embedding_sub"]), ENCODER_TOLERANCE)
    close(logits, channels_last(reference["low_res_masks"]), HEAD_TOLERANCE)
    close(iou, reference["iou_pred"][..., 0], HEAD_TOLERANCE)
    assert (labels != reference["class_map"]).sum() <= TIES
    if variant == "sam_only":
        step = {"bcss": 1, "crag": 4}[experiment]
        neck = channels_last(stored(experiment, "encoders.npz")["sam_neck"])
        close(fused[:, ::step, ::step], neck, ENCODER_TOLERANCE)


def run_head(experiment: str, variant: str):
    """Fused map, logits, IoUs and class map of image 0 by the heads of a variant."""
    model = published_model(experiment, variant)
    part = {"fusion": slice(None), "sam_only": slice(768), "hipt_only": slice(768, None)}[variant]
    side = {"bcss": 1024, "crag": 1536}[experiment]

    @jax.jit
    def run(model, features):
        logits, iou = model.decode(features)
        return model.neck(features), logits, iou, class_map(logits, (side, side))

    return map(np.asarray, run(model, features(experiment)[..., part]))
