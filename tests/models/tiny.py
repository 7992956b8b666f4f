"""Models small enough to compile in seconds, with random, non-trivial parameters."""

from flax import nnx

from sampath_jax.initial_values import random_weights
from sampath_jax.models.abstract import abstract, shapes_of
from sampath_jax.models.config import HiptConfig, SamEncoderConfig, SamPathConfig
from sampath_jax.models.sam_path import SamPath
from sampath_jax.weights import abstract_model, fill

#: A window of 3 on grids of 4 x 3 and more: there is always a border.
SAM = SamEncoderConfig(width=24, depth=2, heads=2, global_blocks=(1,), window=3, grid=(4, 5))
HIPT = HiptConfig(width=12, depth=1, heads=2, grid=3)


def config(**changes) -> SamPathConfig:
    return SamPathConfig(**{"num_classes": 3, "sam": SAM, "hipt": HIPT, "input_size": (64, 48)} | changes)


def model(seed: int = 0, **changes) -> SamPath:
    return _fill(abstract_model(config(**changes)), seed)


def module(make, seed: int = 0):
    """The module that `make(rngs)` gives, with random weights."""
    return _fill(abstract(make), seed)


def _fill(empty: nnx.Module, seed: int):
    return fill(empty, random_weights(shapes_of(empty), seed))
