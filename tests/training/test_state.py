import jax
import numpy as np
import pytest

from configs import bcss, crag
from sampath_jax.models.config import SamPathConfig
from sampath_jax.models.freezing import split_head
from sampath_jax.training.optimiser import make_optimiser
from sampath_jax.training.state import TrainState
from sampath_jax.weights import abstract_model

pytestmark = pytest.mark.optim


@pytest.mark.parametrize(("experiment", "parameters"), [(bcss, 5_365_063), (crag, 4_944_100)])
def test_real_size(experiment, parameters):
    """The published number of trained parameters, and under 100 MB in a checkpoint."""
    config = experiment.get_config()
    _, head, _ = split_head(abstract_model(SamPathConfig.from_config(config)))
    state = jax.eval_shape(lambda: TrainState.create(zeros(head), make_optimiser(config.optim, 10)))
    assert sum(leaf.size for leaf in jax.tree.leaves(state.head)) == parameters
    assert sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state)) < 100e6


def zeros(tree):
    return jax.tree.map(lambda leaf: jax.numpy.zeros(leaf.shape, leaf.dtype), tree)


def test_the_beginning():
    head = {"kernel": np.ones((2, 3), np.float32)}
    state = TrainState.create(head, make_optimiser(bcss.get_config().optim, 10))
    assert state.step == 0
    moments = [leaf for leaf in jax.tree.leaves(state.opt_state) if leaf.shape == (2, 3)]
    assert len(moments) == 3  # two of Adam and the sum over the window
    assert not any(moment.any() for moment in moments)
