"""Modules as shapes only, for filling them with loaded values."""

from collections.abc import Callable
from typing import TypeVar

import jax
from flax import nnx

from sampath_jax.trees import flatten

Module = TypeVar("Module", bound=nnx.Module)


class SameKey(nnx.RngStream):
    """A stream that gives the same key every time.

    Where only shapes matter nothing is drawn, and flax's own stream takes ten times as long: it counts, and
    under tracing every count looks through all that was traced before.
    """

    def __call__(self) -> jax.Array:
        """The key."""
        return self.key[...]


def abstract(make: Callable[[nnx.Rngs], Module]) -> Module:
    """The module that `make(rngs)` gives, with shapes for values: nothing is computed."""

    def traced() -> Module:
        rngs = nnx.Rngs(params=0)
        rngs.params = SameKey(0, tag="params")  # type: ignore[attr-defined]
        return make(rngs)

    return nnx.eval_shape(traced)


def shapes_of(module: nnx.Module) -> dict[str, tuple[int, ...]]:
    """Shapes of a module's parameters by path; the module may be abstract."""
    return {path: tuple(leaf.shape) for path, leaf in flatten(nnx.as_pure(nnx.state(module))).items()}
