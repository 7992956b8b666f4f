"""Training from the first step to the last, through any number of interruptions.

Everything that decides a number is a function of the config and the step: the order of tiles, the
augmentation, the milestones. A checkpoint therefore needs the head, the optimiser and a few counters, and a
resumed run ends bit for bit like an uninterrupted one.
"""

import contextlib
from dataclasses import dataclass
from pathlib import Path

from ml_collections import ConfigDict

from sampath_jax.training.checkpoints import Checkpoints
from sampath_jax.training.feed import open_feed
from sampath_jax.training.head_record import HeadRecord
from sampath_jax.training.heads import OneHead
from sampath_jax.training.optimiser import make_optimiser
from sampath_jax.training.run import Run
from sampath_jax.training.session import finish, open_session
from sampath_jax.training.state import TrainState
from sampath_jax.training.step import make_train_step
from sampath_jax.training.validation import Validation


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    step: int  # micro-batches done
    total: int  # micro-batches of the whole run
    best_step: int | None
    best_score: float | None  # macro Dice on the validation split
    exit_status: int  # not 0 if a signal ended it


def train(config: ConfigDict, path: Path) -> Outcome:
    """Trains the experiment `config` in the work directory `path`, from where the last run of it stopped.

    Raises:
        InputError: bad data, weights, devices or work directory; a loss that is not finite; a full disk.
    """
    with contextlib.ExitStack() as stack:
        session = stack.enter_context(open_session(config, path))
        workdir, placement, plan = session.workdir, session.placement, session.plan
        validation = Validation(workdir, placement, session.graphdef, session.fingerprint, session.room)
        stack.callback(validation.close)
        feed = open_feed(session)
        stack.callback(feed.batches.close)
        checkpoints = stack.enter_context(Checkpoints(workdir.checkpoints, workdir.scores()))
        record = HeadRecord(
            workdir,
            checkpoints,
            validation,
            session.batches.source,
            session.fingerprint,
            writes=session.writes,
        )
        tx = make_optimiser(config.optim, plan.steps_per_epoch)
        step = make_train_step(session.graphdef, tx, config)
        run = Run(
            records=(record,),
            heads=OneHead(),
            placement=placement,
            plan=plan,
            state=placement.put(TrainState.create(session.head, tx)),
            frozen=session.frozen,
            step=placement.compile_step(step, session.frozen),
            batches=feed.batches,
            put=feed.put,
            tensorboard=workdir.tensorboard if config.log.tensorboard else None,
        )
        stop = finish(run, plan, placement)
    return Outcome(run.step, plan.total, checkpoints.best, checkpoints.best_score, stop.exit_status)
