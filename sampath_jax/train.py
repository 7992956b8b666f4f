"""Trains a head: `python -m sampath_jax.train --config configs/bcss.py`."""

import argparse
from collections.abc import Sequence

from sampath_jax import cli, console, distributed


def main(arguments: Sequence[str]) -> int:
    """Trains the experiment of a config file. The same command resumes an interrupted run."""
    parser = argparse.ArgumentParser(prog="python -m sampath_jax.train", description=main.__doc__)
    cli.add_config(parser)
    cli.add_workdir(parser, "where everything goes")
    parser.add_argument(
        "--distributed", action="store_true", help="insist on a launcher of several processes"
    )
    options, config = cli.parse(parser, arguments)
    assert config is not None
    workdir = cli.workdir(options, config)
    distributed.start(options.distributed)
    from sampath_jax.reporting.write import report_after
    from sampath_jax.training.loop import train

    outcome = train(config, workdir)
    if distributed.is_first_process() and outcome.exit_status == 0 and outcome.best_step is not None:
        console.out.print(
            f"Done: {outcome.step:,} steps. Best validation Dice {outcome.best_score:.4f} at step "
            f"{outcome.best_step:,}.\nNext: python -m sampath_jax.evaluate --workdir {workdir}"
        )
    report_after(workdir)
    return outcome.exit_status


if __name__ == "__main__":
    cli.run(main)
