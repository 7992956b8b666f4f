"""An experiment small enough to compile in seconds: 64x48 tiles, SAM of two blocks, HIPT of one."""

import functools
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx
from ml_collections import ConfigDict

from sampath_jax.config import base_config
from sampath_jax.models.config import HiptConfig, SamEncoderConfig, SamPathConfig
from sampath_jax.models.freezing import split_head
from sampath_jax.models.sam_path import SamPath

CANVAS = (64, 48)
CLASSES = 3
BATCH = 8


class Experiment(NamedTuple):
    config: ConfigDict
    graphdef: nnx.GraphDef
    head: Any
    frozen: Any


def experiment(**optim: Any) -> Experiment:
    """A config without augmentation or warm-up, and a random model as arrays of the host."""
    config = base_config()
    config.data.canvas = CANVAS
    config.data.classes = tuple({"name": f"class {i}", "values": (i,)} for i in range(1, CLASSES + 1))
    config.augment.enabled = False
    config.loss.unlabelled = "published"
    config.optim.update({"warmup_epochs": 0.0, "learning_rate": 1e-3, "batch_size": BATCH} | optim)
    graphdef, head, frozen = _model()
    return Experiment(config, graphdef, *jax.tree.map(np.copy, (head, frozen)))


@functools.cache
def _model() -> tuple[nnx.GraphDef, Any, Any]:
    def make() -> SamPath:
        sam = SamEncoderConfig(width=96, depth=2, heads=2, global_blocks=(1,), window=3, grid=(4, 4))
        hipt = HiptConfig(width=48, depth=1, heads=2, grid=3)
        return SamPath(
            SamPathConfig(CLASSES, sam=sam, hipt=hipt, input_size=CANVAS, attention="reference"),
            rngs=nnx.Rngs(0),
        )

    graphdef, head, frozen = split_head(nnx.eval_shape(make))
    rng = np.random.default_rng(0)
    return graphdef, *jax.tree_util.tree_map_with_path(
        lambda path, leaf: _draw(rng, path, leaf), (head, frozen)
    )


def _draw(rng: np.random.Generator, path: tuple[Any, ...], leaf: jax.ShapeDtypeStruct) -> np.ndarray:
    """Values under which activations stay of order 1; compiling the initialisers would take far longer.

    Biases before a ReLU are +-5, so that no unit lies at its kink: there the last bit of a sum, which depends
    on the device count, would decide whether the unit has a gradient.
    """
    names = {str(getattr(entry, "key", entry)) for entry in path}
    values = rng.normal(size=leaf.shape).astype(leaf.dtype)
    if "scale" in names:
        return 1 + values / 10
    if "kernel" in names:
        return values * np.float32(0.3 * np.prod(leaf.shape[-2:-1]) ** -0.5)
    last = "2" in names  # of three layers
    if "bias" in names and not last and names & {"lin1", "output_hypernetworks_mlps", "iou_prediction_head"}:
        return np.sign(values) * 5
    return values / 10


def batch(seed: int, *, valid: int = BATCH) -> dict[str, np.ndarray]:
    """Random tiles as the pipeline gives them; each has another share of labelled pixels."""
    rng = np.random.default_rng(seed)
    label = rng.integers(1, CLASSES + 1, (BATCH, *CANVAS), dtype=np.uint8)
    label[rng.random(label.shape) < np.linspace(0, 0.9, BATCH)[:, None, None]] = 0
    made = {
        "image": rng.integers(0, 256, (BATCH, *CANVAS, 3), dtype=np.uint8),
        "label": label,
        "valid": np.arange(BATCH) < valid,
        "index": np.arange(BATCH, dtype=np.int32),
        "epoch": np.full(BATCH, seed, np.int32),
    }
    made["image"][valid:], made["label"][valid:] = 0, 0
    return made
