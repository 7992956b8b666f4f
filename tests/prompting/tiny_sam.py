"""A SAM of the tiny size with random weights, in the folder that a conversion would write."""

from pathlib import Path

from sampath_jax.initial_values import random_weights
from sampath_jax.models.abstract import abstract, shapes_of
from sampath_jax.models.config import SamEncoderConfig
from sampath_jax.models.sam import Sam
from sampath_jax.trees import unflatten
from sampath_jax.weights import write_weights


def write_sam(folder: Path) -> Path:
    """Its folder, for `config.weights.sam`."""
    shapes = shapes_of(abstract(lambda rngs: Sam(SamEncoderConfig.tiny(), rngs=rngs)))
    write_weights(folder, unflatten(random_weights(shapes, 0)), {"model": "sam", "size": "tiny"})
    return folder
