"""What a worker process of the benchmark is asked for, and what it gets ready."""

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import numpy as np
from ml_collections import ConfigDict

#: What can be measured.
SUBJECTS = {
    "encoder": "both encoders, forward",
    "forward": "tile to class map",
    "train": "training step: encoders forward, head forward and backward, update",
    "evaluate": "cached features to class map and confusion matrix",
    "data": "input pipeline: files to batches on the host",
}
#: The rate of matrix products, measured beside the subjects.
PEAK = "peak"
#: Who measures: ours, two ways to run the same model in PyTorch, and the pipeline's decoder alone.
OURS = "jax"
TORCH = ("torch-original", "torch-best")
DECODER = "decoder"
#: Short, for tables.
NAMES = {OURS: "jax", TORCH[0]: "torch (a)", TORCH[1]: "torch (b)", DECODER: "decoder alone"}


@dataclasses.dataclass(frozen=True)
class Request:
    """One measurement: who does what, with how many tiles at a time."""

    contestant: str  # OURS, one of TORCH, or DECODER
    subject: str  # one of SUBJECTS, or PEAK
    batch: int
    config: str  # the experiment, as JSON
    model: dict[
        str, Any
    ]  # `SamPathConfig` as a dict: to resolve it imports JAX, which PyTorch's workers avoid
    cache: str = ""  # folder of compiled programs; empty = none are kept

    def to_json(self) -> str:
        """For the worker's command line."""
        return json.dumps(dataclasses.asdict(self))


@dataclasses.dataclass
class Work:
    """A subject made ready; the first `run` may still warm things up."""

    run: Callable[[], Any]  # one repetition, to its very end
    tiles: int = 0  # per repetition
    flops: int = 0  # of matrix products per repetition
    compile_seconds: float = 0.0
    program_bytes: int | None = None  # temporary memory, as the compiler plans it
    dtype: str = "float32"


def random_tiles(config: ConfigDict, batch: int) -> dict[str, np.ndarray]:
    """A batch as the pipeline gives it: noise, with random labels."""
    draw = np.random.default_rng(0).integers
    canvas = tuple(config.data.canvas)
    return {
        "image": draw(0, 256, (batch, *canvas, 3), np.uint8),
        "label": draw(0, len(config.data.classes) + 1, (batch, *canvas), np.uint8),
        "valid": np.ones(batch, bool),
        "index": np.arange(batch, dtype=np.int32),
        "epoch": np.zeros(batch, np.int32),
    }
