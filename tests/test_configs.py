"""Every experiment of configs/: published numbers, the training step at full size, two steps when shrunk."""

from pathlib import Path

import jax
import numpy as np
import pytest

from configs import labels
from sampath_jax.config import load_config
from sampath_jax.data.labels import LabelSpec
from sampath_jax.distributed import Placement, make_mesh
from sampath_jax.models.config import HiptConfig, SamEncoderConfig, SamPathConfig
from sampath_jax.models.freezing import split_head
from sampath_jax.training import optimiser
from sampath_jax.training.optimiser import make_optimiser
from sampath_jax.training.plan import Plan
from sampath_jax.training.state import TrainState
from sampath_jax.training.step import make_train_step
from sampath_jax.weights import abstract_model, build_model

CONFIGS = sorted(p for p in Path("configs").glob("*.py") if p.stem not in ("__init__", "labels", "released"))
#: Training tiles of the published data sets.
BCSS_TILES, CRAG_TILES = 1720, 138


def test_bcss_is_the_published_experiment():
    config = load_config(Path("configs/bcss.py"))
    plan = Plan.from_config(config, BCSS_TILES)
    assert (plan.steps_per_epoch, plan.schedule.steps_per_epoch, plan.schedule.warmup) == (144, 72, 72)
    assert (plan.schedule.drops, plan.schedule.total, plan.total) == ((1800, 2088), 2304, 4608)
    assert (config.loss.alpha, config.loss.beta, config.loss.unlabelled) == (0.25, 0.0625, "published")
    assert (config.optim.learning_rate, config.optim.weight_decay) == (1e-4, 1e-2)
    spec = LabelSpec.from_config(config.data)
    raw = np.array([[0, 1, 2], [3, 4, 5]], np.uint8)
    np.testing.assert_array_equal(spec.to_labels(raw), raw)


def test_crag_is_the_published_experiment():
    config = load_config(Path("configs/crag.py"))
    plan = Plan.from_config(config, CRAG_TILES)
    assert (plan.steps_per_epoch, plan.schedule.warmup, plan.schedule.drops) == (23, 46, (1150, 1265))
    assert plan.schedule.total == 60 * 23
    assert (config.loss.alpha, config.loss.beta) == (0.125, 0.0)
    assert (config.data.canvas, config.model.input_size) == ((1536, 1536), (1024, 1024))
    assert config.eval.published_ignored_class == 1
    spec = LabelSpec.from_config(config.data)
    np.testing.assert_array_equal(spec.to_labels(np.array([[0, 1, 255]], np.uint8)), [[1, 2, 0]])


@pytest.mark.parametrize(("name", "batch_size", "accumulate"), [("bcss", 12, 2), ("crag", 6, 1)])
def test_both_share_what_the_release_shares(name, batch_size, accumulate):
    config = load_config(Path(f"configs/{name}.py"))
    assert config.augment.to_dict() == {
        "crop_area": (0.08, 1.0),
        "crop_ratio": (0.75, 4 / 3),
        "flip_probability": 0.75,
        "turn_probability": 0.5,
        "color_probability": 0.5,
        "brightness": 0.1,
        "contrast": 0.1,
        "saturation": 0.1,
        "hue": 0.1,
        "stain": 0.0,
        "enabled": True,
    }
    optim = config.optim
    assert (optim.learning_rate, optim.weight_decay, optim.drop_factor) == (1e-4, 1e-2, 0.1)
    assert (optim.batch_size, optim.accumulate) == (batch_size, accumulate)
    assert (optimiser.BETAS, optimiser.EPSILON) == ((0.9, 0.999), 1e-8)
    model = config.model
    assert (model.encoders, model.sam, model.hipt) == (("sam", "hipt"), "vit_b", "vit_s")
    assert (model.input_size, model.encoder_dtype) == ((1024, 1024), "auto")


@pytest.mark.parametrize("name", ["bcss", "crag"])
def test_ablations_change_the_encoders_only(name):
    full, sam, hipt = (
        load_config(Path(f"configs/{name}{suffix}.py")) for suffix in ("", "_sam_only", "_hipt_only")
    )
    assert (sam.model.encoders, sam.model.train_neck) == (("sam",), False)
    assert (hipt.model.encoders, hipt.model.train_neck) == (("hipt",), True)
    for section in ("data", "augment", "loss", "optim", "eval"):
        assert full[section] == sam[section] == hipt[section]


def test_label_presets_fit_the_schema():
    for classes, ignored in (labels.BCSS, labels.BCSS_PUBLISHED, labels.CRAG):
        assert all({"name", "values", "color"} == entry.keys() for entry in classes)
        assert isinstance(ignored, tuple)
    codes = {value for entry in labels.BCSS[0] for value in entry["values"]} | set(labels.BCSS[1])
    assert codes == set(range(22))


@pytest.fixture
def one_block(monkeypatch):
    """Tiny encoders of one block: compiling is what takes long."""
    sam = SamEncoderConfig(width=96, depth=1, heads=4, global_blocks=(0,), window=7, grid=(16, 16))
    monkeypatch.setattr(SamEncoderConfig, "tiny", classmethod(lambda cls: sam))
    hipt = HiptConfig(width=48, depth=1, heads=3, grid=14)
    monkeypatch.setattr(HiptConfig, "tiny", classmethod(lambda cls: hipt))


@pytest.mark.optim
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_step_fits_at_full_size(path):
    """Traced with the real shapes, without an array: shapes and types of every part agree."""
    config = load_config(path)
    graphdef, head, frozen = split_head(abstract_model(SamPathConfig.from_config(config)))
    tx = make_optimiser(config.optim, 10)
    (height, width), rows = config.data.canvas, config.optim.batch_size
    batch = {
        "image": jax.ShapeDtypeStruct((rows, height, width, 3), np.uint8),
        "label": jax.ShapeDtypeStruct((rows, height, width), np.uint8),
        "valid": jax.ShapeDtypeStruct((rows,), bool),
        "index": jax.ShapeDtypeStruct((rows,), np.int32),
        "epoch": jax.ShapeDtypeStruct((rows,), np.int32),
    }
    state = jax.eval_shape(lambda head: TrainState.create(head, tx), head)
    after, metrics = jax.eval_shape(make_train_step(graphdef, tx, config), state, frozen, batch)
    assert jax.tree.map(lambda a: (a.shape, a.dtype), after) == jax.tree.map(
        lambda a: (a.shape, a.dtype), state
    )
    assert metrics["loss"].shape == ()


@pytest.mark.optim
@pytest.mark.usefixtures("one_block")
def test_two_steps_when_shrunk():
    """BCSS; tests/test_systems.py trains CRAG and its ablations, tests/training/test_loop.py the demo."""
    small = (
        *("model.sam=tiny", "model.hipt=tiny", "weights.sam=random", "weights.hipt=random"),
        *("data.canvas=(48,32)", "model.input_size=(32,48)", "optim.batch_size=2", "optim.accumulate=1"),
        *("optim.warmup_epochs=0", "augment.enabled=False"),
    )
    config = load_config(Path("configs/bcss.py"), [f"--config.{value}" for value in small])
    placement = Placement(make_mesh(config.mesh))
    graphdef, head, frozen = split_head(build_model(config))
    start = jax.tree.map(np.array, head)
    tx = make_optimiser(config.optim, 2)
    step = placement.compile_step(make_train_step(graphdef, tx, config), frozen)
    state, frozen = placement.put(TrainState.create(head, tx)), placement.put_frozen(frozen)
    rng = np.random.default_rng(0)
    batch = placement.put_batch(
        {
            "image": rng.integers(0, 256, (2, 48, 32, 3), np.uint8),
            "label": rng.integers(0, len(config.data.classes) + 1, (2, 48, 32), np.uint8),
            "valid": np.array([True, True]),
            "index": np.array([0, 1], np.int32),
            "epoch": np.array([0, 0], np.int32),
        }
    )
    losses = []
    for _ in range(2):
        state, metrics = step(state, frozen, batch)
        losses.append(float(metrics["loss"]))
    assert np.isfinite(losses).all()
    assert losses[1] < losses[0]
    moved = jax.tree.map(lambda a, b: bool((a != np.asarray(b)).any()), start, state.head)
    assert jax.tree.all(moved["mask_decoder"]["transformer"])
