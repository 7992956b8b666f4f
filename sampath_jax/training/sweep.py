"""Many heads at the same time: one per setting, on the same batches and features (figure 4 in one run)."""

import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from sampath_jax import console
from sampath_jax.config import check_trains, data_seed, override
from sampath_jax.data.source import open_source
from sampath_jax.data.tile import Tile
from sampath_jax.distributed import Placement, all_or_none, make_mesh
from sampath_jax.errors import InputError
from sampath_jax.models.config import SamPathConfig
from sampath_jax.models.freezing import split_head
from sampath_jax.training.checkpoints import Checkpoints
from sampath_jax.training.feed import open_feed
from sampath_jax.training.head_record import HeadRecord
from sampath_jax.training.heads import GroupedHeads, stack
from sampath_jax.training.memory import plan_groups
from sampath_jax.training.optimiser import make_optimiser
from sampath_jax.training.plan import Plan
from sampath_jax.training.record import copy_start
from sampath_jax.training.run import Run
from sampath_jax.training.session import Session, finish, open_session
from sampath_jax.training.state import TrainState
from sampath_jax.training.sweep_settings import (
    SETTINGS_FILE,
    Setting,
    as_list,
    check_settings,
    parse_sweep,
    read_settings,
    swept,
)
from sampath_jax.training.sweep_step import SweepPrograms, SweepStep, Terms
from sampath_jax.training.validation import Validation
from sampath_jax.weights import abstract_model, build_model
from sampath_jax.workdir import WorkDir, explain_os_errors, write_atomically

#: Checkpoints of a head that stay beside the best: a kill between two saves must leave a step that all have.
KEEP = 2


@dataclass(frozen=True)
class SweepOutcome:
    """How a sweep ended: its settings, and the best validation score of each head."""

    settings: tuple[Setting, ...]
    scores: tuple[float | None, ...]
    exit_status: int


@dataclass(frozen=True)
class _Compiled:
    """The step of a sweep, the groups that it is compiled for, and the optimiser in it."""

    heads: GroupedHeads
    step: SweepStep
    tx: optax.GradientTransformation


def sweep(config: ConfigDict, arguments: Sequence[str], path: Path) -> SweepOutcome:
    """Trains one head per combination of ``--sweep.KEY=VALUE,VALUE``, each in a work directory of its own.

    The heads share `config.data.seed`, so that each is what the same setting gives when it is trained alone
    (except in a sweep over folds, where the batches hold the tiles of all folds). What can be refused is,
    before weights are read or anything is written.

    Raises:
        InputError: as `training.loop.train`; settings that cannot share batches, or do not fit into memory.
    """
    path, config = Path(path), override(config, [f"data.seed={data_seed(config)}"])
    with all_or_none("checking the sweep"):
        check_trains(config)
        settings = parse_sweep(config, arguments)
        check_settings(config, settings)
        _refuse_another_run(path, settings)
        compiled = _compile(config, settings)
    with contextlib.ExitStack() as resources:
        folds = swept(settings, "data.val_fold")
        session = resources.enter_context(open_session(config, path, all_folds=folds))
        records = _make_records(session, settings, resources)
        run = _make_run(session, settings, compiled, records, resources)
        if session.writes:
            with explain_os_errors(path):
                write_atomically(path / SETTINGS_FILE, json.dumps(as_list(settings), indent=2) + "\n")
            console.out.print(f"{len(settings)} heads, {', '.join(setting.name for setting in settings)}")
        stop = finish(run, session.plan, session.placement)
    scores = tuple(record.checkpoints.best_score for record in records)
    return SweepOutcome(settings, scores, stop.exit_status)


def _refuse_another_run(path: Path, settings: Sequence[Setting]) -> None:
    if any(path.glob("checkpoints/[0-9]*")):
        raise InputError(f"{path} holds a run of one head: name another folder for the sweep")
    if not (path / SETTINGS_FILE).is_file():
        return
    before = read_settings(path)
    if before != as_list(settings):
        names = ", ".join(head["name"] for head in before)
        raise InputError(f"{path} belongs to a sweep over {names}: give these settings, or another folder")


def _compile(config: ConfigDict, settings: Sequence[Setting]) -> _Compiled:
    """The step for as many heads together as fit; from shapes alone, no array of the sweep exists yet."""
    splits = ("train", "val") if swept(settings, "data.val_fold") else ("train",)
    tiles = open_source(config, *splits).tiles
    placement = Placement(make_mesh(config.mesh))
    graphdef, head, frozen = split_head(abstract_model(SamPathConfig.from_config(config)))
    tx = make_optimiser(config.optim, Plan.from_config(config, len(tiles)).steps_per_epoch)
    programs = SweepPrograms(graphdef, head, frozen, tx, config, placement, len(tiles))
    together, step = plan_groups(programs, len(settings))
    heads = GroupedHeads(len(settings), together)
    rest = len(heads.groups[-1])
    last = step if rest == together else programs.step(rest, stacked=True)
    steps = [step] * (len(heads.groups) - 1) + [last]
    terms = [_terms(setting, tiles) for setting in settings]
    return _Compiled(heads, SweepStep(programs, heads, steps, terms), tx)


def _terms(setting: Setting, tiles: Sequence[Tile]) -> Terms:
    """Of one head. Its own validation tiles, which a sweep over folds trains others on, do not count."""
    own = setting.config.data.val_fold if "data.val_fold" in setting.values else None
    loss, counted = setting.config.loss, [tile.fold != own for tile in tiles]
    return Terms(jnp.float32(loss.alpha), jnp.float32(loss.beta), jnp.asarray(counted))


def _make_run(
    session: Session,
    settings: Sequence[Setting],
    compiled: _Compiled,
    records: Sequence[HeadRecord],
    resources: contextlib.ExitStack,
) -> Run:
    feed = open_feed(session)
    resources.callback(feed.batches.close)
    return Run(
        records=records,
        heads=compiled.heads,
        placement=session.placement,
        plan=session.plan,
        state=_initial_states(session, settings, compiled),
        frozen=session.frozen,
        step=compiled.step,
        batches=feed.batches,
        put=feed.put,
        tensorboard=session.workdir.tensorboard if session.workdir.config.log.tensorboard else None,
    )


def _initial_states(
    session: Session, settings: Sequence[Setting], compiled: _Compiled
) -> tuple[TrainState, ...]:
    """The state of each group before the first step; the encoders are loaded once per seed and let go."""
    by_seed = {session.workdir.config.seed: jax.tree.map(np.asarray, session.head)}
    for setting in settings:
        if setting.config.seed not in by_seed:
            _, head, _ = split_head(build_model(setting.config, base=session.workdir.path))
            by_seed[setting.config.seed] = jax.tree.map(np.asarray, head)

    def created(head: Any) -> TrainState:
        return TrainState.create(head, compiled.tx)

    everywhere, heads = session.placement.replicated, compiled.heads
    create = created if heads.together == 1 else lambda group: jax.vmap(created)(stack(group))
    make = jax.jit(create, in_shardings=everywhere, out_shardings=everywhere)
    groups = [[by_seed[settings[i].config.seed] for i in group] for group in heads.groups]
    return tuple(make(group[0] if heads.together == 1 else group) for group in groups)


def _make_records(
    session: Session, settings: Sequence[Setting], resources: contextlib.ExitStack
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
            resources.callback(made.close)
        workdir = WorkDir(session.workdir.path / setting.name, setting.config)
        if session.writes:
            WorkDir.create(workdir.path, setting.config)
            # the sweep's own counts of tiles are those of its first fold
            copy_start(session.workdir.path, workdir.path, with_data="data.val_fold" not in setting.values)
        checkpoints = resources.enter_context(Checkpoints(workdir.checkpoints, workdir.scores(), keep=KEEP))
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
