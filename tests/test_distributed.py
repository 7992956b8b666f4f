import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from sampath_jax.config import base_config
from sampath_jax.distributed import Placement, launcher, make_mesh, start
from sampath_jax.errors import InputError

ROOT = Path(__file__).parents[1]
BY_HAND = {"JAX_COORDINATOR_ADDRESS": "host:1234", "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "0"}
SLURM_STEP = {"SLURM_JOB_ID": "1", "SLURM_STEP_NODELIST": "node[1-2]"}


def mesh_config(data: int = -1, model: int = 1):
    config = base_config().mesh
    config.data, config.model = data, model
    return config


def worker(meshes: list[list[int]], devices: int, **variables: str) -> subprocess.Popen:
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": str(devices), "JAX_PLATFORMS": "cpu"} | variables
    command = [sys.executable, "-m", "tests.distributed_worker", json.dumps(meshes)]
    return subprocess.Popen(
        command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def results(process: subprocess.Popen) -> dict[tuple[int, ...], dict]:
    output, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]  # gloo prints too
    return {tuple(line["mesh"]): line for line in lines}


@pytest.fixture(scope="module")
def runs():
    """The same four steps: by one process on several meshes, and by two processes that talk through gloo."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    count = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2"}
    processes = [
        worker([[1, 1], [3, 1], [8, 1], [4, 2]], devices=8),
        *(worker([[2, 1, 1]], devices=1, JAX_PROCESS_ID=str(index), **count) for index in range(2)),
    ]
    try:
        return [results(process) for process in processes]
    finally:
        for process in processes:
            process.kill()


@pytest.mark.parametrize("mesh", [(3, 1), (8, 1), (4, 2)])  # batches of eight
def test_the_loss_does_not_depend_on_the_devices(runs, mesh):
    alone, many = runs[0][1, 1], runs[0][mesh]
    np.testing.assert_allclose(many["losses"], alone["losses"], rtol=1e-5)
    np.testing.assert_allclose(many["head_norm"], alone["head_norm"], rtol=1e-5)
    assert alone["losses"][3] < alone["losses"][0]


def test_encoders_are_split_over_the_model_axis_only(runs):
    assert runs[0][8, 1]["split"] == 0
    assert runs[0][4, 2]["split"] > 0


def test_two_processes_train_from_features_that_each_encodes_and_keeps_alone(runs):
    """Without augmentation the only view is the tile itself, so this is the same training as from images.

    `test_processes.py` trains from images in two processes.
    """
    alone, first, second = runs[0][1, 1], runs[1][2, 1, 1], runs[2][2, 1, 1]
    assert first["processes"] == second["processes"] == 2
    np.testing.assert_allclose(first["losses"], alone["losses"], rtol=1e-5)
    np.testing.assert_allclose(first["head_norm"], alone["head_norm"], rtol=1e-5)
    assert first == second


def test_kernels_are_split_along_the_last_divisible_axis():
    placement = Placement(make_mesh(mesh_config(data=1, model=2)))
    shapes = {"odd": (64, 301), "qkv": (96, 288), "all odd": (301, 101), "vector": (2**20,), "small": (8, 8)}
    specs = {
        name: sharding.spec
        for name, sharding in placement.frozen({n: np.zeros(s) for n, s in shapes.items()}).items()
    }
    whole = PartitionSpec()
    assert specs == {
        "odd": PartitionSpec("model"),
        "qkv": PartitionSpec(None, "model"),
        "all odd": whole,
        "vector": whole,
        "small": whole,
    }


def test_batches_are_split_and_weights_are_not():
    placement = Placement(make_mesh(mesh_config()))
    batch = placement.put_batch({"valid": np.arange(6) < 5})
    assert [shard.data.tolist() for shard in batch["valid"].addressable_shards] == [
        [True] * 3,
        [True, True, False],
    ]
    assert placement.put({"kernel": np.ones((4, 3))})["kernel"].is_fully_replicated


def test_the_mesh_takes_all_devices_or_those_asked_for():
    assert dict(make_mesh(mesh_config()).shape) == {"data": 2, "model": 1}
    assert dict(make_mesh(mesh_config(model=2)).shape) == {"data": 1, "model": 2}
    assert make_mesh(mesh_config(data=1)).devices.tolist() == [jax.devices()[:1]]


@pytest.mark.parametrize(("data", "model"), [(3, 1), (2, 2), (-1, 3)])
def test_a_mesh_bigger_than_the_devices_is_refused(data, model):
    with pytest.raises(InputError, match=r"there are 2 .*lower config\.mesh"):
        make_mesh(mesh_config(data, model))


def test_a_batch_that_does_not_split_gets_empty_rows():
    placement = Placement(make_mesh(mesh_config()))
    batch = placement.put_batch({"valid": np.ones(3, bool), "image": np.ones((3, 2), np.uint8)})
    assert np.asarray(batch["valid"]).tolist() == [True, True, True, False]
    np.testing.assert_array_equal(batch["image"], [[1, 1]] * 3 + [[0, 0]])
    assert batch["image"].sharding == placement.by_batch


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        (BY_HAND, "environment"),
        (SLURM_STEP | {"SLURM_STEP_NUM_TASKS": "2"}, "SLURM"),
        (SLURM_STEP | {"SLURM_STEP_NUM_TASKS": "1"}, None),
        ({"SLURM_JOB_ID": "1", "SLURM_NTASKS": "8"}, None),  # a shell in an allocation
        ({"OMPI_COMM_WORLD_SIZE": "4"}, "Open MPI"),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, None),  # a lone pod
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "0"}, "Kubernetes"),
        ({"TPU_WORKER_HOSTNAMES": "worker-0"}, None),
        ({"TPU_WORKER_HOSTNAMES": "worker-0,worker-1"}, "TPU pod"),
    ],
)
def test_launchers(environment, expected):
    assert launcher(environment) == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"JAX_NUM_PROCESSES": ""}, "JAX_NUM_PROCESSES is not"),
        ({"JAX_PROCESS_ID": "2"}, "count processes from 0"),
        ({"JAX_NUM_PROCESSES": "two"}, "count processes from 0"),
        ({"JAX_COORDINATOR_ADDRESS": "host"}, "HOST:PORT"),
    ],
)
def test_half_set_variables_are_refused(monkeypatch, change, message):
    for name, value in (BY_HAND | change).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=message):
        start()


def test_a_run_of_one_process_starts_nothing(monkeypatch):
    for name in BY_HAND:
        monkeypatch.delenv(name, raising=False)
    assert start() is None


def test_insisting_without_a_launcher_says_what_to_do():
    with pytest.raises(InputError, match=r"no launcher found.*(\n|.)*without --distributed"):
        start(distributed=True)
