"""The step of many heads: in place, and without the tiles that validate each."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sampath_jax.training.heads import GroupedHeads
from sampath_jax.training.state import TrainState
from sampath_jax.training.sweep_step import SweepStep, Terms
from tests.training import tiny
from tests.training.sweeping import experiment, programs, step_of_one

pytestmark = pytest.mark.optim

ALL = np.ones(tiny.BATCH, bool)
BUT_ONE = np.arange(tiny.BATCH) != 5


def take_steps(masks, valid=ALL, steps=1):
    """The states of two heads before and after the last of some steps; the first ones are donated."""
    heads = GroupedHeads(2, 1)
    terms = [Terms(jnp.float32(0.25), jnp.float32(0.5), jnp.asarray(mask)) for mask in masks]
    step = SweepStep(programs(), heads, [step_of_one()] * 2, terms)
    place = programs().placement
    new = jax.jit(lambda head: TrainState.create(head, programs().tx))
    states = place.put(heads.form([new(experiment().head) for _ in masks]))
    frozen = place.put_frozen(experiment().frozen)
    for number in range(steps):
        batch = tiny.batch(number)
        batch["valid"] &= valid
        batch = place.put_batch(batch)
        before, places = states, buffers(states)
        with jax.transfer_guard("disallow"):
            states, metrics = step(states, frozen, batch)
        assert metrics["loss"].shape == (2,)
    return before, places, states


def buffers(states):
    return [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(states) if leaf.size > 1]


def test_a_step_updates_the_states_in_place():
    """Memory after a step is what it was before: heads cost their states and nothing more."""
    before, places, after = take_steps([ALL, ALL])
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(before))
    assert buffers(after) == places


def test_a_tile_that_does_not_count_is_as_good_as_padding():
    *_, masked = take_steps([ALL, BUT_ONE], steps=2)
    *_, padded = take_steps([ALL, ALL], valid=BUT_ONE, steps=2)
    jax.tree.map(np.testing.assert_array_equal, masked[1], padded[1])
    with pytest.raises(AssertionError):
        jax.tree.map(np.testing.assert_array_equal, masked[0], padded[0])


@pytest.mark.parametrize("together", [1, 2])
def test_heads_are_taken_out_and_put_back(together):
    heads = GroupedHeads(3, together)
    states = heads.form([{"a": jnp.full((2,), float(i))} for i in range(3)])
    states = heads.replace(states, 1, {"a": jnp.full((2,), 10.0)})
    states = heads.replace(states, 2, {"a": jnp.full((2,), 20.0)})
    assert [heads.take(states, i)["a"].tolist() for i in range(3)] == [[0, 0], [10, 10], [20, 20]]
