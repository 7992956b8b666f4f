"""The whole loop on a tiny experiment: same numbers again, exact resumption, clean ends."""

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from sampath_jax import workdir
from sampath_jax.distributed import Placement
from sampath_jax.errors import InputError
from sampath_jax.training import run as run_module
from sampath_jax.training.checkpoints import Checkpoints
from sampath_jax.training.loop import train
from sampath_jax.workdir import WorkDir, load_model
from tests.training.experiments import TOTAL, small_config, small_overrides

pytestmark = pytest.mark.optim


def saved(path, step=TOTAL):
    """Everything in a checkpoint, as a flat list of arrays, and its JSON."""
    with Checkpoints(path / "checkpoints", {}, read_only=True) as checkpoints:
        items = checkpoints._manager.restore(step)
    return jax.tree.leaves((items["head"], items["opt_state"])), items["meta"]


def metrics(path):
    """The lines of `metrics.jsonl` without the time of day."""
    records = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in record.items() if key != "time"} for record in records]


def losses(path):
    """Training losses per evaluation."""
    return [record["train"]["loss"] for record in metrics(path) if record["train"]]


@pytest.fixture(scope="module")
def whole_run(tiles, tmp_path_factory):
    """A run from start to end: its folder, and its training steps as `Placement.compile_step` made them."""
    path, compiled = tmp_path_factory.mktemp("uninterrupted"), []
    compile_step = Placement.compile_step

    def noted(*arguments):
        compiled.append(compile_step(*arguments))
        return compiled[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Placement, "compile_step", noted)
        outcome = train(small_config(tiles), path)
    assert (outcome.step, outcome.total, outcome.exit_status) == (TOTAL, TOTAL, 0)
    return path, compiled


@pytest.fixture(scope="module")
def uninterrupted(whole_run):
    """The folder of a run from start to end."""
    return whole_run[0]


def test_the_step_is_compiled_once_whatever_is_evaluated_and_saved(whole_run):
    (step,) = whole_run[1]
    assert step._cache_size() == 1


def test_a_run_leaves_what_others_read(uninterrupted):
    records = metrics(uninterrupted)
    assert [record["step"] for record in records] == [0, 3, 6, 9]
    assert records[0]["train"] == {}
    assert set(records[1]["train"]) == {"loss", "dice", "focal", "iou", "grad_norm"}
    assert set(records[1]["val"]["per_class"]) == {"gland", "stroma", "lymphocytes", "necrosis"}
    scores = WorkDir.open(uninterrupted).scores()
    best = max((step for step in scores if step), key=lambda step: scores[step])
    assert {p.name for p in (uninterrupted / "checkpoints").iterdir()} == {str(best), str(TOTAL)}
    for name, step in (("best", best), ("last", TOTAL)):
        loaded = load_model(uninterrupted, name)
        assert loaded.step == step
        ours = {leaf.tobytes() for leaf in map(np.asarray, jax.tree.leaves(loaded.model))}
        assert {leaf.tobytes() for leaf in saved(uninterrupted, step)[0][:20]} <= ours


def start(tiles, path):
    """The command in a process of its own, with as many devices as this one."""
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "sampath_jax.train", "--config", "configs/demo.py"),
            *("--workdir", str(path)),
            *small_overrides(tiles),
        ],
        env=os.environ | {"JAX_NUM_CPU_DEVICES": str(jax.device_count())},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_step(process, step):
    """Reads output until `step` is reported; returns what came before."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith(f"step {step}/"):
            return lines
    raise AssertionError("".join(lines) + process.stderr.read())


def test_stopped_and_killed_and_resumed_it_ends_bit_for_bit_the_same(uninterrupted, tiles, tmp_path):
    path = tmp_path / "run"
    process = start(tiles, path)
    wait_for_step(process, 2)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM
    assert "stopped by SIGTERM after step" in err
    assert "Traceback" not in err
    stopped_at = int(err.split("after step ")[1].split(";")[0])
    assert saved(path, stopped_at)[1]["step"] == stopped_at

    process = start(tiles, path)
    wait_for_step(process, random.randrange(stopped_at + 1, TOTAL))
    process.kill()
    process.wait()

    assert train(small_config(tiles), path).step == TOTAL
    ours, meta = saved(path)
    theirs, their_meta = saved(uninterrupted)
    assert meta == their_meta
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)
    assert metrics(path) == metrics(uninterrupted)


def test_same_seed_same_numbers_other_seed_other_numbers(uninterrupted, tiles, tmp_path):
    train(small_config(tiles), tmp_path / "again")
    assert metrics(tmp_path / "again") == metrics(uninterrupted)
    train(small_config(tiles, "seed=1", "optim.epochs=1", "optim.drop_epochs=()"), tmp_path / "other")
    assert losses(tmp_path / "other")[0] != losses(uninterrupted)[0]


def test_another_device_count_goes_on_with_the_same_loss(uninterrupted, tiles, tmp_path, monkeypatch):
    path = tmp_path / "run"
    config = small_config(tiles)
    stop_after(monkeypatch, 4)
    assert train(config, path).step == 4
    monkeypatch.undo()
    outcome = train(small_config(tiles, "mesh.data=2"), path)
    assert outcome.step == TOTAL
    np.testing.assert_allclose(losses(path), losses(uninterrupted), rtol=1e-5)


def stop_after(monkeypatch, step):
    """A signal arrives while `step` is under way."""
    advance = run_module.Run.advance

    def stopping(run):
        advance(run)
        if run.step == step:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(run_module.Run, "advance", stopping)


class Died(Exception):
    """In place of SIGKILL."""


def die(run):
    raise Died


def test_interrupted_where_an_evaluation_is_due_it_evaluates_first_thing(
    uninterrupted, tiles, tmp_path, monkeypatch, capsys
):
    stop_after(monkeypatch, 3)
    outcome = train(small_config(tiles), tmp_path / "run")
    monkeypatch.undo()
    assert (outcome.step, outcome.exit_status) == (3, 128 + signal.SIGINT)
    assert [record["step"] for record in metrics(tmp_path / "run")] == [0]
    monkeypatch.setattr(run_module.Run, "advance", die)  # after the evaluation, before another save
    with pytest.raises(Died):
        train(small_config(tiles), tmp_path / "run")
    monkeypatch.undo()
    assert [record["step"] for record in metrics(tmp_path / "run")] == [0, 3]
    train(small_config(tiles), tmp_path / "run")
    assert metrics(tmp_path / "run") == metrics(uninterrupted)
    assert "Resuming after step 3 of 9" in capsys.readouterr().out


def test_a_finished_run_only_says_so(uninterrupted, tiles, capsys):
    before = saved(uninterrupted)[1]
    assert train(small_config(tiles), uninterrupted).step == TOTAL
    assert saved(uninterrupted)[1] == before


def test_a_loss_that_is_not_finite_stops_with_the_tiles_and_the_last_good_checkpoint(
    tiles, tmp_path, monkeypatch
):
    class Poisoned(run_module.LossWatch):
        def add(self, step, values):
            super().add(step, values | {"loss": values["loss"] * float("nan")} if step == 5 else values)

    monkeypatch.setattr(run_module, "LossWatch", Poisoned)
    with pytest.raises(InputError) as error:
        train(small_config(tiles, "log.every_steps=100"), tmp_path / "run")
    message = str(error.value)
    assert "the loss of step 5 is not finite (" in message
    assert "loss nan" in message
    assert message.count(".png") == 4
    assert "the last good checkpoint is of step 4" in message
    assert {p.name for p in (tmp_path / "run" / "checkpoints").iterdir()} <= {"3", "4"}


def test_changed_tiles_and_changed_weights_are_refused(uninterrupted, tiles, tmp_path, monkeypatch):
    fewer = tmp_path / "fewer"
    fewer.mkdir()
    for name in ("img", "mask"):
        (fewer / name).symlink_to(tiles / name)
    rows = (tiles / "cv.csv").read_text().splitlines()
    (fewer / "cv.csv").write_text("\n".join([rows[0], *rows[2:]]))
    with pytest.raises(InputError, match="the data set has changed"):
        train(small_config(fewer), uninterrupted)
    monkeypatch.setattr(workdir, "frozen_fingerprint", lambda model: "0123456789abcdef")
    with pytest.raises(InputError, match="leads to 0123456789ab"):
        load_model(uninterrupted)
    monkeypatch.setattr("sampath_jax.training.session.frozen_fingerprint", lambda model: "0123456789abcdef")
    with pytest.raises(InputError, match="leads to 0123456789ab"):
        train(small_config(tiles), uninterrupted)


def test_a_refused_start_does_not_block_the_corrected_command(tiles, tmp_path):
    for alpha in (0.5, 0.25):
        with pytest.raises(InputError, match="/nowhere"):
            train(small_config(tiles, f"loss.alpha={alpha}", "weights.sam=/nowhere"), tmp_path)
    assert WorkDir.open(tmp_path).config.loss.alpha == 0.25
    with pytest.raises(InputError, match="no tile has fold 9"):
        train(small_config(tiles, "data.val_fold=9"), tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_cached_and_computed_features_score_the_same(uninterrupted, tiles, tmp_path):
    for memory, disk in ((0.0, 0.0), (0.0, 1.0)):
        path = tmp_path / f"{memory}-{disk}"
        sizes = (f"data.cache_memory_gb={memory}", f"data.cache_disk_gb={disk}")
        train(small_config(tiles, *sizes, "optim.epochs=1"), path)
        assert metrics(path)[:2] == metrics(uninterrupted)[:2]
        assert any(Path(path / "cache").rglob("*.npy")) == (disk > 0)
