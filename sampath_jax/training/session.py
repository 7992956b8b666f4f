"""What a training run and a sweep share: checked data, a model on the mesh, batches, the loop and its end."""

import contextlib
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.experimental import multihost_utils
from ml_collections import ConfigDict

from sampath_jax import console
from sampath_jax.config import check_trains
from sampath_jax.data.checks import check_dataset, print_report
from sampath_jax.data.feature_cache import Room
from sampath_jax.data.pipeline import BatchIterator, training_batches
from sampath_jax.distributed import Placement, all_or_none, make_mesh
from sampath_jax.models.freezing import split_head
from sampath_jax.training import overview
from sampath_jax.training.interrupt import Interrupt
from sampath_jax.training.plan import Plan
from sampath_jax.training.record import record_start
from sampath_jax.training.run import Run
from sampath_jax.weights import build_model, frozen_fingerprint
from sampath_jax.workdir import WorkDir


@dataclass(frozen=True)
class Session:
    """Everything that training needs before its first step.

    Attributes:
        workdir: of the run; locked.
        placement: the mesh.
        graphdef: of `models.freezing.split_head`.
        head: before the first step, on the host's default device.
        frozen: parameters, on the mesh.
        fingerprint: of the frozen parameters.
        batches: of the training split.
        plan: the milestones.
        room: for cached features. What validates takes its part first.
    """

    workdir: WorkDir
    placement: Placement
    graphdef: nnx.GraphDef
    head: Any
    frozen: Any
    fingerprint: str
    batches: BatchIterator
    plan: Plan
    room: Room

    @property
    def writes(self) -> bool:
        """Whether this process writes files and prints."""
        return self.placement.process_index == 0


@contextlib.contextmanager
def open_session(config: ConfigDict, path: Path, *, all_folds: bool = False) -> Iterator[Session]:
    """Checks the data, takes the work directory, loads the model, prints the overview; closes what it opened.

    Args:
        config: the experiment.
        path: the work directory.
        all_folds: train on the tiles of the validation fold too.

    Yields:
        The `Session`.

    Raises:
        InputError: bad data, weights, devices or work directory.
    """
    check_trains(config)
    placement = Placement(make_mesh(config.mesh))
    workdir = WorkDir(Path(path), config)
    with contextlib.ExitStack() as stack:
        with all_or_none("checking the data set"):
            if placement.process_index == 0:
                stack.enter_context(_begin(workdir, placement))
        with all_or_none("loading the model"):
            model = build_model(config, base=workdir.path)
            fingerprint = frozen_fingerprint(model)
            graphdef, head, frozen = split_head(model)
            del model
            batches = training_batches(
                config,
                process_index=placement.process_index,
                process_count=placement.process_count,
                all_folds=all_folds,
            )
            stack.callback(batches.close)
        plan = Plan.from_config(config, len(batches.source))
        if placement.process_index == 0:
            overview.print_parameters(head, frozen)
            overview.print_schedule(config, plan)
        placed = placement.put_frozen(frozen)
        del frozen
        data = config.data
        room = Room.open(workdir.cache, data.cache_memory_gb, data.cache_disk_gb, placement.process_count)
        yield Session(workdir, placement, graphdef, head, placed, fingerprint, batches, plan, room)


@contextlib.contextmanager
def _begin(workdir: WorkDir, placement: Placement) -> Iterator[None]:
    """What one process does for all: checks the data, takes the folder, prints what is known by then."""
    config = workdir.config
    report = check_dataset(config, placement.mesh.shape["data"])
    with workdir.lock():
        WorkDir.create(workdir.path, config)
        record_start(workdir.path, report, placement)
        overview.print_devices(placement, config.optim.batch_size)
        print_report(report, tuple(config.data.canvas))
        yield


def finish(run: Run, plan: Plan, placement: Placement) -> Interrupt:
    """Takes the run to its end, or to a signal, which is returned; all saves are then complete."""
    with Interrupt() as stop, run.progress:
        loop(run, plan, stop)
        run.wait()
    if run.step == plan.total and run.evaluated:
        stop.signal = None  # it came when there was nothing left to stop
    if stop.signal is not None and placement.process_index == 0:
        console.warning(f"stopped by {stop.signal.name} after step {run.step:,}; the same command resumes")
    return stop


def loop(run: Run, plan: Plan, stop: Interrupt) -> None:
    """Steps, and what is due after each, until the end or a signal."""
    # Processes must agree on what to do next, so only one that runs alone stops anywhere.
    alone = jax.process_count() == 1
    if plan.evaluates(run.step) and not run.evaluated:
        run.evaluate(stop if alone else None)
    stopping = alone and stop.requested
    while run.step < plan.total and not stopping:
        run.advance()
        logs, evaluates, saves = plan.logs(run.step), plan.evaluates(run.step), plan.saves(run.step)
        stopping = stop.requested if alone else logs and _requested_anywhere(stop)
        if logs or evaluates or saves or stopping:
            run.read_losses()
        best = evaluates and not stopping and run.evaluate(stop if alone else None)
        stopping = stopping or (alone and stop.requested)
        if saves or best or stopping:
            run.save()


def _requested_anywhere(stop: Interrupt) -> bool:
    """Whether a signal had reached any process; all take it for theirs, and so end with the same status.

    One that arrives while the processes talk is seen the next time: the others do not know of it.
    """
    number = int(multihost_utils.process_allgather(np.array(stop.signal or 0)).max())
    if number:
        stop.signal = signal.Signals(number)
    return number > 0
