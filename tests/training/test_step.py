import chex
import jax
import numpy as np
import pytest
from flax import nnx

from sampath_jax.data.augmentation import AugmentConfig, augment, example_keys
from sampath_jax.distributed import Placement, make_mesh
from sampath_jax.training.losses import LossWeights, sampath_loss
from sampath_jax.training.optimiser import make_optimiser
from sampath_jax.training.state import TrainState
from sampath_jax.training.step import make_train_step
from tests.training import tiny

pytestmark = pytest.mark.optim

STEPS_PER_EPOCH = 3


@pytest.fixture(scope="module")
def run():
    """Five guarded steps on two devices, the third on a short batch; what was seen on the way."""
    experiment = tiny.experiment()
    experiment.config.augment.enabled = True
    placement = Placement(make_mesh(experiment.config.mesh))
    tx = make_optimiser(experiment.config.optim, STEPS_PER_EPOCH)
    step = chex.assert_max_traces(make_train_step(experiment.graphdef, tx, experiment.config), n=1)
    compiled = placement.compile_step(step, experiment.frozen)
    state = placement.put(TrainState.create(experiment.head, tx))
    frozen = placement.put_frozen(experiment.frozen)
    batches = [placement.put_batch(tiny.batch(i, valid=5 if i == 2 else 8)) for i in range(5)]
    metrics, first = [], state
    for batch in batches:
        with jax.transfer_guard("disallow"):
            state, scalars = compiled(state, frozen, batch)
        metrics.append(jax.device_get(scalars))
    return {"experiment": experiment, "metrics": metrics, "first": first, "frozen": frozen}


def test_traced_once_without_implicit_transfers(run):
    """`assert_max_traces` and the transfer guard in the fixture would have raised."""
    assert len(run["metrics"]) == 5


def test_the_state_is_donated_and_the_encoders_are_not(run):
    assert all(array.is_deleted() for array in jax.tree.leaves(run["first"]))
    assert not any(array.is_deleted() for array in jax.tree.leaves(run["frozen"]))


def test_the_loss_falls(run):
    assert run["metrics"][4]["loss"] < run["metrics"][0]["loss"]


def test_losses_are_those_of_the_augmented_batch(run):
    experiment = run["experiment"]

    @jax.jit
    def forward(head, frozen, batch):
        keys = example_keys(experiment.config.seed, batch["epoch"], batch["index"])
        augmentation = AugmentConfig.from_config(experiment.config.augment)
        images, labels = augment(keys, batch["image"], batch["label"], augmentation)
        logits, iou = nnx.merge(experiment.graphdef, head, frozen)(images)
        return sampath_loss(logits, iou, labels, batch["valid"], LossWeights(0.25, 0.0625, "published"))

    expected = forward(experiment.head, experiment.frozen, tiny.batch(0))._asdict()
    expected["loss"] = expected.pop("total")
    for name, value in expected.items():
        np.testing.assert_allclose(run["metrics"][0][name], value, rtol=1e-5, err_msg=name)
