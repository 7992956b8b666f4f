from pathlib import Path

import pytest

from sampath_jax.config import load_config
from sampath_jax.training.plan import Plan


def plan(tiles, *overrides):
    values = ["--config.optim.batch_size=4", "--config.optim.accumulate=2", "--config.optim.warmup_epochs=0"]
    return Plan.from_config(load_config(Path("configs/demo.py"), [*values, *overrides]), tiles)


def test_short_windows_end_every_epoch():
    made = plan(18, "--config.optim.epochs=3")  # five batches: windows of 2, 2 and 1
    assert (made.steps_per_epoch, made.schedule.steps_per_epoch, made.total) == (5, 3, 15)
    assert [made.optimiser_steps(step) for step in range(11)] == [0, 0, 1, 1, 2, 3, 3, 4, 4, 5, 6]


@pytest.mark.parametrize(("epochs", "total"), [(0.3, 2), (1.0, 5), (1.34, 7), (1.7, 9), (2.0, 10)])
def test_runs_end_with_a_whole_optimiser_step(epochs, total):
    assert plan(18, f"--config.optim.epochs={epochs}").total == total


def test_milestones():
    made = plan(
        18,
        "--config.optim.epochs=2",
        "--config.eval.every_epochs=0.8",
        "--config.checkpoint.every_epochs=0.01",
        "--config.log.every_steps=3",
    )
    steps = range(made.total + 1)
    assert [s for s in steps if made.evaluates(s)] == [0, 4, 8, 10]
    assert [s for s in steps if made.saves(s)] == list(steps)
    assert [s for s in steps if made.logs(s)] == [0, 3, 6, 9, 10]
