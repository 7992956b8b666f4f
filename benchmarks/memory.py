"""What the compiler plans to use at full size, without running anything: `python benchmarks/memory.py`."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from sampath_jax import console
from sampath_jax.config import load_config
from sampath_jax.models.config import SamPathConfig
from sampath_jax.models.freezing import split_head
from sampath_jax.models.sam_path import class_map
from sampath_jax.training.optimiser import make_optimiser
from sampath_jax.training.state import TrainState
from sampath_jax.training.step import make_train_step
from sampath_jax.weights import abstract_model

CONFIG = Path(__file__).parents[1] / "configs" / "bcss.py"
BATCHES = (1, 2, 4, 8, 16)


def main() -> None:
    """Prints temporary and argument memory of the forward pass and the training step, by batch size."""
    config = load_config(CONFIG)
    graphdef, head, frozen = split_head(abstract_model(SamPathConfig.from_config(config)))
    canvas = tuple(config.data.canvas)
    tx = make_optimiser(config.optim, 100)
    state = jax.eval_shape(lambda h: TrainState.create(h, tx), head)
    step = make_train_step(graphdef, tx, config)

    def predict(head: Any, frozen: Any, images: Any) -> Any:
        return class_map(nnx.merge(graphdef, head, frozen)(images)[0], canvas)

    rows = []
    for batch in BATCHES:
        tiles = _tiles(batch, canvas)
        rows.append(("forward", str(batch), *_plan(predict, (head, frozen, tiles["image"]))))
        rows.append(("train", str(batch), *_plan(step, (state, frozen, tiles), donate=(0,))))
    console.table("Full size", ("program", "batch", "temporary MB", "arguments MB", "compile cpu s"), rows)


def _tiles(batch: int, canvas: tuple[int, int]) -> dict[str, jax.ShapeDtypeStruct]:
    shapes = {
        "image": ((*canvas, 3), jnp.uint8),
        "label": (canvas, jnp.uint8),
        "valid": ((), bool),
        "index": ((), jnp.int32),
        "epoch": ((), jnp.int32),
    }
    return {name: jax.ShapeDtypeStruct((batch, *shape), dtype) for name, (shape, dtype) in shapes.items()}


def _plan(function: Callable[..., Any], arguments: tuple, donate: tuple[int, ...] = ()) -> tuple[str, ...]:
    started = time.process_time()
    plan = jax.jit(function, donate_argnums=donate).lower(*arguments).compile().memory_analysis()
    seconds = time.process_time() - started
    assert plan is not None, "this backend does not say what it plans"
    return (
        f"{plan.temp_size_in_bytes / 1e6:.0f}",
        f"{plan.argument_size_in_bytes / 1e6:.0f}",
        f"{seconds:.1f}",
    )


if __name__ == "__main__":
    main()
