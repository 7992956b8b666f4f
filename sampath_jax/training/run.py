"""The state of a run and what can be done with it: one step, reading losses, evaluating, saving.

A run trains one head, or, in a sweep, several that share every batch. What belongs to one head, its
scores and checkpoints, is in a `HeadRecord`; the run holds one for each.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sampath_jax import console
from sampath_jax.data.pipeline import Batch, BatchIterator
from sampath_jax.distributed import Placement, all_or_none
from sampath_jax.errors import InputError
from sampath_jax.freed_memory import return_freed_memory
from sampath_jax.training.head_record import HeadRecord
from sampath_jax.training.heads import Heads, Parameters, RunState, RunStep
from sampath_jax.training.interrupt import Interrupt
from sampath_jax.training.plan import Plan
from sampath_jax.training.progress import Speed, TrainingProgress
from sampath_jax.training.state import TrainState
from sampath_jax.training.validation import Stopped
from sampath_jax.training.watch import LossWatch, NotFinite


class Run:
    """A run between two milestones.

    Args:
        records: of each head.
        heads: how the arrays of several heads lie in the state.
        placement: the mesh.
        plan: the milestones.
        state: before the first step, on the mesh; donated.
        frozen: parameters, on the mesh.
        step: compiled.
        batches: of the training split.
        put: puts one of them on the mesh.
        tensorboard: folder of its event files, None for none.
    """

    def __init__(
        self,
        records: Sequence[HeadRecord],
        heads: Heads,
        placement: Placement,
        plan: Plan,
        state: RunState,
        frozen: Any,
        step: RunStep,
        batches: BatchIterator,
        put: Callable[[Batch], Any],
        tensorboard: Path | None,
    ):
        self.step = 0
        self._records, self._heads = records, heads
        self._placement, self._plan, self._batches, self._put = placement, plan, batches, put
        self._state, self._frozen, self._train_step = state, frozen, step
        self._watch, self._speed = LossWatch(), Speed()
        self._resume()
        self._first = self.step
        quiet = placement.process_index != 0
        self.progress = TrainingProgress(
            plan.total, self.step, plan.steps_per_epoch, tensorboard, quiet=quiet
        )

    @property
    def _epoch(self) -> float:
        return self.step / self._plan.steps_per_epoch

    def _resume(self) -> None:
        """Goes to the last step that every head has a checkpoint of, if there is one."""
        lasts = [record.checkpoints.last for record in self._records]
        last = None if None in lasts else min(step for step in lasts if step is not None)
        with all_or_none("rewinding the metrics"):
            for record in self._records:
                record.rewind(last)
        for record in self._records:
            record.checkpoints.rewind(last, record.workdir.scores())
        if last is None:
            return
        for i, record in enumerate(self._records):
            like = self._heads.take(self._state, i)
            head, opt_state, data = record.restore(last, like.head, like.opt_state)
            step = self._placement.put(jnp.int32(last))
            restored = TrainState(step, head, opt_state)
            self._state = self._heads.replace(self._state, i, restored)
        self.step = last
        self._batches.set_state(data)
        if self._placement.process_index == 0:
            console.out.print(f"Resuming after step {last:,} of {self._plan.total:,}.")

    def advance(self) -> None:
        """One micro-batch. Returns when the step is under way, not when it is done."""
        started = time.perf_counter()
        batch = next(self._batches)
        waited = time.perf_counter() - started
        placed = self._put(batch)
        # Nothing but the batch may cross between host and devices: a hidden copy would wait for the step.
        with jax.transfer_guard("disallow"):
            self._state, metrics = self._train_step(self._state, self._frozen, placed)
        if self.step == self._first:
            return_freed_memory()  # of reading the weights and compiling
        self.step += 1
        self._watch.add(self.step, metrics)
        self._speed.add(int(batch["valid"].sum()) * self._placement.process_count, waited)
        self.progress.step(self.step)

    def read_losses(self) -> None:
        """Waits for the steps under way, checks and shows their losses; in a sweep, the mean over heads.

        Raises:
            InputError: a loss or gradient is NaN or infinite, or a save in the background has failed.
        """
        for record in self._records:
            record.checkpoints.check()
        try:
            values = self._watch.take()
        except NotFinite as error:
            raise self._explain(error) from error
        for metrics in values:
            for i, record in enumerate(self._records):
                record.add({name: float(np.atleast_1d(value)[i]) for name, value in metrics.items()})
        mean = {name: float(np.mean([metrics[name] for metrics in values])) for name in values[0]}
        rate = float(self._plan.schedule(self._plan.optimiser_steps(self.step - 1)))
        self.progress.log(self.step, mean | {"learning_rate": rate} | self._speed.take())

    def _explain(self, error: NotFinite) -> InputError:
        plan = dataclasses.replace(self._batches.plan, process_index=0, process_count=1)
        rows = plan.rows(error.step - 1)
        tiles = [self._batches.source.tiles[i] for i in rows.index[rows.valid]]
        names = "\n  ".join(tile.image_name for tile in tiles)
        last = self._records[0].checkpoints.last
        good = (
            "there is no earlier checkpoint"
            if last is None
            else f"the last good checkpoint is of step {last}"
        )
        values = ", ".join(f"{name} {_show(value)}" for name, value in error.values.items())
        return InputError(
            f"training stopped: the loss of step {error.step} is not finite ({values}). Its tiles were\n"
            f"  {names}\n"
            f"Nothing was saved since; {good}. Look at these tiles, or lower config.optim.learning_rate"
        )

    @property
    def evaluated(self) -> bool:
        """Whether the scores of this step are recorded already."""
        return all(record.evaluated(self.step) for record in self._records)

    def evaluate(self, stop: Interrupt | None) -> bool:
        """Evaluates every head on its validation split, shows and records the scores.

        Returns:
            Whether one is the best so far. False if `stop` was requested meanwhile: then nothing is recorded,
            and the run evaluates when it is resumed.
        """
        several, any_best = len(self._records) > 1, False
        try:
            scored = self._scores(stop)
        except Stopped:
            return False
        for record, scores in zip(self._records, scored, strict=True):
            best = record.note(self.step, self._epoch, scores)
            name = record.workdir.path.name if several else ""
            self.progress.evaluation(self.step, scores, best=best, name=name)
            any_best = any_best or best
        self._speed.restart()
        return any_best

    def _scores(self, stop: Interrupt | None) -> list[dict[str, Any]]:
        """Of every head; those that validate on the same tiles share one pass over them."""
        scores: dict[int, dict[str, Any]] = {}
        for validation in dict.fromkeys(record.validation for record in self._records):
            sharing = [i for i, record in enumerate(self._records) if record.validation is validation]
            parameters = Parameters(self._heads, self._state, sharing)
            scored = validation.scores(parameters, self._frozen, stop, self.progress.validating)
            scores |= zip(sharing, scored, strict=True)
        return [scores[i] for i in range(len(self._records))]

    def save(self) -> None:
        """Starts saving checkpoints. Call `read_losses` first: it refuses a state that is not finite.

        Head after head, each when the one before it is complete on disk (the first, when the last of the save
        before is): so memory holds the copy of one head, and heads are never more than one save apart.
        """
        data: Mapping[str, Any] = self._batches.get_state()
        for i, record in enumerate(self._records):
            self._records[i - 1].checkpoints.wait()
            state = self._heads.take(self._state, i)
            record.save(self.step, self._epoch, state.head, state.opt_state, data)
        self._speed.restart()

    def wait(self) -> None:
        """Returns when the saves under way are complete on disk."""
        for record in self._records:
            record.checkpoints.wait()


def _show(value: np.ndarray) -> str:
    return ", ".join(f"{number:g}" for number in np.atleast_1d(value))
