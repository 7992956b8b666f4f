"""A whole experiment small enough to train in a test: eighteen 64x48 tiles, tiny random encoders."""

from pathlib import Path

from ml_collections import ConfigDict

from sampath_jax.config import load_config
from sampath_jax.data.synthetic import write_dataset

#: Twelve training tiles: three batches per epoch, which make two optimiser steps, the second a short one.
SMALL = (
    "data.canvas=(64,48)",
    "model.input_size=(64,48)",
    "optim.batch_size=4",
    "optim.accumulate=2",
    "optim.epochs=3",
    "optim.warmup_epochs=0",
    "optim.drop_epochs=(2,)",
    "eval.batch_size=2",
    "eval.every_epochs=1",
    "checkpoint.every_epochs=0.67",
    "log.every_steps=1",
    "log.tensorboard=False",
    "mesh.data=1",  # programs for several devices have an address in them and are compiled every time
)
#: Micro-batches of the whole run.
TOTAL = 9


def dataset(root: Path) -> Path:
    """Eighteen tiles in the published layout, of which twelve train, three validate and three test."""
    write_dataset(root, count=18, size=(64, 48), tiles_per_slide=1)
    return root


def small_overrides(root: Path, *overrides: str) -> list[str]:
    """Command-line overrides that make the demo's config small."""
    return [f"--config.{value}" for value in (f"data.root={root}", *SMALL, *overrides)]


def small_config(root: Path, *overrides: str) -> ConfigDict:
    """The demo's config at the smallest size, on the tiles in `root`."""
    return load_config(Path("configs/demo.py"), small_overrides(root, *overrides))
