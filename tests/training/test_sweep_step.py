"""The step of many heads: the same together as one after another, in place, without their own tiles."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sampath_jax.distributed import Placement, make_mesh
from sampath_jax.training.heads import GroupedHeads, Parameters
from sampath_jax.training.optimiser import make_optimiser
from sampath_jax.training.state import TrainState
from sampath_jax.training.sweep_step import SweepPrograms, SweepStep, Terms
from tests.training import tiny

pytestmark = pytest.mark.optim

ALPHAS, BETAS = (0.0, 0.25, 1.0), (0.5, 0.0, 0.0625)
#: The tile that validates each head, if any.
LEFT_OUT = (None, 5, None)
STEPS = 3


@pytest.fixture(scope="module")
def experiment():
    made = tiny.experiment(accumulate=2)
    made.config.mesh.data = 1
    return made


@pytest.fixture(scope="module")
def programs(experiment):
    shapes = jax.eval_shape(lambda: (experiment.head, experiment.frozen))
    tx = make_optimiser(experiment.config.optim, STEPS)
    placement = Placement(make_mesh(experiment.config.mesh))
    return SweepPrograms(experiment.graphdef, *shapes, tx, experiment.config, placement, tiny.BATCH)


def counted(head):
    return np.arange(tiny.BATCH) != LEFT_OUT[head]


@pytest.fixture(scope="module")
def compiled(programs):
    return functools.cache(lambda together, stacked: programs.step(together, stacked))


def put_states(experiment, programs, heads):
    make = jax.jit(lambda head: TrainState.create(head, programs.tx))
    return programs.placement.put(heads.form([make(experiment.head) for _ in ALPHAS]))


def make_step(programs, compiled, heads, masks):
    terms = [
        Terms(jnp.float32(a), jnp.float32(b), jnp.asarray(mask))
        for a, b, mask in zip(ALPHAS, BETAS, masks, strict=True)
    ]
    steps = [compiled(len(group), heads.together > 1) for group in heads.groups]
    return SweepStep(programs, heads, steps, terms)


def take_steps(experiment, programs, step, heads, valid=True):
    """The metrics of each step, and the heads after the last."""
    states, seen = put_states(experiment, programs, heads), []
    frozen = programs.placement.put_frozen(experiment.frozen)
    for number in range(STEPS):
        batch = tiny.batch(number)
        batch["valid"] &= valid
        batch = programs.placement.put_batch(batch)
        with jax.transfer_guard("disallow"):
            states, metrics = step(states, frozen, batch)
        seen.append(jax.device_get(metrics))
    return seen, jax.device_get(list(Parameters(heads, states, range(len(ALPHAS)))))


@pytest.fixture(scope="module")
def one_after_another(experiment, programs, compiled):
    heads = GroupedHeads(len(ALPHAS), 1)
    step = make_step(programs, compiled, heads, [counted(i) for i in range(len(ALPHAS))])
    return take_steps(experiment, programs, step, heads)


def test_heads_step_together_as_one_after_another(experiment, programs, compiled, one_after_another):
    """In groups of two and one."""
    heads = GroupedHeads(len(ALPHAS), 2)
    step = make_step(programs, compiled, heads, [counted(i) for i in range(len(ALPHAS))])
    metrics, finals = take_steps(experiment, programs, step, heads)
    for ours, theirs in zip(metrics, one_after_another[0], strict=True):
        assert len(set(theirs["loss"].tolist())) == len(ALPHAS)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), ours, theirs)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-4), finals, one_after_another[1])


def test_a_tile_that_does_not_count_is_as_good_as_padding(experiment, programs, compiled, one_after_another):
    heads, masked = GroupedHeads(len(ALPHAS), 1), 1
    step = make_step(programs, compiled, heads, [np.ones(tiny.BATCH, bool)] * len(ALPHAS))
    _, finals = take_steps(experiment, programs, step, heads, valid=counted(masked))
    jax.tree.map(np.testing.assert_array_equal, finals[masked], one_after_another[1][masked])
    with pytest.raises(AssertionError):
        jax.tree.map(np.testing.assert_array_equal, finals[0], one_after_another[1][0])


def test_a_step_updates_the_states_in_place(experiment, programs, compiled):
    """Memory after a step is what it was before: heads cost their states and nothing more."""
    heads = GroupedHeads(len(ALPHAS), 1)
    step = make_step(programs, compiled, heads, [counted(i) for i in range(len(ALPHAS))])
    states = put_states(experiment, programs, heads)
    frozen = programs.placement.put_frozen(experiment.frozen)
    batch = programs.placement.put_batch(tiny.batch(0))
    places = [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(states) if leaf.size > 1]
    new, _ = step(states, frozen, batch)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(states))
    assert places == [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(new) if leaf.size > 1]


@pytest.mark.parametrize("together", [1, 2])
def test_heads_are_taken_out_and_put_back(together):
    heads = GroupedHeads(3, together)
    states = heads.form([{"a": jnp.full((2,), float(i))} for i in range(3)])
    states = heads.replace(states, 1, {"a": jnp.full((2,), 10.0)})
    states = heads.replace(states, 2, {"a": jnp.full((2,), 20.0)})
    assert [heads.take(states, i)["a"].tolist() for i in range(3)] == [[0, 0], [10, 10], [20, 20]]
