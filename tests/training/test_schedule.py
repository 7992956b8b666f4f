import numpy as np
import pytest

from configs import bcss, crag
from sampath_jax.config import base_config
from sampath_jax.training.schedule import Schedule


@pytest.mark.parametrize(
    ("experiment", "tiles", "warmup", "drops"),
    [(bcss, 1720, 72, (1800, 2088)), (crag, 138, 46, (1150, 1265))],
)
def test_published_epochs_become_the_published_steps(experiment, tiles, warmup, drops):
    config = experiment.get_config().optim
    schedule = Schedule.from_config(config, -(-tiles // config.batch_size))
    assert (schedule.warmup, schedule.drops) == (warmup, drops)
    assert schedule.total == config.epochs * schedule.steps_per_epoch


def test_rates_of_a_short_schedule():
    """The rates of the short reference run: warm-up of 2, drops at 6 and 8."""
    schedule = Schedule(1e-3, warmup=2, drops=(6, 8), drop_factor=0.1, steps_per_epoch=2, total=10)
    expected = [0, 5e-4, 1e-3, 1e-3, 1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5]
    np.testing.assert_allclose([schedule(step) for step in range(10)], expected, rtol=1e-6)


def test_no_warmup_and_no_drops():
    schedule = Schedule(0.5, warmup=0, drops=(), drop_factor=0.1, steps_per_epoch=2, total=10)
    np.testing.assert_array_equal([schedule(step) for step in (0, 9)], [0.5, 0.5])


def test_fractions_of_epochs_are_rounded_to_whole_steps():
    config = base_config().optim
    config.accumulate, config.warmup_epochs, config.drop_epochs, config.epochs = 2, 0.3, (1.5,), 0.01
    schedule = Schedule.from_config(config, 9)
    assert (schedule.steps_per_epoch, schedule.warmup, schedule.drops, schedule.total) == (5, 2, (8,), 1)
