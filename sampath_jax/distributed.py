"""Devices: processes, the mesh, and where every array lives. The one place that knows about them.

One device, many devices and many hosts run the same code: a mesh with the axes ``data`` and ``model``, arrays
with `NamedSharding`s, and `jax.jit`, which adds the communication. Batches are split over ``data``. The head
and its optimiser state are on every device. The frozen encoders are too, unless ``model`` has more than one
device: then each large kernel is split over ``model``.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import jax
import numpy as np
from jax._src.distributed import global_state
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from sampath_jax.errors import InputError, StoppedElsewhere

Tree = TypeVar("Tree")

#: Axes of the mesh: devices along the batch, devices that share the encoders' parameters.
AXES = ("data", "model")
#: Frozen arrays with fewer numbers stay whole: splitting them would save nothing.
SMALLEST_SPLIT = 2**14
#: Set all three to start processes by hand: address as HOST:PORT, how many, and which one this is.
BY_HAND = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
#: How long processes wait for one that checks files: a day, as no number of tiles takes longer. That a
#: process has died is noticed within minutes.
PATIENCE_MS = 24 * 60 * 60 * 1000


def start(distributed: bool = False) -> str | None:
    """Joins the other processes of the run, if there are any. Call it before anything else touches JAX.

    Args:
        distributed: insist; without it only a launcher that `launcher` recognises starts anything.

    Returns:
        The name of what launched the processes, None for a run of one process.

    Raises:
        InputError: `distributed` is set but no launcher is found, or its variables make no sense.
    """
    found = launcher(os.environ)
    if found is None and not distributed:
        return None
    # JAX would take SIGTERM for itself; `training.interrupt` handles it, and before training it shall end us.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(**(_by_hand(os.environ) if found == "environment" else {}))
    except (ValueError, RuntimeError) as error:
        raise InputError(
            f"the processes cannot be started ({found or 'no launcher found'}): {error}\n"
            f"Launch with srun, mpirun, a Kubernetes JobSet or a TPU pod, or set {', '.join(BY_HAND)}; "
            "call without --distributed for a run of one process"
        ) from error
    return found or "detected by JAX"


def launcher(environment: Mapping[str, str]) -> str | None:
    """What started more than one process here, going by environment variables; None if nothing did.

    Stricter than JAX's own detection: a shell in a SLURM allocation or a lone Kubernetes pod is one process.
    """

    def several(variable: str) -> bool:
        return environment.get(variable, "1").isdecimal() and int(environment.get(variable, "1")) > 1

    if BY_HAND[0] in environment:
        return "environment"
    if "SLURM_STEP_NODELIST" in environment and several("SLURM_STEP_NUM_TASKS"):
        return "SLURM"
    if several("OMPI_COMM_WORLD_SIZE"):
        return "Open MPI"
    if "KUBERNETES_SERVICE_HOST" in environment and "JOB_COMPLETION_INDEX" in environment:
        return "Kubernetes"
    if "MEGASCALE_COORDINATOR_ADDRESS" in environment or "," in environment.get("TPU_WORKER_HOSTNAMES", ""):
        return "TPU pod"
    return None


def _by_hand(environment: Mapping[str, str]) -> dict[str, Any]:
    """Arguments of `jax.distributed.initialize` from the variables `BY_HAND`."""
    missing = [name for name in BY_HAND if not environment.get(name)]
    if missing:
        raise InputError(f"{BY_HAND[0]} is set, but {' and '.join(missing)} is not: set all three or none")
    address, count, index = (environment[name] for name in BY_HAND)
    if not (count.isdecimal() and index.isdecimal() and int(index) < int(count)):
        raise InputError(f"{BY_HAND[2]}={index} of {BY_HAND[1]}={count}: count processes from 0")
    if ":" not in address:
        raise InputError(f"{BY_HAND[0]}={address}: write it as HOST:PORT")
    return {
        "coordinator_address": address,
        "num_processes": int(count),
        "process_id": int(index),
        # Otherwise JAX looks at the machine's other launchers and mixes their answers with these.
        "cluster_detection_method": "deactivate",
    }


def is_first_process() -> bool:
    """Whether this is the process that writes files and prints."""
    return jax.process_index() == 0


@contextlib.contextmanager
def all_or_none(what: str) -> Iterator[None]:
    """Work that some or all processes do; they go on when all are done, and only if none was refused.

    A collective computation gives up when a process is half a minute late; this waits as long as the work
    takes. A run of one process does just the work.

    Args:
        what: the name of the work, once in a run.

    Raises:
        StoppedElsewhere: another process did not finish its part; it has said why.
    """
    if jax.process_count() == 1:
        yield
        return
    client = global_state.client  # JAX gives its users no public name for it
    assert client is not None
    failed = f"{what}/failed/"
    try:
        yield
    except BaseException:
        client.key_value_set(f"{failed}{jax.process_index()}", "")
        client.wait_at_barrier(what, PATIENCE_MS)
        raise
    client.wait_at_barrier(what, PATIENCE_MS)
    if client.key_value_dir_get(failed):
        raise StoppedElsewhere(f"{what}: another process has stopped and says why")


def make_mesh(config: ConfigDict) -> Mesh:
    """The mesh of `config.mesh`: `data` rows of `model` devices; rows lie in process order.

    Raises:
        InputError: more devices asked for than there are, or a shape that the processes' devices cannot form.
    """
    devices = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
    model, local = config.model, jax.local_device_count()
    data = len(devices) // model if config.data == -1 else config.data
    if data * model > len(devices) or data < 1:
        wanted = model if config.data == -1 else f"{data} x {model} = {data * model}"
        raise InputError(
            f"config.mesh asks for {wanted} devices, but there are {len(devices)} "
            f"({devices[0].device_kind}): lower config.mesh.data or config.mesh.model"
        )
    if jax.process_count() > 1 and (local % model or data * model < len(devices)):
        raise InputError(
            f"config.mesh is {data} x {model}, but {jax.process_count()} processes have {local} devices "
            "each: config.mesh.model must divide the devices of a process, and data x model use all of them"
        )
    grid = np.array(devices[: data * model]).reshape(data, model)
    return Mesh(grid, AXES, axis_types=(AxisType.Auto,) * len(AXES))


class Placement:
    """Where arrays live on a mesh, and the means to put them there.

    Attributes:
        mesh: as `make_mesh` makes it.
        replicated: the whole array on every device.
        by_batch: the first axis split over ``data``.
    """

    def __init__(self, mesh: Mesh):
        self.mesh = mesh
        self.replicated = NamedSharding(mesh, PartitionSpec())
        self.by_batch = NamedSharding(mesh, PartitionSpec(AXES[0]))

    def frozen(self, tree: Any) -> Any:
        """A sharding for every array of the frozen `tree`."""
        return jax.tree.map(lambda array: NamedSharding(self.mesh, self._split_kernel(array.shape)), tree)

    def _split_kernel(self, shape: tuple[int, ...]) -> PartitionSpec:
        """Splits the last axis that ``model`` divides; small and indivisible arrays stay whole."""
        devices = self.mesh.shape[AXES[1]]
        if devices == 1 or len(shape) < 2 or int(np.prod(shape)) < SMALLEST_SPLIT:
            return PartitionSpec()
        axis = max((i for i, side in enumerate(shape) if side % devices == 0), default=None)
        return PartitionSpec() if axis is None else PartitionSpec(*[None] * axis, AXES[1])

    def put(self, tree: Tree) -> Tree:
        """The arrays of `tree` on every device; processes must agree on their values."""
        return jax.tree.map(lambda array: _put(array, self.replicated), tree)

    def put_frozen(self, tree: Tree) -> Tree:
        """The frozen arrays of `tree`, each as `frozen` says."""
        return jax.tree.map(_put, tree, self.frozen(tree))

    def put_batch(self, batch: Tree) -> Tree:
        """The global batch, of which this process has `batch`: equal shares, in process order.

        Rows of zeros make up for what its devices do not divide: they are not ``valid`` and count nowhere, so
        results do not depend on them. They follow the process's own rows.
        """
        here = sum(row[0].process_index == self.process_index for row in self.mesh.devices)

        def put(rows: Any) -> jax.Array:
            if missing := -len(rows) % here:
                rows = np.concatenate([rows, np.zeros((missing, *rows.shape[1:]), rows.dtype)])
            return jax.make_array_from_process_local_data(self.by_batch, rows)

        return jax.tree.map(put, batch)

    def own(self) -> "Placement":
        """The part of the mesh that is this process's: what runs there waits for no other process."""
        here = [row for row in self.mesh.devices if row[0].process_index == self.process_index]
        return Placement(Mesh(np.array(here), AXES, axis_types=(AxisType.Auto,) * len(AXES)))

    def adopt(self, tree: Tree) -> Tree:
        """Arrays that lie on this mesh and on other devices, as arrays of this mesh alone; no copies.

        They must be whole on this mesh, as heads and frozen parameters are on the `own` one.
        """

        def adopted(array: jax.Array) -> jax.Array:
            sharding = NamedSharding(self.mesh, array.sharding.spec)  # type: ignore[attr-defined]
            shards = {shard.device: shard.data for shard in array.addressable_shards}
            parts = [shards[device] for device in self.mesh.devices.flat]
            return jax.make_array_from_single_device_arrays(array.shape, sharding, parts)

        return jax.tree.map(adopted, tree)

    def compile_step(self, step: Callable[..., Any], frozen: Any) -> Callable[..., Any]:
        """Compiles `step(state, frozen, batch) -> (state, metrics)`; the state is donated."""
        return jax.jit(
            step,
            in_shardings=(self.replicated, self.frozen(frozen), self.by_batch),
            out_shardings=self.replicated,
            donate_argnums=0,
        )

    def compile_encoder(self, encode: Callable[..., Any], frozen: Any) -> Callable[..., Any]:
        """Compiles `encode(frozen, batch) -> rows`."""
        return jax.jit(encode, in_shardings=(self.frozen(frozen), self.by_batch), out_shardings=self.by_batch)

    @property
    def process_index(self) -> int:
        """Which process this is; 0 writes files and prints."""
        return jax.process_index()

    @property
    def process_count(self) -> int:
        """How many processes run."""
        return jax.process_count()


def _put(array: Any, sharding: NamedSharding) -> jax.Array:
    if sharding.is_fully_addressable:
        return jax.device_put(array, sharding)
    # `device_put` would first compare all processes' values, hundreds of megabytes of weights.
    host = np.asarray(array)
    return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])
