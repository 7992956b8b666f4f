import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from sampath_jax.config import base_config
from sampath_jax.training.optimiser import make_optimiser

pytestmark = pytest.mark.optim

SHAPES = {"kernel": (3, 5), "bias": (5,), "never_reached": (4,)}


def make_config(accumulate: int = 1):
    config = base_config().optim
    config.learning_rate, config.weight_decay, config.accumulate = 0.05, 0.3, accumulate
    config.warmup_epochs, config.drop_epochs = 1.0, (2.0, 3.0)
    return config


def arrays(rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}


def gradients(seed: int) -> dict[str, np.ndarray]:
    return arrays(np.random.default_rng(seed)) | {"never_reached": np.zeros(4, np.float32)}


def train(config, steps_per_epoch: int, micro_batches: int) -> list[dict[str, jax.Array]]:
    """The parameters after each micro-batch."""
    tx = make_optimiser(config, steps_per_epoch)
    update = jax.jit(tx.update)
    params = jax.tree.map(jnp.asarray, arrays(np.random.default_rng(99)))
    state, history = tx.init(params), []
    for seed in range(micro_batches):
        updates, state = update(gradients(seed), state, params)
        params = optax.apply_updates(params, updates)
        history.append(params)
    return history


def train_in_torch(config, windows: list[list[int]], rate) -> dict[str, np.ndarray]:
    """torch's AdamW, stepped once per window of micro-batches; `rate(step)` is a factor."""
    params = {n: torch.nn.Parameter(torch.tensor(a)) for n, a in arrays(np.random.default_rng(99)).items()}
    adamw = torch.optim.AdamW(params.values(), config.learning_rate, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(adamw, rate)
    for window in windows:
        for name, parameter in params.items():
            parameter.grad = sum(torch.tensor(gradients(seed)[name]) / config.accumulate for seed in window)
        adamw.step()
        schedule.step()
    return {name: parameter.detach().numpy() for name, parameter in params.items()}


def close(ours, theirs):
    for name in SHAPES:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=2e-5, atol=1e-6, err_msg=name)


def test_as_torch_with_warmup_and_drops():
    """Three micro-batches per epoch: warm-up of 3 steps, drops at 6 and 9."""
    ours = train(make_config(), 3, 12)[-1]
    factor = lambda t: t / 3 if t < 3 else 1 if t < 6 else 0.1 if t < 9 else 0.01  # noqa: E731
    close(ours, train_in_torch(make_config(), [[i] for i in range(12)], factor))


def test_accumulation_as_published():
    """Five micro-batches, two per window: three steps per epoch, the last from one gradient over two."""
    ours = train(make_config(accumulate=2), 5, 10)
    windows = [[0, 1], [2, 3], [4], [5, 6], [7, 8], [9]]
    factor = lambda t: t / 3 if t < 3 else 1.0  # noqa: E731
    close(ours[-1], train_in_torch(make_config(accumulate=2), windows, factor))
    changes = [bool((a["bias"] != b["bias"]).any()) for a, b in itertools.pairwise(ours)]
    #           1      2      3     4     5      6     7      8     9
    assert changes == [False, False, True, True, False, True, False, True, True]


def test_the_first_step_changes_nothing():
    first = train(make_config(), 3, 1)[0]
    for name, start in arrays(np.random.default_rng(99)).items():
        np.testing.assert_array_equal(first[name], start)


def test_tensors_that_the_loss_never_reaches_only_decay():
    """Every step multiplies them by 1 - rate * decay: rates 0, 1/3, 2/3 and 1 of 0.05, decay 0.3."""
    last = train(make_config(), 3, 4)[-1]["never_reached"]
    factor = (1 - 0.005) * (1 - 0.01) * (1 - 0.015)
    start = arrays(np.random.default_rng(99))["never_reached"]
    np.testing.assert_allclose(last, start * factor, rtol=1e-6)


def test_accumulation_is_compiled_once():
    tx = make_optimiser(make_config(accumulate=2), 3)
    params = jax.tree.map(jnp.asarray, arrays(np.random.default_rng(99)))
    update, state = jax.jit(tx.update), tx.init(params)
    for seed in range(4):
        _, state = update(gradients(seed), state, params)
    assert update._cache_size() == 1
