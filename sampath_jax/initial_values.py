"""Seeded values for parameters that come from no file: the new parts of a head, and whole random encoders.

Drawn with numpy, each tensor from (seed, its path): they depend neither on the device nor on JAX's version
nor on the order of construction.
"""

import math
import zlib
from collections.abc import Mapping

import numpy as np

#: Paths of tensors and their shapes.
Shapes = Mapping[str, tuple[int, ...]]


def fresh_head(shapes: Shapes, seed: int) -> dict[str, np.ndarray]:
    """What the published code starts a head from where SAM has no value: torch's defaults.

    Kernels and biases are uniform in +-1/sqrt(fan_in), tokens standard normal, normalisations the identity.
    Every tensor of `shapes` gets a value; the caller takes those it needs.
    """
    return {path: _torch_default(path, shapes, _generator(path, seed)) for path in shapes}


def random_weights(shapes: Shapes, seed: int) -> dict[str, np.ndarray]:
    """Random values for every tensor of `shapes`, none trivial: for tests, the demo and benchmarks.

    Scales are chosen so that activations stay of order 1, attention is neither uniform nor a single peak, and
    positions matter: what a wrong layout, a dropped bias or a swapped axis would change, changes.
    """
    return {path: _plausible(path, shape, _generator(path, seed)) for path, shape in shapes.items()}


def _generator(path: str, seed: int) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(path.encode())])


def _torch_default(path: str, shapes: Shapes, generator: np.random.Generator) -> np.ndarray:
    shape, name = shapes[path], path.rsplit("/", 1)[-1]
    if name in ("kernel", "bias"):
        kernel = path.removesuffix(name) + "kernel"
        if kernel not in shapes:  # a normalisation's bias
            return np.zeros(shape, np.float32)
        bound = 1 / math.sqrt(_fan_in(kernel, shapes[kernel]))
        return generator.uniform(-bound, bound, shape).astype(np.float32)
    if name == "scale":
        return np.ones(shape, np.float32)
    return generator.standard_normal(shape).astype(np.float32)


def _plausible(path: str, shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    values, name = generator.standard_normal(shape), path.rsplit("/", 1)[-1]
    if name == "kernel":
        values *= _gain(path, shape) / math.sqrt(_fan_in(path, shape))
    elif name == "scale":
        values = 1 + 0.1 * values
    elif name in ("bias", "rel_pos_h", "rel_pos_w"):
        values *= 0.1
    elif name == "pos_embed":
        values *= 0.3
    return values.astype(np.float32)


def _gain(path: str, shape: tuple[int, ...]) -> float | np.ndarray:
    """Queries and keys twice as large as values, so that attention prefers something."""
    if path.endswith("qkv/kernel"):
        return np.repeat([2.0, 2.0, 1.0], shape[-1] // 3)
    return 1.5 if path.endswith(("q_proj/kernel", "k_proj/kernel")) else 1.0


def _fan_in(path: str, shape: tuple[int, ...]) -> int:
    """Inputs per output; the leading axis of the stacked mask networks counts nothing."""
    stacked = "output_hypernetworks_mlps/" in path
    return math.prod(shape[1:-1] if stacked else shape[:-1])
