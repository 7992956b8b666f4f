"""How the arrays of the heads of a run lie in its state: one head as it is, several stacked."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int


@runtime_checkable
class Heads(Protocol):
    """Between the state of a run and the states of its heads."""

    def take(self, tree: Any, i: int) -> Any:
        """The part of head `i`."""

    def join(self, trees: Sequence[Any]) -> Any:
        """The inverse: one tree for all heads."""


class OneHead:
    """A run of one head: nothing to take apart."""

    def take(self, tree: Any, i: int) -> Any:
        """The tree itself."""
        del i
        return tree

    def join(self, trees: Sequence[Any]) -> Any:
        """The only tree."""
        (tree,) = trees
        return tree


class StackedHeads:
    """A sweep: every array has a leading axis of heads."""

    def take(self, tree: Any, i: int) -> Any:
        """Slices of every array."""
        return _slice(tree, i)

    def join(self, trees: Sequence[Any]) -> Any:
        """Every array stacked."""
        return _stack(list(trees))


@jax.jit  # one program for a whole tree: array by array, the hundreds of shapes would be compiled one by one
def _slice(tree: Any, i: Int[Array, ""] | int) -> Any:
    return jax.tree.map(lambda leaf: leaf[i], tree)


@jax.jit
def _stack(trees: list[Any]) -> Any:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)
