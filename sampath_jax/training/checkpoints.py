"""Checkpoints of the head: best on validation, and last; asynchronous, atomic, and small.

A checkpoint is the folder `<step>/` with three items: `head`, `opt_state` (absent in converted models) and
`meta`, a JSON object. Orbax writes into a temporary folder and renames it when every byte is on disk, so a
run killed while saving leaves the previous checkpoint. Of the frozen encoders it holds the fingerprint only.
"""

import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy

from sampath_jax.errors import InputError


class Checkpoints:
    """The checkpoints of one work directory.

    Args:
        folder: created if it is missing.
        scores: macro Dice on the validation split by step, of evaluated steps; the caller adds to it.
        keep: the newest checkpoints that stay, beside the best.
        read_only: never creates, deletes or repairs anything.
    """

    def __init__(self, folder: Path, scores: dict[int, float], *, keep: int = 1, read_only: bool = False):
        self.folder = Path(folder).absolute()
        self.scores = scores
        # Orbax logs a failed save's traceback in every thread that took part; `_cannot_save` says it once.
        logging.getLogger("absl").setLevel(logging.CRITICAL)
        self._manager = ocp.CheckpointManager(
            self.folder,
            options=ocp.CheckpointManagerOptions(
                create=not read_only,
                read_only=read_only,
                cleanup_tmp_directories=not read_only,
                preservation_policy=_BestAndLast(self._best_of, keep),
            ),
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.wait()
        # A save that failed raises here once more, after everything is closed that can be.
        with contextlib.suppress(Exception):
            self._manager.close()

    @property
    def last(self) -> int | None:
        """The step of the newest complete checkpoint."""
        return self._manager.latest_step()

    @property
    def best(self) -> int | None:
        """The step of the checkpoint with the highest validation score, None before the first evaluation."""
        return self._best_of(self._manager.all_steps())

    @property
    def best_score(self) -> float | None:
        """The score of `best`."""
        return None if self.best is None else self.scores[self.best]

    def find(self, name: str) -> int:
        """The step of the `best` or the `last` checkpoint, or `name` itself if it is the step of a kept one.

        Where none was scored, the last is the best.

        Raises:
            InputError: another name, or no checkpoint yet.
        """
        steps = [str(step) for step in self._manager.all_steps()]
        if name in steps:
            return int(name)
        if name not in ("best", "last"):
            kept = f", or a step that is kept: {', '.join(steps)}" if steps else ""
            raise InputError(f"{self.folder} has no checkpoint {name!r}: choose best or last{kept}")
        step = self.best if name == "best" and self.best is not None else self.last
        if step is None:
            raise InputError(f"{self.folder} holds no checkpoint yet: train, or wait for the first save")
        return step

    def save(self, step: int, head: Any, opt_state: Any, meta: dict[str, Any]) -> None:
        """Starts saving; returns when the arrays are copied, so that the caller may donate them.

        Args:
            step: micro-batches done.
            head: the trainable parameters.
            opt_state: the optimiser's state, or None for a model that was converted, not trained here.
            meta: what else `training.loop` needs to go on; JSON.

        Raises:
            InputError: this save or the one before it could not be written.
        """
        if step in self._manager.all_steps():
            return
        items = {"head": ocp.args.StandardSave(_to_host(head)), "meta": ocp.args.JsonSave(meta)}
        if opt_state is not None:
            items["opt_state"] = ocp.args.StandardSave(_to_host(opt_state))
        try:
            self._manager.save(step, args=ocp.args.Composite(**items))
        except Exception as error:
            raise self._cannot_save(error) from error

    def rewind(self, step: int | None, scores: dict[int, float]) -> None:
        """Deletes what is newer than `step` (None: everything); `scores` are those that remain."""
        self.scores = scores
        for newer in self._manager.all_steps():
            if step is None or newer > step:
                self._manager.delete(newer)

    def wait(self) -> None:
        """Returns when the save under way, if any, is complete on disk.

        Raises:
            InputError: it could not be written.
        """
        try:
            self._manager.wait_until_finished()
        except Exception as error:
            raise self._cannot_save(error) from error
        self.check()

    def check(self) -> None:
        """Looks whether a save in the background has failed, without waiting for one that is under way.

        Raises:
            InputError: it could not be written.
        """
        try:
            self._manager.check_for_errors()
        except Exception as error:
            raise self._cannot_save(error) from error

    def meta(self, step: int) -> dict[str, Any]:
        """The JSON object saved at `step`."""
        return self._restore(step, meta=ocp.args.JsonRestore())["meta"]

    def restore_head(self, step: int, like: Any) -> Any:
        """The head saved at `step`, placed as the arrays of `like` are."""
        return self._restore(step, head=_restore_like(like))["head"]

    def restore(self, step: int, head: Any, opt_state: Any) -> tuple[Any, Any]:
        """The head and the optimiser state saved at `step`, placed as the given arrays are.

        Raises:
            InputError: the checkpoint is of a converted model, of other shapes, or damaged.
        """
        if not (self.folder / str(step) / "opt_state").is_dir():
            raise InputError(
                f"{self.folder}/{step} holds a converted model without optimiser state: it can be evaluated "
                "and used, not resumed. Train in another folder"
            )
        items = self._restore(step, head=_restore_like(head), opt_state=_restore_like(opt_state))
        return items["head"], items["opt_state"]

    def _best_of(self, steps: Sequence[int]) -> int | None:
        scored = sorted(step for step in steps if step in self.scores)
        return max(scored, key=self.scores.__getitem__, default=None)

    def _restore(self, step: int, **items: Any) -> Any:
        try:
            return self._manager.restore(step, args=ocp.args.Composite(**items))
        except Exception as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise InputError(
                f"the checkpoint {self.folder}/{step} cannot be read ({reason}): delete that folder to go on "
                "from the one before it"
            ) from error

    def _cannot_save(self, error: Exception) -> InputError:
        full = any(text in str(error) for text in ("No space left", "RESOURCE_EXHAUSTED", "File too large"))
        reason = "the disk is full" if full else (str(error).strip() or type(error).__name__)
        intact = sorted(int(p.name) for p in self.folder.glob("*") if p.name.isdigit())
        safe = f"the checkpoint of step {intact[-1]} is intact" if intact else "no earlier checkpoint exists"
        return InputError(f"cannot save a checkpoint in {self.folder}: {reason}; {safe}")


@dataclass
class _BestAndLast(preservation_policy.PreservationPolicy):
    """What stays when a newer checkpoint is complete."""

    best_of: Callable[[Sequence[int]], int | None]
    keep: int

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        """One flag for each of `checkpoints`, which are sorted by step."""
        steps = [checkpoint.step for checkpoint in checkpoints]
        kept = {self.best_of(steps), *sorted(steps)[-self.keep :]}
        return [step in kept for step in steps]


def _to_host(tree: Any) -> Any:
    """A copy of replicated arrays: on CPU `device_get` alone would share memory that is then donated."""
    return jax.tree.map(lambda array: np.array(jax.device_get(array)), tree)


def _restore_like(tree: Any) -> ocp.args.StandardRestore:
    return ocp.args.StandardRestore(jax.tree.map(ocp.utils.to_shape_dtype_struct, tree))
