"""Runs a baseline of the paper that needs no training.

python -m sampath_jax.baseline --config configs/baselines/crag_vanilla_sam.py --workdir runs/crag_vanilla_sam
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.progress import Progress

from sampath_jax import cli, console
from sampath_jax.errors import InputError


def main(arguments: Sequence[str]) -> int:
    """Segments a split with SAM as it is: one dot per object, scored like a model, or everything."""
    parser = argparse.ArgumentParser(prog="python -m sampath_jax.baseline", description=main.__doc__)
    cli.add_config(parser)
    parser.add_argument("--workdir", type=Path, required=True, metavar="DIR", help="where results go")
    parser.add_argument("--split", default="test", choices=("train", "val", "test"))
    options, config = cli.parse(parser, arguments)
    assert config is not None
    if not config.baseline.prompts:
        raise InputError(
            f"{options.config} is no baseline: config.baseline.prompts must be dots or everything"
        )

    from sampath_jax.evaluation.tables import print_results
    from sampath_jax.prompting.baseline import load_baseline_sam, run_dots, run_everything
    from sampath_jax.reporting.write import report_after
    from sampath_jax.workdir import WorkDir

    workdir = WorkDir.create(options.workdir, config)
    sam = load_baseline_sam(config)
    with Progress(console=console.err) as bar:
        task = bar.add_task(f"Segmenting {options.split}", total=None)

        def progress(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        if config.baseline.prompts == "dots":
            results = run_dots(sam, workdir, options.split, progress)
        else:
            folder = run_everything(sam, workdir, options.split, progress)
    if config.baseline.prompts == "dots":
        print_results(results)
        folder = options.workdir / "evaluation" / options.split
    console.out.print(f"Written to {folder}", soft_wrap=True)
    if config.baseline.prompts == "dots":
        report_after(options.workdir, options.split)
    return 0


if __name__ == "__main__":
    cli.run(main)
