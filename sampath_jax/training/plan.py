"""When training logs, evaluates, saves and ends, in micro-batches."""

from dataclasses import dataclass

from ml_collections import ConfigDict

from sampath_jax.data.pipeline import steps_per_epoch
from sampath_jax.training.schedule import Schedule


@dataclass(frozen=True)
class Plan:
    """A run's milestones. Pure functions of the step, so an interrupted run meets the same ones."""

    schedule: Schedule
    steps_per_epoch: int
    accumulate: int
    evaluate_every: int
    save_every: int
    log_every: int

    @classmethod
    def from_config(cls, config: ConfigDict, n_tiles: int) -> "Plan":
        """The plan for a training split of `n_tiles` tiles."""
        per_epoch = steps_per_epoch(config, n_tiles)

        def steps(epochs: float) -> int:
            return max(1, round(epochs * per_epoch))

        return cls(
            schedule=Schedule.from_config(config.optim, per_epoch),
            steps_per_epoch=per_epoch,
            accumulate=config.optim.accumulate,
            evaluate_every=steps(config.eval.every_epochs),
            save_every=steps(config.checkpoint.every_epochs),
            log_every=config.log.every_steps,
        )

    @property
    def total(self) -> int:
        """Micro-batches of the whole run: those of `schedule.total` optimiser steps."""
        epochs, rest = divmod(self.schedule.total, self.schedule.steps_per_epoch)
        return epochs * self.steps_per_epoch + min(rest * self.accumulate, self.steps_per_epoch)

    def optimiser_steps(self, step: int) -> int:
        """Optimiser steps that are complete after `step` micro-batches."""
        epochs, rest = divmod(step, self.steps_per_epoch)
        return epochs * self.schedule.steps_per_epoch + rest // self.accumulate

    def logs(self, step: int) -> bool:
        """Whether the losses are read from the device and shown after `step`."""
        return step % self.log_every == 0 or step == self.total

    def evaluates(self, step: int) -> bool:
        """Whether to evaluate the validation split after `step`; also before the first and at the end."""
        return step % self.evaluate_every == 0 or step == self.total

    def saves(self, step: int) -> bool:
        """Whether a checkpoint is due after `step`."""
        return step % self.save_every == 0 or step == self.total
