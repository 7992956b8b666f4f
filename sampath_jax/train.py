"""Trains a head: `python -m sampath_jax.train --config configs/bcss.py --workdir runs/bcss`."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from sampath_jax import cli, console, distributed


def main(arguments: Sequence[str]) -> int:
    """Trains the experiment of a config file. The same command resumes an interrupted run."""
    parser = argparse.ArgumentParser(prog="python -m sampath_jax.train", description=main.__doc__)
    cli.add_config(parser)
    parser.add_argument("--workdir", type=Path, required=True, metavar="DIR", help="where everything goes")
    parser.add_argument(
        "--distributed", action="store_true", help="insist on a launcher of several processes"
    )
    options, config = cli.parse(parser, arguments)
    distributed.start(options.distributed)
    from sampath_jax.reporting.write import report_after
    from sampath_jax.training.loop import train

    outcome = train(config, options.workdir)
    if outcome.exit_status == 0 and outcome.best_step is not None:
        console.out.print(
            f"Done: {outcome.step:,} steps. Best validation Dice {outcome.best_score:.4f} at step "
            f"{outcome.best_step:,}.\nNext: python -m sampath_jax.evaluate --workdir {options.workdir}"
        )
    report_after(options.workdir)
    return outcome.exit_status


if __name__ == "__main__":
    cli.run(main)
