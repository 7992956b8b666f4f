"""Our own side of the benchmark: every subject on the device, compiled and ready to be timed."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from ml_collections import ConfigDict

from sampath_jax.benchmarking.flops import matrix_flops
from sampath_jax.benchmarking.memory import reset_peak
from sampath_jax.benchmarking.work import Work, random_tiles
from sampath_jax.evaluation.confusion import tile_confusions
from sampath_jax.freed_memory import return_freed_memory
from sampath_jax.models.config import SamPathConfig
from sampath_jax.models.freezing import split_head
from sampath_jax.models.sam_path import SamPath, class_map
from sampath_jax.training.optimiser import make_optimiser
from sampath_jax.training.state import TrainState
from sampath_jax.training.step import make_train_step
from sampath_jax.weights import build_model

#: A program of the model: from a graphdef to a function of arrays.
Program = Callable[[nnx.GraphDef], Callable[..., Any]]


def prepare(subject: str, config: ConfigDict, batch: int) -> Work:
    """`subject` for `batch` tiles at a time, with random weights and tiles."""
    if subject == "train":
        return _train(config, batch)
    graphdef, head, frozen = split_head(build_model(config))
    program, inputs = {"encoder": _encoder, "forward": _forward, "evaluate": _evaluate}[subject](
        config, batch
    )
    arguments = (head, frozen, *inputs)
    compiled, work = _compile(config, program, graphdef, arguments, batch)
    work.run = lambda: jax.block_until_ready(compiled(*arguments))
    return work


def _encoder(config: ConfigDict, batch: int) -> tuple[Program, tuple]:
    def program(graphdef: nnx.GraphDef) -> Callable[..., Any]:
        return lambda head, frozen, images: nnx.merge(graphdef, head, frozen).encode(images)

    return program, (random_tiles(config, batch)["image"],)


def _forward(config: ConfigDict, batch: int) -> tuple[Program, tuple]:
    canvas = tuple(config.data.canvas)

    def program(graphdef: nnx.GraphDef) -> Callable[..., Any]:
        return lambda head, frozen, images: class_map(nnx.merge(graphdef, head, frozen)(images)[0], canvas)

    return program, (random_tiles(config, batch)["image"],)


def _evaluate(config: ConfigDict, batch: int) -> tuple[Program, tuple]:
    """Features come from the host, as from the cache."""
    model, canvas, classes = (
        SamPathConfig.from_config(config),
        tuple(config.data.canvas),
        len(config.data.classes),
    )

    def program(graphdef: nnx.GraphDef) -> Callable[..., Any]:
        def score(head: Any, frozen: Any, features: Any, labels: Any) -> Any:
            logits, _ = nnx.merge(graphdef, head, frozen).decode(features)
            return tile_confusions(labels, class_map(logits, canvas), classes)

        return score

    features = np.zeros((batch, *model.grid, model.feature_width), model.compute_dtype)
    return program, (features, random_tiles(config, batch)["label"])


def _train(config: ConfigDict, batch: int) -> Work:
    graphdef, head, frozen = split_head(build_model(config))
    tx = make_optimiser(config.optim, steps_per_epoch=100)
    tiles = random_tiles(config, batch)
    latest = TrainState.create(head, tx)
    del head

    def program(graphdef: nnx.GraphDef) -> Callable[..., Any]:
        return make_train_step(graphdef, tx, config)

    compiled, work = _compile(config, program, graphdef, (latest, frozen, tiles), batch, donate=(0,))

    def run() -> None:
        nonlocal latest
        latest, metrics = compiled(latest, frozen, tiles)
        jax.block_until_ready((latest, metrics))

    work.run = run
    return work


def _compile(
    config: ConfigDict,
    program: Program,
    graphdef: nnx.GraphDef,
    arguments: tuple,
    batch: int,
    donate: tuple[int, ...] = (),
) -> tuple[Callable[..., Any], Work]:
    """Compiles ahead of time, and counts the products of the same program with plain attention."""
    model = SamPathConfig.from_config(config)
    plain = dataclasses.replace(model, attention="reference")
    reference = split_head(nnx.eval_shape(lambda: SamPath(plain, rngs=nnx.Rngs(0))))[0]
    flops = matrix_flops(program(reference), *arguments)
    reset_peak()
    started = time.perf_counter()
    compiled = jax.jit(program(graphdef), donate_argnums=donate).lower(*arguments).compile()
    seconds = time.perf_counter() - started
    return_freed_memory()  # as training does
    memory = compiled.memory_analysis()
    work = Work(
        run=lambda: None,
        tiles=batch,
        flops=flops,
        compile_seconds=seconds,
        program_bytes=memory.temp_size_in_bytes if memory else None,
        dtype=jnp.dtype(model.compute_dtype).name,
    )
    return compiled, work
