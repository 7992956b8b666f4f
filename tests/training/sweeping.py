"""The programs of a sweep of the tiny experiment, compiled once for all tests of a process."""

import functools
from typing import Any

import jax

from sampath_jax.distributed import Placement, make_mesh
from sampath_jax.training.optimiser import make_optimiser
from sampath_jax.training.sweep_step import SweepPrograms
from tests.training import tiny


@functools.cache
def experiment() -> tiny.Experiment:
    """On one device, with a window of two micro-batches, so that states hold gradients too."""
    made = tiny.experiment(accumulate=2)
    made.config.mesh.data = 1
    return made


@functools.cache
def programs() -> SweepPrograms:
    """Of `experiment`."""
    graphdef, config = experiment().graphdef, experiment().config
    shapes = jax.eval_shape(lambda: (experiment().head, experiment().frozen))
    tx = make_optimiser(config.optim, steps_per_epoch=3)
    return SweepPrograms(graphdef, *shapes, tx, config, Placement(make_mesh(config.mesh)), tiny.BATCH)


@functools.cache
def step_of_one() -> Any:
    """The program of groups of a single head."""
    return programs().step(1, stacked=False)
