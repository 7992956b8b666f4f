"""The published training, step by step, from the same weights and the same batches without augmentation.

The tiny run (width 32, eight optimiser steps) belongs to every test run. The real one (ViT-B and HIPT at
1024x1024, ten optimiser steps, twice; fifty with encoders in bfloat16) takes minutes and is run by hand; it
prints its largest deviations:

    python -m pytest -m by_hand -s tests/training/test_trajectory.py
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from ml_collections import ConfigDict

from configs import bcss
from convert.sam import DECODER, neck_rows
from convert.sampath import convert_sampath
from convert.source import open_source
from convert.table import Table, convert, revert
from sampath_jax.config import base_config
from sampath_jax.models.abstract import abstract
from sampath_jax.models.config import SamPathConfig
from sampath_jax.models.freezing import split_frozen, split_head
from sampath_jax.models.mask_decoder import MaskDecoder
from sampath_jax.models.neck import Neck
from sampath_jax.models.prompt_encoder import PromptEncoder
from sampath_jax.models.sam_path import SamPath, class_map
from sampath_jax.training.losses import LossWeights
from sampath_jax.training.optimiser import make_optimiser
from sampath_jax.training.schedule import Schedule
from sampath_jax.training.state import TrainState
from sampath_jax.training.step import make_head_step
from sampath_jax.trees import flatten
from sampath_jax.weights import abstract_model
from tests.shared import SHARED, needs_shared
from tests.training.extract_trajectory import EXTRACT

pytestmark = pytest.mark.optim

#: The trained tensors by their published names.
ROWS = (*DECODER, *neck_rows("fusion_neck"))


class Model(NamedTuple):
    graphdef: nnx.GraphDef
    head: Any
    frozen: Any


class Trajectory(NamedTuple):
    """What happened; norms are of tensors by published name."""

    losses: np.ndarray  # of every micro-batch
    gradients: dict[str, np.ndarray]  # of the first micro-batch
    gradient_norms: list[float]  # of every optimiser step, over all tensors
    begin: dict[str, np.ndarray]
    final: dict[str, np.ndarray]


def follow(
    model: Model, config: ConfigDict, batches: list[dict], steps: int, steps_per_epoch: int
) -> Trajectory:
    """`steps` optimiser steps, each accumulating all `batches`."""
    graphdef, head, frozen = model
    tx = make_optimiser(config.optim, steps_per_epoch)
    step = jax.jit(make_head_step(graphdef, tx))
    weights = LossWeights.from_config(config.loss)
    begin, state = named(head), TrainState.create(head, tx)
    losses, norms, gradients, momentum = [], [], {}, optax.tree.get(state.opt_state, "mu")
    for i in range(steps * len(batches)):
        state, metrics = step(state, frozen, batches[i % len(batches)], weights)
        losses.append(float(metrics["loss"]))
        if not gradients:
            gradients = named(state.opt_state.gradients)
            total = np.sqrt(sum(np.square(gradient).sum() for gradient in gradients.values()))
            np.testing.assert_allclose(metrics["grad_norm"], total, rtol=1e-5)
        if (i + 1) % len(batches) == 0:  # the first moment is 0.9 of what it was and 0.1 of the gradient
            old, momentum = momentum, optax.tree.get(state.opt_state, "mu")
            pairs = zip(jax.tree.leaves(momentum), jax.tree.leaves(old), strict=True)
            norms.append(
                np.sqrt(sum(np.square(10 * np.asarray(a) - 9 * np.asarray(b)).sum() for a, b in pairs))
            )
    return Trajectory(np.array(losses), gradients, norms, begin, named(state.head))


def named(head: Any) -> dict[str, np.ndarray]:
    """The head's tensors in float64, by published name."""
    arrays = {path: np.asarray(leaf, np.float64) for path, leaf in flatten(head).items()}
    return revert(arrays, ROWS)


def filled(tree: Any, values: Mapping[str, np.ndarray]) -> Any:
    """`tree` with the values of the same paths."""
    path_of = lambda path: "/".join(str(entry.key) for entry in path)  # noqa: E731
    return jax.tree_util.tree_map_with_path(lambda path, _: jnp.asarray(values[path_of(path)]), tree)


def from_torch(head: Any, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Values for the paths of `head`."""
    shapes = {path: leaf.shape for path, leaf in flatten(head).items()}
    return convert(tensors, Table(ROWS), shapes, "the extract").arrays


def feature_batches(features: np.ndarray, labels: np.ndarray) -> list[dict[str, jax.Array]]:
    """The batches (0, 1) and (2, 3) of four images."""
    return [
        {
            "features": jnp.asarray(features[pair]),
            "label": jnp.asarray(labels[pair]),
            "valid": jnp.ones(2, bool),
        }
        for pair in (slice(0, 2), slice(2, 4))
    ]


def deviation(ours: Mapping[str, Any] | np.ndarray, expected: Mapping[str, float] | np.ndarray) -> float:
    """Largest relative difference; of norms, where `ours` are tensors."""
    if isinstance(ours, Mapping):
        ours = np.array([np.linalg.norm(ours[name]) for name in expected])
        expected = np.array(list(expected.values()))
    return float(np.max(np.abs(ours / expected - 1)))


def comparable(norms: Mapping[str, float]) -> dict[str, float]:
    """Without the tensors whose true gradient is zero: theirs is noise, which Adam amplifies."""
    return {name: norm for name, norm in norms.items() if not name.endswith("k_proj.bias")}


class SmallSamPath(SamPath):
    """The head of the small reference network, without encoders."""

    def __init__(self, rngs: nnx.Rngs):
        self.prompt_encoder = PromptEncoder(32, rngs=rngs)
        self.neck = Neck(96, 32, rngs=rngs)
        self.mask_decoder = MaskDecoder(7, width=32, mlp_width=64, rngs=rngs)


def test_tiny_trajectory():
    with np.load(EXTRACT) as archive:
        reference = dict(archive)
    begin = {
        key.removeprefix("begin/"): array for key, array in reference.items() if key.startswith("begin/")
    }
    constants = {
        "prompt_encoder/no_mask_embed": begin.pop("no_mask"),
        "prompt_encoder/positional_encoding": begin.pop("gauss"),
    }
    graphdef, head, frozen = split_frozen(abstract(SmallSamPath), ("prompt_encoder",))
    model = Model(graphdef, filled(head, from_torch(head, begin)), filled(frozen, constants))
    config = base_config()
    config.loss.unlabelled = "published"
    config.optim.update(
        {"learning_rate": 1e-3, "accumulate": 2, "warmup_epochs": 2.0, "drop_epochs": (5.0, 7.0)}
    )
    schedule = Schedule.from_config(config.optim, 2)
    np.testing.assert_allclose([schedule(i) for i in range(8)], reference["rates"], rtol=1e-6)

    batches = feature_batches(reference["features"], reference["labels"])
    run = follow(model, config, batches, steps=8, steps_per_epoch=2)

    assert deviation(run.losses, reference["losses"].ravel()) < 1e-5
    gradients, final, changes = (
        comparable(dict(zip(reference["names"].tolist(), reference[f"{kind}_norms"], strict=True)))
        for kind in ("gradient", "final", "change")
    )
    unreached = {name for name, norm in gradients.items() if norm == 0}
    assert len(unreached) == 6  # the network of the mask that is never read
    assert not any(run.gradients[name].any() for name in unreached)
    assert deviation(run.gradients, {n: v for n, v in gradients.items() if n not in unreached}) < 1e-4
    assert deviation(run.final, final) < 1e-5
    assert deviation({name: run.final[name] - run.begin[name] for name in changes}, changes) < 3e-3


class Published(NamedTuple):
    """The trained BCSS model of the reference, and its four images."""

    model: Model
    images: np.ndarray
    labels: np.ndarray

    def features(self, dtype: str) -> np.ndarray:
        """What encoders that compute in `dtype` give, tile by tile."""
        config = bcss.get_config()
        config.model.encoder_dtype = dtype
        graphdef, _, shapes = split_head(abstract_model(SamPathConfig.from_config(config)))
        frozen = jax.tree.map(lambda array, shape: array.astype(shape.dtype), self.model.frozen, shapes)
        encode = jax.jit(lambda head, frozen, images: nnx.merge(graphdef, head, frozen).encode(images))
        tiles = [np.asarray(encode(self.model.head, frozen, image[None])) for image in self.images]
        return np.concatenate(tiles)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    reference = SHARED / "reference"
    weights = tmp_path_factory.mktemp("weights")
    make = [
        sys.executable,
        str(reference / "make_weights.py"),
        "--out",
        str(weights),
        "--only",
        "fusion.ckpt",
    ]
    subprocess.run(make, check=True, capture_output=True)
    config = bcss.get_config()
    values = {}
    for path, array in convert_sampath(open_source(weights / "fusion.ckpt"), config).arrays.items():
        part, _, name = path.partition("/")
        if part == "head" or "mask_decoder" not in name:
            values[name] = array
    graphdef, head, frozen = split_head(abstract_model(SamPathConfig.from_config(config)))
    model = Model(graphdef, filled(head, values), filled(frozen, values))
    files = [reference / f"bcss/{{}}/bcss_{i}.png" for i in range(4)]
    images = [cv2.imread(str(file).format("img"), cv2.IMREAD_COLOR_RGB) for file in files]
    labels = [cv2.imread(str(file).format("mask"), cv2.IMREAD_UNCHANGED) for file in files]
    return Published(model, np.stack(images), np.stack(labels))


@pytest.fixture(scope="module")
def float32_features(published):
    return published.features("float32")


@needs_shared
@pytest.mark.by_hand
@pytest.mark.parametrize("schedule", ["paper", "short"])
def test_published_trajectory(published, float32_features, schedule):
    batches = feature_batches(float32_features, published.labels)
    config, steps_per_epoch = bcss.get_config(), 144
    if schedule == "short":
        steps_per_epoch = 2
        config.optim.update({"learning_rate": 1e-3, "warmup_epochs": 2.0, "drop_epochs": (6.0, 8.0)})
    folder = SHARED / "reference/bcss"
    reference = json.loads((folder / f"train_{schedule}.json").read_text())
    resolved = Schedule.from_config(config.optim, steps_per_epoch)
    np.testing.assert_allclose([resolved(i) for i in range(10)], reference["lr"], rtol=1e-6)

    run = follow(published.model, config, batches, steps=10, steps_per_epoch=steps_per_epoch)

    stored = json.loads((folder / "grad_norms.json").read_text())
    first = {name.split("model.")[-1]: norm for name, norm in stored["norms"]["total"].items()}
    reached = {name: norm for name, norm in comparable(first).items() if norm > 0}
    tensors = {name.removeprefix("model."): values for name, values in reference["params"].items()}
    final = comparable({name: values["norm"] for name, values in tensors.items()})
    # Without a gradient only decay is left, at these rates less than a float32's last bit per step.
    changes = {name: tensors[name]["delta_norm"] for name in reached}
    ours = {name: run.final[name] - run.begin[name] for name in changes}
    micro = np.array([part["loss"] for part in reference["micro"]])
    measured = {
        "loss per micro-batch": (deviation(run.losses, micro), 1e-4),
        "loss per step": (
            deviation(run.losses.reshape(10, 2).mean(1), np.array(reference["loss_per_step"])),
            1e-4,
        ),
        "gradient norm per tensor": (deviation(run.gradients, reached), 1e-3),
        "gradient norm per step": (
            deviation(np.array(run.gradient_norms), np.array(reference["grad_norm"])),
            1e-3,
        ),
        "final norm per tensor": (deviation(run.final, final), 1e-4),
        "norm of the change per tensor": (deviation(ours, changes), 1e-2),
    }
    for what, (worst, allowed) in measured.items():
        print(f"{schedule:6} {what:30} {worst:.1e} (allowed {allowed:.0e})")
    assert len(tensors) == len(run.final) == 144
    assert all(not run.gradients[name].any() for name in comparable(first).keys() - reached)
    for what, (worst, allowed) in measured.items():
        assert worst < allowed, what


@needs_shared
@pytest.mark.by_hand
def test_encoders_in_bfloat16_cost_no_accuracy(published, float32_features):
    """The class maps of the trained model, and 50 optimiser steps of it at the full learning rate."""
    model, config = published.model, bcss.get_config()
    config.optim.update({"warmup_epochs": 0.0, "drop_epochs": ()})

    @jax.jit
    def classes(features):
        logits, _ = nnx.merge(*model).decode(features)
        return class_map(logits, published.labels.shape[1:])

    maps, losses = [], []
    for features in (float32_features, published.features("bfloat16")):
        maps.append(np.concatenate([np.asarray(classes(tile[None])) for tile in features]))
        batches = feature_batches(features, published.labels)
        losses.append(follow(model, config, batches, steps=50, steps_per_epoch=2).losses)

    changed = np.mean(maps[0] != maps[1])
    worst = deviation(losses[1], losses[0])
    print(f"bfloat16: {changed:.2%} of the pixels change their class (allowed 0.5%)")
    begin, end = losses[0][0], losses[0][-1]
    print(
        f"bfloat16: the loss of 100 micro-batches, {begin:.4f} to {end:.4f}, changes by at most {worst:.2%}"
    )
    assert changed < 0.005
    assert worst < 0.01
