"""Many heads at the same time: one per setting, on the same batches and features (figure 4 in one run)."""

import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from sampath_jax import console
from sampath_jax.config import data_seed, override
from sampath_jax.data.tile import Tile
from sampath_jax.errors import InputError
from sampath_jax.models.freezing import split_head
from sampath_jax.training.checkpoints import Checkpoints
from sampath_jax.training.feed import open_feed
from sampath_jax.training.head_record import HeadRecord
from sampath_jax.training.heads import StackedHeads
from sampath_jax.training.memory import check_fits
from sampath_jax.training.optimiser import make_optimiser
from sampath_jax.training.run import Run
from sampath_jax.training.session import Session, finish, open_session
from sampath_jax.training.state import TrainState
from sampath_jax.training.sweep_settings import SETTINGS_FILE, Setting, parse_sweep
from sampath_jax.training.sweep_step import heads_at_once, make_sweep_step
from sampath_jax.training.validation import Validation
from sampath_jax.weights import build_model
from sampath_jax.workdir import WorkDir, explain_os_errors, write_atomically

#: Checkpoints of a head that stay beside the best: a kill between two saves must leave a step that all have.
KEEP = 2


@dataclass(frozen=True)
class SweepOutcome:
    """How a sweep ended: its settings, and the best validation score of each head."""

    settings: tuple[Setting, ...]
    scores: tuple[float | None, ...]
    exit_status: int


def sweep(config: ConfigDict, arguments: Sequence[str], path: Path) -> SweepOutcome:
    """Trains one head per combination of ``--sweep.KEY=VALUE,VALUE``, each in a work directory of its own.

    The heads share `config.data.seed`, so that each is what the same setting gives when it is trained alone
    (except in a sweep over folds, where the batches hold the tiles of all folds).

    Raises:
        InputError: as `training.loop.train`; settings that cannot share batches, or do not fit into memory.
    """
    config = override(config, [f"data.seed={data_seed(config)}"])
    settings = parse_sweep(config, arguments)
    _check_settings(config, settings)
    folds = "data.val_fold" in settings[0].values
    _note_settings(Path(path), config, settings)
    with contextlib.ExitStack() as stack:
        session = stack.enter_context(open_session(config, path, all_folds=folds))
        run, records = _make_run(session, settings, stack)
        console.out.print(f"{len(settings)} heads, {', '.join(setting.name for setting in settings)}")
        stop = finish(run, session.plan, session.placement)
    scores = tuple(record.checkpoints.best_score for record in records)
    return SweepOutcome(settings, scores, stop.exit_status)


def _check_settings(config: ConfigDict, settings: Sequence[Setting]) -> None:
    random = [part for part in config.model.encoders if config.weights[part] == "random"]
    if "seed" in settings[0].values and (random or config.weights.sam == "random"):
        raise InputError(
            'config.weights.sam or .hipt is "random" and drawn from config.seed: heads of another seed would '
            "need other encoders. Sweep other keys, or convert weights"
        )


def _note_settings(path: Path, config: ConfigDict, settings: Sequence[Setting]) -> None:
    """Writes the list of heads, or refuses a folder that was started with another list."""
    heads = [{"name": setting.name, **setting.values} for setting in settings]
    file = path / SETTINGS_FILE
    if file.is_file():
        before = json.loads(file.read_text())
        if before != heads:
            names = ", ".join(head["name"] for head in before)
            raise InputError(
                f"{path} belongs to a sweep over {names}: give these settings, or another folder"
            )
        return
    if jax.process_index() == 0:
        WorkDir.create(path, config)
        with explain_os_errors(path):
            write_atomically(file, json.dumps(heads, indent=2) + "\n")


def _make_run(
    session: Session, settings: Sequence[Setting], stack: contextlib.ExitStack
) -> tuple[Run, list[HeadRecord]]:
    config, placement, heads = session.workdir.config, session.placement, StackedHeads()
    tx = make_optimiser(config.optim, session.plan.steps_per_epoch)
    step = make_sweep_step(
        session.graphdef,
        tx,
        config,
        np.asarray([setting.config.loss.alpha for setting in settings], np.float32),
        np.asarray([setting.config.loss.beta for setting in settings], np.float32),
        _counted(session.batches.source.tiles, settings),
    )
    compiled = placement.compile_step(step, session.frozen)
    starts = _initial_heads(session, settings)
    one = jax.eval_shape(lambda head: TrainState.create(head, tx), starts[0])
    check_fits(one, len(settings), heads_at_once(len(settings)), placement)
    records = _make_records(session, settings, stack)
    feed = open_feed(session)
    stack.callback(feed.batches.close)
    create = jax.jit(jax.vmap(lambda head: TrainState.create(head, tx)))
    state = placement.put(create(heads.join(starts)))
    run = Run(
        records=records,
        heads=heads,
        placement=placement,
        plan=session.plan,
        state=state,
        frozen=session.frozen,
        step=compiled,
        batches=feed.batches,
        put=feed.put,
        tensorboard=session.workdir.tensorboard if config.log.tensorboard else None,
    )
    return run, records


def _counted(tiles: Sequence[Tile], settings: Sequence[Setting]) -> np.ndarray:
    """[heads, tiles]: False where a tile is in the fold that validates the head."""
    folds = np.asarray([tile.fold for tile in tiles])
    return np.stack([folds != setting.config.data.val_fold for setting in settings])


def _initial_heads(session: Session, settings: Sequence[Setting]) -> list[Any]:
    """The head of each setting before the first step; the encoders are loaded once per seed and let go."""
    by_seed = {session.workdir.config.seed: session.head}
    for setting in settings:
        if setting.config.seed not in by_seed:
            _, head, _ = split_head(build_model(setting.config, base=session.workdir.path))
            by_seed[setting.config.seed] = head
    return [by_seed[setting.config.seed] for setting in settings]


def _make_records(
    session: Session, settings: Sequence[Setting], stack: contextlib.ExitStack
) -> list[HeadRecord]:
    """One record per head; heads that validate on the same fold share its batches and cached features."""
    validations: dict[int, Validation] = {}
    records = []
    for setting in settings:
        fold = setting.config.data.val_fold
        if fold not in validations:
            shared = WorkDir(session.workdir.path, setting.config)
            made = Validation(shared, session.placement, session.graphdef, session.fingerprint, session.room)
            validations[fold] = made
            stack.callback(made.close)
        path = session.workdir.path / setting.name
        workdir = WorkDir.create(path, setting.config) if session.writes else WorkDir(path, setting.config)
        checkpoints = stack.enter_context(Checkpoints(workdir.checkpoints, workdir.scores(), keep=KEEP))
        records.append(
            HeadRecord(
                workdir,
                checkpoints,
                validations[fold],
                session.batches.source,
                session.fingerprint,
                writes=session.writes,
            )
        )
    return records
