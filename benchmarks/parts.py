"""Where the time of a tile goes, part by part at full size: `python benchmarks/parts.py`.

The parts take turns, so that a machine that slows down slows down all; random weights, random input.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from sampath_jax import console
from sampath_jax.benchmarking.flops import matrix_flops
from sampath_jax.config import load_config
from sampath_jax.data.augmentation import AugmentConfig, augment, example_keys
from sampath_jax.models.freezing import split_head
from sampath_jax.models.sam_path import class_map
from sampath_jax.training.losses import LossWeights, sampath_loss
from sampath_jax.training.optimiser import make_optimiser
from sampath_jax.training.state import TrainState
from sampath_jax.training.step import FeatureBatch, make_head_step
from sampath_jax.weights import build_model

CONFIG = Path(__file__).parents[1] / "configs" / "bcss.py"
REPEATS = 8

#: A function and its arguments.
Part = tuple[Callable[..., Any], *tuple[Any, ...]]


def main() -> None:
    """Prints the best of several runs of each part, and its rate of matrix products."""
    parts = {name: (jax.jit(part[0]), *part[1:]) for name, part in _parts("auto").items()}
    times: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(1 + REPEATS):  # the first compiles
        for name, (function, *arguments) in parts.items():
            started = time.perf_counter()
            jax.block_until_ready(function(*arguments))
            times[name].append(time.perf_counter() - started)
    rows = []
    # Counted in the reference: a block that overflows is computed again, which the usual program counts too.
    for name, part in _parts("reference").items():
        best, flops = min(times[name][1:]), matrix_flops(*part)
        rows.append((name, f"{1e3 * best:.0f}", f"{flops / 1e9:.1f}", f"{flops / best / 1e9:.0f}"))
    console.table("One tile", ("part", "ms", "GFLOP", "GFLOP/s"), rows)


def _parts(attention: str) -> dict[str, Part]:
    choices = {"weights.sam": "random", "weights.hipt": "random", "model.attention": attention}
    config = load_config(CONFIG, [f"--config.{key}={value}" for key, value in choices.items()])
    model = build_model(config)
    graphdef, head, frozen = split_head(model)
    tx, weights = make_optimiser(config.optim, 100), LossWeights.from_config(config.loss)
    draw, (height, width) = np.random.default_rng(0), config.data.canvas
    h, w = model.config.grid

    def normal(*shape: int) -> jax.Array:
        return jnp.asarray(draw.normal(size=shape), jnp.float32)

    def integers(most: int, *shape: int) -> jax.Array:
        return jnp.asarray(draw.integers(0, most, shape, np.uint8))

    def module(part: nnx.Module, x: jax.Array) -> Part:
        structure, state = nnx.split(part)
        return lambda state, x: nnx.merge(structure, state)(x), state, x

    def loss(logits: jax.Array) -> jax.Array:
        return sampath_loss(logits, jnp.zeros((1, logits.shape[-1])), labels, valid, weights).total

    def augmented(image: jax.Array) -> Any:
        keys = example_keys(0, jnp.zeros(1, int), jnp.zeros(1, int))
        return augment(keys, image, labels, AugmentConfig.from_config(config.augment))

    image, labels, valid = (
        integers(255, 1, height, width, 3),
        integers(6, 1, height, width),
        jnp.ones(1, bool),
    )
    pixels, features = normal(1, height, width, 3), normal(1, h, w, model.config.feature_width)
    logits = normal(1, 4 * h, 4 * w, 6)
    sam, hipt = model.sam_encoder, model.hipt_encoder
    patches, tokens = normal(1, h, w, model.config.sam.width), normal(1, 1 + h * w, model.config.hipt.width)
    batch = FeatureBatch(features=features, label=labels, valid=valid)
    return {
        "product 4096 x 768 x 3072": (jnp.matmul, normal(4096, 768), normal(768, 3072)),
        "SAM, windowed block": module(sam.blocks[0], patches),
        "SAM, global block": module(sam.blocks[model.config.sam.global_blocks[0]], patches),
        "HIPT block": module(hipt.blocks[0], tokens),
        "SAM, patch embedding": module(sam.patch_embed, pixels),
        "HIPT, patch embedding": module(hipt.patch_embed, pixels),
        "neck and decoder": (lambda head, x: nnx.merge(graphdef, head, frozen).decode(x), head, features),
        "class map": (lambda logits: class_map(logits, (height, width)), logits),
        "head's training step": (
            lambda state, batch: make_head_step(graphdef, tx)(state, frozen, batch, weights),
            TrainState.create(head, tx),
            batch,
        ),
        "of it, loss and gradient": (jax.value_and_grad(loss), logits),
        "augmentation": (augmented, image),
    }


if __name__ == "__main__":
    main()
