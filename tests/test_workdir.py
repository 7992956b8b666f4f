import errno
import json
import multiprocessing
import os
from pathlib import Path

import pytest

from sampath_jax.config import load_config
from sampath_jax.errors import InputError
from sampath_jax.workdir import WorkDir, explain_os_errors, write_atomically


def config(*overrides):
    return load_config(Path("configs/demo.py"), overrides)


def test_create_then_open_gives_the_config_back(tmp_path):
    WorkDir.create(tmp_path / "a" / "run", config("--config.loss.alpha=0.5"))
    again = WorkDir.open(tmp_path / "a" / "run")
    assert again.config.loss.alpha == 0.5
    assert again.config.data.classes == config().data.classes


def test_a_changed_config_is_refused_with_the_difference(tmp_path):
    learnt_something(tmp_path)
    with pytest.raises(InputError) as error:
        WorkDir.create(tmp_path, config("--config.loss.alpha=0.5", "--config.seed=7"))
    assert "config.loss.alpha: was 0.25, now 0.5" in str(error.value)
    assert "config.seed: was 0, now 7" in str(error.value)
    assert WorkDir.open(tmp_path).config.seed == 0


def learnt_something(path):
    WorkDir.create(path, config())
    (path / "checkpoints" / "4").mkdir(parents=True)


def test_a_run_that_has_learnt_nothing_yet_takes_the_corrected_config(tmp_path):
    WorkDir.create(tmp_path, config())
    (tmp_path / "checkpoints" / "4.orbax-checkpoint-tmp").mkdir(parents=True)  # killed while saving
    (tmp_path / "run.json").write_text("{}")
    WorkDir.create(tmp_path, config("--config.optim.batch_size=2"))
    assert WorkDir.open(tmp_path).config.optim.batch_size == 2
    (tmp_path / "evaluation").mkdir()  # a baseline's
    with pytest.raises(InputError, match=r"optim\.batch_size: was 2, now 4"):
        WorkDir.create(tmp_path, config())


@pytest.mark.parametrize(
    "override",
    [
        *("data.root=/else", "data.csv=folds.csv", "log.every_steps=1", "mesh.model=2", "data.workers=0"),
        *("weights.sam=/else", "name=b"),
    ],
)
def test_paths_logging_and_devices_may_change(tmp_path, override):
    learnt_something(tmp_path)
    WorkDir.create(tmp_path, config(f"--config.{override}"))
    key, value = override.split("=")
    section, _, leaf = key.rpartition(".")
    stored = WorkDir.open(tmp_path).config
    assert str((stored[section] if section else stored)[leaf]) == value


def test_other_folders_are_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        WorkDir.open(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"holds no config\.json"):
        WorkDir.open(tmp_path)
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(InputError, match="name a new or empty folder"):
        WorkDir.create(tmp_path, config())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"format": 99, "version": "9.9", "config": {}}', "written by version 9.9"),
        ('{"format": 1, "version"', "is damaged"),
        ("{}", "is damaged"),
    ],
)
def test_an_unusable_config_file_is_named(tmp_path, content, message):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(InputError, match=message) as error:
        WorkDir.open(tmp_path)
    assert str(tmp_path / "config.json") in str(error.value)


def _try_to_lock(path, queue):
    try:
        with WorkDir.open(path).lock():
            queue.put("locked")
    except InputError as error:
        queue.put(str(error))


def test_one_writer_at_a_time(tmp_path):
    workdir = WorkDir.create(tmp_path, config())
    context = multiprocessing.get_context("fork")
    queue = context.Queue()

    def other():
        process = context.Process(target=_try_to_lock, args=(tmp_path, queue))
        process.start()
        process.join()
        return queue.get(timeout=10)

    with workdir.lock():
        assert f"process {os.getpid()}" in other()
    assert other() == "locked"


def test_the_lock_takes_no_blame_for_errors_under_it(tmp_path):
    with pytest.raises(PermissionError, match="weights"), WorkDir(tmp_path / "run", config()).lock():
        raise PermissionError(errno.EACCES, "weights")


def record(step, dice):
    return {"step": step, "val": {"macro_dice": dice}}


def test_metrics_survive_a_kill_and_are_rewound_on_resume(tmp_path):
    workdir = WorkDir.create(tmp_path, config())
    assert workdir.read_metrics() == []
    for step, dice in ((0, 0.1), (5, None), (10, 0.4)):
        workdir.append_metrics(record(step, dice))
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"step": 15, "val": {"mac')
    assert [r["step"] for r in workdir.read_metrics()] == [0, 5, 10]
    assert workdir.scores() == {0: 0.1, 10: 0.4}
    workdir.rewind_metrics(5)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [0, 5]


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    file = tmp_path / "config.json"
    write_atomically(file, "old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="No space left on device"), explain_os_errors(tmp_path):
        write_atomically(file, "new")
    assert file.read_text() == "old"
