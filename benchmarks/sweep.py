"""What a sweep costs beside a run of one head, at full size: `python benchmarks/sweep.py [--heads 8]`.

A training step of SAM ViT-B and HIPT on 1024 x 1024 tiles, for one head and for several, timed in turns so
that a machine that slows down slows down both. Memory is what a sweep plans before it starts: the frozen
encoders, batches, temporary memory, and per head its parameters and both AdamW moments.
"""

import argparse
import csv
import io
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sampath_jax import cli, console
from sampath_jax.config import load_config
from sampath_jax.distributed import Placement, make_mesh
from sampath_jax.models.freezing import split_head
from sampath_jax.training.heads import GroupedHeads
from sampath_jax.training.memory import needed, plan_groups
from sampath_jax.training.optimiser import make_optimiser
from sampath_jax.training.state import TrainState
from sampath_jax.training.step import make_train_step
from sampath_jax.training.sweep_step import SweepPrograms, SweepStep, Terms
from sampath_jax.weights import build_model

CONFIG = Path(__file__).parents[1] / "configs" / "bcss.py"
COLUMNS = ("heads", "seconds per step", "all", "times one head", "memory MB")


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
    step: Callable[..., Any]
    state: Any
    frozen: Any
    batch: Any
    memory: int  # bytes
    times: list[float] = field(default_factory=list)

    def advance(self, *, timed: bool) -> None:
        """Takes one step."""
        started = time.perf_counter()
        self.state, metrics = self.step(self.state, self.frozen, self.batch)
        jax.block_until_ready((self.state, metrics))
        if timed:
            self.times.append(time.perf_counter() - started)

    def row(self, one: "Program") -> tuple[str, ...]:
        """Median time beside that of `one` head, and memory."""
        return (
            str(self.heads),
            f"{np.median(self.times):.2f}",
            " ".join(f"{seconds:.2f}" for seconds in self.times),
            f"{np.median(self.times) / np.median(one.times):.2f}",
            f"{self.memory / 1e6:.0f}",
        )


def _programs(heads: int, batch_size: int) -> tuple[Program, Program]:
    """The step of one head, and that of several."""
    values = (f"optim.batch_size={batch_size}", "weights.sam=random", "weights.hipt=random")
    config = load_config(CONFIG, values)
    placement = Placement(make_mesh(config.mesh))
    graphdef, head, frozen = split_head(build_model(config))
    tx = make_optimiser(config.optim, steps_per_epoch=100)
    shapes = jax.eval_shape(lambda: (head, frozen))
    programs = SweepPrograms(graphdef, *shapes, tx, config, placement, tiles=batch_size)
    together, own = plan_groups(programs, heads)
    groups = GroupedHeads(heads, together)
    sizes = [len(group) for group in groups.groups]
    steps = [own if size == together else programs.step(size, stacked=True) for size in sizes]
    everywhere = jnp.ones(batch_size, bool)
    terms = [Terms(alpha, jnp.float32(config.loss.beta), everywhere) for alpha in jnp.linspace(0, 1, heads)]
    several = SweepStep(programs, groups, steps, terms)
    placed = placement.put_frozen(frozen)
    batch = placement.put_batch(_batch(batch_size, tuple(config.data.canvas), len(config.data.classes)))
    state = TrainState.create(jax.tree.map(np.asarray, head), tx)

    def fresh() -> TrainState:
        return placement.put(jax.tree.map(np.array, state))  # a copy: the state is donated

    need = needed(programs, own)
    one = placement.compile_step(make_train_step(graphdef, tx, config), frozen)
    return (
        Program(1, one, fresh(), placed, batch, need.of(1)),
        Program(heads, several, groups.form([fresh() for _ in range(heads)]), placed, batch, need.of(heads)),
    )


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
