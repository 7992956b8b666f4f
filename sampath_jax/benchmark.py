"""Measures speed and memory: `python -m sampath_jax.benchmark --against torch --output FILE.json`.

Every subject runs in a process of its own, with random weights and synthetic tiles, in the config's sizes.
"""

import argparse
import dataclasses
import functools
import importlib.util
import json
import shlex
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ml_collections import ConfigDict
from rich.progress import Progress

import configs
from sampath_jax import cli, console
from sampath_jax.benchmarking.runner import WARM_UP, measure
from sampath_jax.benchmarking.work import DECODER, OURS, PEAK, SUBJECTS, TORCH, Request
from sampath_jax.config import to_json
from sampath_jax.errors import InputError

#: The published experiment: ViT-B and HIPT at 1024 x 1024.
DEFAULT_CONFIG = Path(configs.__file__).parent / "bcss.py"
#: Tiles of the synthetic data set that the pipeline reads.
DATA_TILES = 48


def main(arguments: Sequence[str]) -> None:
    """Times encoders, whole model, training step, evaluation and data pipeline, alone or beside PyTorch."""
    parser = argparse.ArgumentParser(prog="python -m sampath_jax.benchmark", description=main.__doc__)
    cli.add_config(parser, required=False)
    parser.set_defaults(config=DEFAULT_CONFIG)
    parser.add_argument(
        "--subjects", default=",".join(SUBJECTS), metavar="NAMES", help=f"of {', '.join(SUBJECTS)}"
    )
    parser.add_argument(
        "--batch", default="1", metavar="N[,N...]", help="tiles at a time (data: config.optim.batch_size)"
    )
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="repetitions that count")
    parser.add_argument("--against", choices=["torch"], help="run the same in PyTorch, alternating")
    parser.add_argument("--output", type=Path, metavar="FILE.json", help="write everything measured")
    options, config = cli.parse(parser, arguments)
    assert config is not None
    subjects, batches = _subjects(options.subjects), _batches(options.batch)
    if options.repeats < 1:
        raise InputError(f"--repeats is {options.repeats}, but must be at least 1")
    if options.against and importlib.util.find_spec("torch") is None:
        raise InputError("--against torch needs PyTorch: python -m pip install torch==2.13.0")
    if options.output is not None and not options.output.parent.is_dir():
        raise InputError(f"there is no folder {options.output.parent}: create it, or choose another --output")
    config = _self_contained(config)
    with tempfile.TemporaryDirectory() as folder:
        found = _measure_all(config, Path(folder), subjects, batches, options)

    from sampath_jax.benchmarking import report

    report.print_tables(found)
    if options.output is not None:
        command = shlex.join(["python", "-m", "sampath_jax.benchmark", *arguments])
        results = report.to_json(found, json.loads(to_json(config)), command)
        options.output.write_text(json.dumps(results, indent=1) + "\n")


def _subjects(text: str) -> list[str]:
    names = [name for name in text.split(",") if name]
    if unknown := [name for name in names if name not in SUBJECTS]:
        raise InputError(f"--subjects {', '.join(unknown)}: unknown; choose of {', '.join(SUBJECTS)}")
    return names


def _batches(text: str) -> list[int]:
    parts = text.split(",")
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise InputError(f"--batch {text}: write whole numbers of tiles, such as 1 or 1,4,16")
    return [int(part) for part in parts]


def _self_contained(config: ConfigDict) -> ConfigDict:
    """The same sizes with random weights: speed does not depend on their values."""
    config = config.copy_and_resolve_references()
    with config.unlocked():
        config.weights.sam = config.weights.hipt = "random"
    return config.lock()


def _measure_all(
    config: ConfigDict, folder: Path, subjects: list[str], batches: list[int], options: argparse.Namespace
) -> list:
    """The contestants of one subject and batch run side by side; beside those on a device, the peak."""
    from sampath_jax.models.config import SamPathConfig

    if "data" in subjects:
        config = _with_data(config, folder / "data")
    contestants = (OURS, *(TORCH if options.against else ()))
    shared = {
        "config": to_json(config),
        "model": dataclasses.asdict(SamPathConfig.from_config(config)),
        "cache": str(folder / "compiled"),
    }
    groups = [_group(subject, batch, contestants, shared) for subject in subjects for batch in batches]
    found = []
    with Progress(console=console.err, transient=True) as progress:
        for group in groups:
            subject = group[-1].subject
            steps = len(group) * (WARM_UP + options.repeats)
            task = progress.add_task(f"{subject}, batch {group[-1].batch}", total=steps)
            found += measure(group, options.repeats, functools.partial(progress.advance, task))
            progress.remove_task(task)
    return found


def _group(subject: str, batch: int, contestants: Sequence[str], shared: dict) -> list[Request]:
    if subject == "data":
        return [Request(contestant, subject, batch, **shared) for contestant in (OURS, DECODER)]
    peaks = [Request(c, PEAK, batch, **shared) for c in contestants if c != TORCH[0]]
    return peaks + [Request(contestant, subject, batch, **shared) for contestant in contestants]


def _with_data(config: ConfigDict, root: Path) -> ConfigDict:
    """The config with a synthetic data set of tiles of the canvas's size."""
    from sampath_jax.data.synthetic import write_dataset

    with console.err.status("writing synthetic tiles"):
        write_dataset(root, DATA_TILES, tuple(config.data.canvas))
    config = config.copy_and_resolve_references()
    with config.unlocked():
        config.data.root, config.data.layout, config.data.csv = str(root), "published", "cv.csv"
    return config.lock()


if __name__ == "__main__":
    cli.run(main)
