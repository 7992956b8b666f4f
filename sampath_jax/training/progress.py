"""What the user sees while training: a progress bar or plain lines, a line per evaluation, TensorBoard.

With a terminal:      epoch 3/32 ━━━━━━━ 431/4,608  loss 0.4312  38.1 tiles/s  waiting 2%  1:23:45 left
Without:              step 430/4,608  epoch 2.99  lr 1.0e-04  loss 0.4312  38.1 tiles/s  waiting 2%  1:23 left
"""

import datetime
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Column

from sampath_jax import console
from sampath_jax.training.events import Events

#: Without a terminal an evaluation says how far it is after so many seconds.
QUIET_SECONDS = 30.0


class Speed:
    """Tiles per second and the share of time spent waiting for data, since the last `take`."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Leaves out what happened since the last step: an evaluation, a save."""
        self._since, self._tiles, self._waited = time.perf_counter(), 0, 0.0

    def add(self, tiles: int, waited: float) -> None:
        """Counts one step of `tiles` tiles, which were waited for `waited` seconds."""
        self._tiles += tiles
        self._waited += waited

    def take(self) -> dict[str, float]:
        """`tiles_per_second` and `waiting` (0..1), and starts anew."""
        elapsed = max(time.perf_counter() - self._since, 1e-9)
        speed = {"tiles_per_second": self._tiles / elapsed, "waiting": min(self._waited / elapsed, 1.0)}
        self.restart()
        return speed


@dataclass
class TimeLeft:
    """Seconds to the end, from the steps done since the first one, which compiles."""

    total: int
    _first: tuple[int, float] | None = None

    def after(self, step: int) -> float | None:
        """Seconds left after `step`, evaluations so far taken into account; None before it can be known."""
        now = time.perf_counter()
        if self._first is None:
            self._first = (step, now)
        done, elapsed = step - self._first[0], now - self._first[1]
        return elapsed / done * (self.total - step) if done else None


class TrainingProgress:
    """Shows and records a run of `total` steps. Only the first process shows anything.

    Args:
        total: steps of the whole run.
        first: steps done in earlier runs of it.
        steps_per_epoch: to say which epoch a step is in.
        tensorboard: folder of the event files, or None for none.
        quiet: show and record nothing.
    """

    def __init__(
        self, total: int, first: int, steps_per_epoch: int, tensorboard: Path | None, *, quiet: bool = False
    ):
        self._total, self._steps_per_epoch, self._quiet = total, steps_per_epoch, quiet
        self._left = TimeLeft(total)
        self._events = None if quiet or tensorboard is None else Events(tensorboard, first)
        self._text, self._said = "", time.perf_counter()
        self._bar = _bar(
            len(self._epoch(total)), len(f"{total}/{total}"), disable=quiet or not console.out.is_terminal
        )
        self._task = self._bar.add_task("", total=total, completed=first, epoch=self._epoch(first), text="")

    def __enter__(self) -> "TrainingProgress":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
        if self._events is not None:
            self._events.close()

    def step(self, step: int) -> None:
        """Moves the bar; costs nothing else."""
        self._bar.update(self._task, completed=step, epoch=self._epoch(step))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Shows and records the means over the last steps.

        Args:
            step: the last of them.
            values: loss and its parts, grad_norm, learning_rate, tiles_per_second, waiting.
        """
        if self._events is not None:
            self._events.scalars(step, "train", values)
        left = self._left.after(step)
        self._text = (
            f"loss {values['loss']:.4f}  {values['tiles_per_second']:.1f} tiles/s  "
            f"waiting {values['waiting']:.0%}" + (f"  {_clock(left)} left" if left is not None else "")
        )
        self._bar.update(self._task, text=self._text)
        self._said = time.perf_counter()
        if not self._quiet and self._bar.disable:
            epoch, rate = step / self._steps_per_epoch, values["learning_rate"]
            at = f"step {step:,}/{self._total:,}  epoch {epoch:.2f}  lr {rate:.1e}"
            console.out.print(f"{at}  {self._text}", soft_wrap=True)

    def validating(self, tiles: int, total: int) -> None:
        """Shows that `tiles` of `total` validation tiles are done: the first time, encoding takes long."""
        text = f"validating {tiles:,}/{total:,} tiles"
        self._bar.update(self._task, text=text)
        now = time.perf_counter()
        if not self._quiet and self._bar.disable and now - self._said >= QUIET_SECONDS:
            self._said = now
            console.out.print(text)

    def evaluation(self, step: int, scores: Mapping[str, Any], *, best: bool, name: str = "") -> None:
        """Shows and records the validation scores: overall and per class, as in `metrics.jsonl`.

        Args:
            step: micro-batches done.
            scores: of `Validation.scores`.
            best: the best so far.
            name: of the head, in a sweep.
        """
        dice = {name: values["dice"] for name, values in scores["per_class"].items()}
        overall = {name: value for name, value in scores.items() if isinstance(value, float)}
        if self._events is not None:
            self._events.scalars(step, f"{name}/val".lstrip("/"), overall)
            self._events.scalars(step, f"{name}/val_dice".lstrip("/"), dice)
        self._bar.update(self._task, text=self._text)
        self._said = time.perf_counter()
        if not self._quiet:
            parts = [
                f"[bold]epoch {step / self._steps_per_epoch:.4g}[/]",
                *([name] if name else []),
                f"val Dice [bold]{_score(scores['macro_dice'])}[/]",
                f"IoU {_score(scores['macro_iou'])}",
                *(f"{escape(label)} {_score(value)}" for label, value in dice.items()),
                *(["[green]best so far[/]"] if best else []),
            ]
            console.out.print("  ".join(parts), soft_wrap=True)

    def _epoch(self, step: int) -> str:
        epochs = -(-self._total // self._steps_per_epoch)
        return f"epoch {min(step // self._steps_per_epoch + 1, epochs)}/{epochs}"


def _bar(epoch: int, steps: int, *, disable: bool) -> Progress:
    """On a narrow terminal the bar gives way first, then the text; epoch and steps keep their widths."""
    return Progress(
        TextColumn("{task.fields[epoch]}", table_column=Column(no_wrap=True, min_width=epoch)),
        BarColumn(bar_width=None, table_column=Column(ratio=1)),
        MofNCompleteColumn(table_column=Column(no_wrap=True, min_width=steps)),
        TextColumn("{task.fields[text]}", table_column=Column(no_wrap=True, overflow="ellipsis")),
        console=console.out,
        disable=disable,
    )


def _clock(seconds: float) -> str:
    return str(datetime.timedelta(seconds=round(seconds)))


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
