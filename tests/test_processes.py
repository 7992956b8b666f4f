"""The command itself in two processes that talk through gloo: stopped, resumed, refused."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sampath_jax.training.loop import train
from tests.training.experiments import TOTAL, dataset, small_config, small_overrides

pytestmark = pytest.mark.optim

#: Programs for several processes are compiled every time: less model, less to compile.
LESS = ("mesh.data=2", "model.encoders=hipt", "augment.enabled=False")


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    return dataset(tmp_path_factory.mktemp("tiles"))


def start(tiles: Path, path: Path, *overrides: str) -> list[subprocess.Popen]:
    """The command in two processes of one device each."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    count = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2", "JAX_NUM_CPU_DEVICES": "1"}
    command = [sys.executable, "-m", "sampath_jax.train", "--config", "configs/demo.py"]
    return [
        subprocess.Popen(
            [*command, "--workdir", str(path), *small_overrides(tiles, *LESS, *overrides)],
            env=os.environ | count | {"JAX_PROCESS_ID": str(index)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(2)
    ]


def ended(processes: list[subprocess.Popen]) -> tuple[list[int], list[str], list[str]]:
    """Exit statuses, output without gloo's own, messages."""
    try:
        said = [process.communicate(timeout=300) for process in processes]
    finally:
        for process in processes:
            process.kill()
    out = ["".join(x for x in text.splitlines(True) if not x.startswith("[Gloo]")) for text, _ in said]
    return [process.returncode for process in processes], out, [err for _, err in said]


def metrics(path: Path) -> list[dict]:
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]


def test_stopped_by_a_signal_to_one_and_resumed_two_processes_train_like_one(tiles, tmp_path):
    processes = start(tiles, tmp_path / "two")
    for line in processes[0].stdout:
        if line.startswith("step 2/"):
            break
    processes[1].send_signal(signal.SIGTERM)
    statuses, out, err = ended(processes)
    assert statuses == [128 + signal.SIGTERM] * 2, err
    assert "stopped by SIGTERM after step" in err[0]
    assert (out[1], err[1]) == ("", "")

    statuses, out, err = ended(start(tiles, tmp_path / "two"))
    assert statuses == [0, 0], err
    assert "Resuming after step" in out[0]
    assert f"Done: {TOTAL} steps" in out[0]
    assert (out[1], err[1]) == ("", "")

    train(small_config(tiles, *LESS), tmp_path / "one")
    one, two = metrics(tmp_path / "one"), metrics(tmp_path / "two")
    assert [record["step"] for record in two] == [record["step"] for record in one]
    for ours, theirs in zip(two[1:], one[1:], strict=True):
        for name, value in theirs["train"].items():
            np.testing.assert_allclose(ours["train"][name], value, rtol=1e-5, err_msg=name)
        np.testing.assert_allclose(ours["val"]["macro_dice"], theirs["val"]["macro_dice"], rtol=1e-3)


def test_input_that_one_process_refuses_ends_both_with_one_message(tiles, tmp_path):
    statuses, out, err = ended(start(tiles, tmp_path / "run", "data.val_fold=9"))
    assert statuses == [2, 2]
    assert "no tile has fold 9" in " ".join(err[0].split())
    assert err[0].count("error:") == 1
    assert (out[1], err[1]) == ("", "")
    assert not (tmp_path / "run").exists()
