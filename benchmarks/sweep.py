"""What a sweep costs beside a run of one head, at full size: `python benchmarks/sweep.py [--heads 8]`.

A training step of SAM ViT-B and HIPT on 1024 x 1024 tiles, for one head and for several, timed in turns so
that a machine that slows down slows down both. Memory is what the compiler plans: temporary memory, and the
arguments, which are the frozen encoders, the batch, and per head its parameters and both AdamW moments.
"""

import argparse
import csv
import io
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np

from sampath_jax import cli, console
from sampath_jax.config import load_config
from sampath_jax.distributed import Placement, make_mesh
from sampath_jax.models.freezing import split_head
from sampath_jax.training.heads import StackedHeads
from sampath_jax.training.optimiser import make_optimiser
from sampath_jax.training.state import TrainState
from sampath_jax.training.step import TrainStep, make_train_step
from sampath_jax.training.sweep_step import make_sweep_step
from sampath_jax.weights import build_model

CONFIG = Path(__file__).parents[1] / "configs" / "bcss.py"
COLUMNS = ("heads", "seconds per step", "all", "times one head", "arguments MB", "temporary MB", "total MB")


def main(arguments: Sequence[str]) -> int:
    """Prints a row for one head and a row for several."""
    parser = argparse.ArgumentParser(prog="python benchmarks/sweep.py", description=main.__doc__)
    parser.add_argument("--heads", type=int, default=8, metavar="N")
    parser.add_argument("--batch-size", type=int, default=1, metavar="N")
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="steps that are timed, of each")
    parser.add_argument("--output", type=Path, metavar="FILE", help="also write the table as CSV")
    options, _ = cli.parse(parser, arguments)
    programs = _programs(options.heads, options.batch_size)
    for turn in range(options.repeats + 1):  # the first is not timed
        for program in programs:
            program.advance(timed=turn > 0)
    rows = [program.row(programs[0]) for program in programs]
    name = f"{jax.device_count()} x {jax.devices()[0].device_kind}, batch {options.batch_size}"
    console.table(f"Training step, ViT-B + HIPT, 1024 x 1024, {name}", COLUMNS, rows)
    if options.output:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([COLUMNS, *rows])
        options.output.write_text(text.getvalue())
    return 0


@dataclass
class Program:
    """A compiled training step with its state, and the times it took."""

    heads: int
    step: Any
    state: TrainState
    frozen: Any
    batch: Any
    times: list[float] = field(default_factory=list)

    def advance(self, *, timed: bool) -> None:
        """Takes one step."""
        started = time.perf_counter()
        self.state, metrics = self.step(self.state, self.frozen, self.batch)
        jax.block_until_ready((self.state, metrics))
        if timed:
            self.times.append(time.perf_counter() - started)

    def row(self, one: "Program") -> tuple[str, ...]:
        """Median time and planned memory, beside those of `one` head."""
        plan = self.step.memory_analysis()
        used = plan.argument_size_in_bytes, plan.temp_size_in_bytes
        # the outputs take the place of the donated state
        return (
            str(self.heads),
            f"{np.median(self.times):.2f}",
            " ".join(f"{seconds:.2f}" for seconds in self.times),
            f"{np.median(self.times) / np.median(one.times):.2f}",
            *(f"{number / 1e6:.0f}" for number in (*used, sum(used))),
        )


def _programs(heads: int, batch_size: int) -> tuple[Program, Program]:
    """The step of one head, and that of several."""
    values = (f"optim.batch_size={batch_size}", "weights.sam=random", "weights.hipt=random")
    config = load_config(CONFIG, values)
    placement = Placement(make_mesh(config.mesh))
    graphdef, head, frozen = split_head(build_model(config))
    frozen = placement.put_frozen(frozen)
    batch = placement.put_batch(_batch(batch_size, tuple(config.data.canvas), len(config.data.classes)))
    tx = make_optimiser(config.optim, steps_per_epoch=100)
    several = make_sweep_step(
        graphdef,
        tx,
        config,
        np.linspace(0, 1, heads, dtype=np.float32),
        np.full(heads, config.loss.beta, np.float32),
        np.ones((heads, batch_size), bool),
    )
    state = TrainState.create(head, tx)
    stacked = StackedHeads().join([state] * heads)

    def compiled(step: TrainStep, state: TrainState, heads: int) -> Program:
        state = placement.put(jax.tree.map(np.array, state))  # a copy: the state is donated
        made: Any = placement.compile_step(step, frozen)
        return Program(heads, made.lower(state, frozen, batch).compile(), state, frozen, batch)

    return compiled(make_train_step(graphdef, tx, config), state, 1), compiled(several, stacked, heads)


def _batch(size: int, canvas: tuple[int, int], classes: int) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(0).integers
    return {
        "image": draw(0, 256, (size, *canvas, 3)).astype(np.uint8),
        "label": draw(0, classes + 1, (size, *canvas)).astype(np.uint8),
        "valid": np.ones(size, bool),
        "index": np.arange(size, dtype=np.int32),
        "epoch": np.zeros(size, np.int32),
    }


if __name__ == "__main__":
    cli.run(main)
