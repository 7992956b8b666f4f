"""Runs a baseline of the paper that needs no training.

python -m sampath_jax.baseline --config configs/baselines/crag_vanilla_sam.py --workdir runs/crag_vanilla_sam
"""

import argparse
from collections.abc import Sequence

from sampath_jax import cli, console
from sampath_jax.errors import InputError


def main(arguments: Sequence[str]) -> int:
    """Segments a split with SAM as it is: one dot per object, scored like a model, or everything."""
    parser = argparse.ArgumentParser(prog="python -m sampath_jax.baseline", description=main.__doc__)
    cli.add_config(parser)
    cli.add_workdir(parser, "where results go")
    parser.add_argument("--split", default="test", choices=("train", "val", "test"))
    options, config = cli.parse(parser, arguments)
    assert config is not None
    if not config.baseline.prompts:
        raise InputError(
            f"{options.config} is no baseline: it sets no config.baseline.prompts (dots or everything); "
            "to train a model as it says run `python -m sampath_jax.train`"
        )

    from sampath_jax.evaluation.tables import print_results
    from sampath_jax.prompting.baseline import run_dots, run_everything
    from sampath_jax.reporting.write import report_after

    path, split = cli.workdir(options, config), options.split
    if config.baseline.prompts == "dots":
        print_results(run_dots(config, path, split))
        report_after(path, split)
    else:
        run_everything(config, path, split)
    console.out.print(f"Written to {path / 'evaluation' / split}", soft_wrap=True)
    return 0


if __name__ == "__main__":
    cli.run(main)
