import multiprocessing
import os
import resource
import signal
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sampath_jax.errors import InputError
from sampath_jax.training.checkpoints import Checkpoints


def head(value):
    return {
        "neck": {"conv1": {"kernel": jnp.full((3, 5), float(value))}},
        "tokens": jnp.full((2,), float(value)),
    }


def opt_state(value):
    return (jnp.asarray(value, jnp.int32), {"mean": head(value)})


def save(checkpoints, step, score=None):
    if score is not None:
        checkpoints.scores[step] = score
    checkpoints.save(step, head(step), opt_state(step), {"step": step})


def equal(a, b):
    return jax.tree.all(jax.tree.map(lambda x, y: bool((x == y).all()), a, b))


def test_best_and_last_are_kept_and_restored(tmp_path):
    with Checkpoints(tmp_path / "c", {}) as checkpoints:
        assert (checkpoints.last, checkpoints.best) == (None, None)
        for step, score in ((2, 0.5), (4, 0.9), (6, 0.7), (8, None)):
            save(checkpoints, step, score)
        checkpoints.wait()
        assert {p.name for p in (tmp_path / "c").iterdir()} == {"4", "8"}
    with Checkpoints(tmp_path / "c", {4: 0.9, 6: 0.95}, read_only=True) as checkpoints:
        assert (checkpoints.find("best"), checkpoints.find("last"), checkpoints.best_score) == (4, 8, 0.9)
        assert checkpoints.meta(8) == {"step": 8}
        restored = checkpoints.restore(8, head(0), opt_state(0))
        assert equal(restored, (head(8), opt_state(8)))
        assert equal(checkpoints.restore_head(4, head(0)), head(4))
        with pytest.raises(InputError, match="choose best or last"):
            checkpoints.find("first")


def test_a_step_scored_after_it_was_saved_is_kept_as_the_best(tmp_path):
    with Checkpoints(tmp_path, {}) as checkpoints:
        save(checkpoints, 2)
        checkpoints.scores[2] = 0.8
        save(checkpoints, 4, 0.3)
        checkpoints.wait()
        assert (checkpoints.best, checkpoints.last) == (2, 4)


def test_without_scores_the_last_is_the_best(tmp_path):
    with Checkpoints(tmp_path, {}) as checkpoints:
        with pytest.raises(InputError, match="no checkpoint yet"):
            checkpoints.find("best")
        save(checkpoints, 3)
        assert checkpoints.find("best") == 3


def test_arrays_land_where_the_given_ones_are(tmp_path):
    devices = jax.devices()
    with Checkpoints(tmp_path, {}) as checkpoints:
        save(checkpoints, 1)
        checkpoints.wait()
        like = jax.device_put(head(0), devices[1])
        restored = checkpoints.restore_head(1, like)
    assert restored["tokens"].devices() == {devices[1]}
    np.testing.assert_array_equal(restored["tokens"], [1.0, 1.0])


def test_saving_copies_before_it_returns(tmp_path):
    state = head(7)
    with Checkpoints(tmp_path, {}) as checkpoints:
        checkpoints.save(1, state, None, {})
        jax.tree.map(lambda array: array.delete(), state)  # as donation to the next step does
        checkpoints.wait()
        assert equal(checkpoints.restore_head(1, head(0)), head(7))
        with pytest.raises(InputError, match="converted model without optimiser state"):
            checkpoints.restore(1, head(0), opt_state(0))


def test_a_damaged_checkpoint_is_named(tmp_path):
    with Checkpoints(tmp_path, {}) as checkpoints:
        save(checkpoints, 1)
        checkpoints.wait()
        for file in (tmp_path / "1" / "head").rglob("*"):
            if file.is_file():
                file.write_bytes(file.read_bytes()[:10])
        with pytest.raises(InputError, match=rf"{tmp_path}/1 cannot be read"):
            checkpoints.restore(1, head(0), opt_state(0))


def _fill_the_disk(folder, queue):
    checkpoints = Checkpoints(folder, {})
    save(checkpoints, 1)
    checkpoints.wait()
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))  # no file may grow beyond 100 bytes
    try:
        with checkpoints:
            save(checkpoints, 2)
            for _ in range(2000):  # without waiting for it: the next save may be an hour away
                checkpoints.check()
                time.sleep(0.01)
        queue.put("saved")
    except InputError as error:
        queue.put(str(error))


def _save_and_be_killed(folder, queue):
    checkpoints = Checkpoints(folder, {})
    save(checkpoints, 1)
    checkpoints.wait()
    big = {"neck": jnp.ones((2000, 2000))}
    checkpoints.save(2, big, None, {"step": 2})
    for _ in range(2000):
        if list(folder.glob("2.*")) and not (folder / "2").exists():
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.0005)


def run_apart(target, folder):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=target, args=(folder, queue))
    process.start()
    process.join(120)
    return process.exitcode, queue


def test_a_full_disk_leaves_the_previous_checkpoint(tmp_path):
    _, queue = run_apart(_fill_the_disk, tmp_path)
    message = queue.get(timeout=10)
    assert "the disk is full" in message
    assert "the checkpoint of step 1 is intact" in message
    with Checkpoints(tmp_path, {}) as checkpoints:
        assert equal(checkpoints.restore(1, head(0), opt_state(0)), (head(1), opt_state(1)))
        save(checkpoints, 2)
        checkpoints.wait()
        assert checkpoints.last == 2


def test_a_kill_while_saving_leaves_the_previous_checkpoint(tmp_path):
    status, _ = run_apart(_save_and_be_killed, tmp_path)
    assert status == -signal.SIGKILL
    with Checkpoints(tmp_path, {}) as checkpoints:
        assert checkpoints.last == 1
        assert equal(checkpoints.restore(1, head(0), opt_state(0)), (head(1), opt_state(1)))
        save(checkpoints, 2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["2"]
