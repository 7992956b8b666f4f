"""How the heads of a run lie in its state: one as it is, those of a sweep in groups that step together."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from sampath_jax.training.step import Metrics

#: A `TrainState`, or in a sweep one for each group.
RunState = Any
#: A `TrainStep` of such a state; in a sweep each metric is an array with a number for each head.
RunStep = Callable[[RunState, Any, Any], tuple[RunState, Metrics]]


@runtime_checkable
class Heads(Protocol):
    """Between the state of a run and the states of its heads."""

    def take(self, state: RunState, i: int) -> Any:
        """The `TrainState` of head `i`."""

    def parameters(self, state: RunState, i: int) -> Any:
        """The trained parameters of head `i`."""

    def replace(self, state: RunState, i: int, new: Any) -> RunState:
        """The state with `new` for head `i`; the old one may not be used any more."""


class OneHead:
    """A run of one head: nothing to take apart."""

    def take(self, state: RunState, i: int) -> Any:
        """The state itself."""
        del i
        return state

    def parameters(self, state: RunState, i: int) -> Any:
        """Those of the state."""
        del i
        return state.head

    def replace(self, state: RunState, i: int, new: Any) -> RunState:
        """The new state."""
        del state, i
        return new


class GroupedHeads:
    """A sweep: a tuple of states, one for each group of heads.

    The arrays of a group have a leading axis of heads. Where every group is a single head, they are those of
    the head: taking one apart copies nothing.

    Args:
        heads: how many there are.
        together: how many of them form a group; the last group may be smaller.
    """

    def __init__(self, heads: int, together: int):
        self.together = together
        self.groups = tuple(range(heads)[start : start + together] for start in range(0, heads, together))

    def form(self, trees: Sequence[Any]) -> tuple[Any, ...]:
        """The trees of all heads, in groups."""
        if self.together == 1:
            return tuple(trees)
        return tuple(stack([trees[i] for i in group]) for group in self.groups)

    def take(self, state: RunState, i: int) -> Any:
        """The state of head `i`."""
        return self._of(state, i)

    def parameters(self, state: RunState, i: int) -> Any:
        """The trained parameters of head `i`."""
        return self._of([group.head for group in state], i)

    def replace(self, state: RunState, i: int, new: Any) -> RunState:
        """The states, of which the group of head `i` is overwritten in place."""
        number, row = divmod(i, self.together)
        group = new if self.together == 1 else _overwrite(state[number], new, row)
        return (*state[:number], group, *state[number + 1 :])

    def _of(self, groups: Sequence[Any], i: int) -> Any:
        number, row = divmod(i, self.together)
        return groups[number] if self.together == 1 else _row(groups[number], row)


class Parameters(Sequence[Any]):
    """The trained parameters of some heads, each taken out of the state when it is asked for."""

    def __init__(self, heads: Heads, state: RunState, chosen: Sequence[int]):
        self._heads, self._state, self._chosen = heads, state, chosen

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, i: Any) -> Any:
        return self._heads.parameters(self._state, self._chosen[i])

    def __iter__(self) -> Iterator[Any]:
        return (self._heads.parameters(self._state, i) for i in self._chosen)


# One program for a whole tree: array by array, the hundreds of shapes would be compiled one by one.


@jax.jit
def stack(trees: list[Any]) -> Any:
    """One tree, whose arrays have a leading axis of trees."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


@jax.jit
def _row(tree: Any, i: Int[Array, ""] | int) -> Any:
    return jax.tree.map(lambda leaf: leaf[i], tree)


def _set_row(tree: Any, new: Any, i: Int[Array, ""] | int) -> Any:
    return jax.tree.map(lambda leaf, row: leaf.at[i].set(row), tree, new)


_overwrite = jax.jit(_set_row, donate_argnums=0)
