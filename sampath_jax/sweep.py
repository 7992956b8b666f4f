"""Trains many heads in one run, which share every encoder pass and every batch.

python -m sampath_jax.sweep --config configs/bcss.py --workdir runs/alpha --sweep.loss.alpha=0,0.25,0.5,1
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from sampath_jax import cli, console, distributed


def main(arguments: Sequence[str]) -> int:
    """Trains one head per combination of settings; each ends in a work directory of its own."""
    parser = argparse.ArgumentParser(prog="python -m sampath_jax.sweep", description=main.__doc__)
    cli.add_config(parser)
    parser.epilog = f"{parser.epilog} Sweep keys: --sweep.loss.alpha=0,0.5 .loss.beta .seed .data.val_fold"
    parser.add_argument(
        "--workdir", type=Path, required=True, metavar="DIR", help="holds a folder for each head"
    )
    parser.add_argument(
        "--distributed", action="store_true", help="insist on a launcher of several processes"
    )
    swept = [argument for argument in arguments if argument.startswith("--sweep.")]
    options, config = cli.parse(parser, [argument for argument in arguments if argument not in swept])
    assert config is not None
    distributed.start(options.distributed)
    from sampath_jax.evaluation.sweep_figure import write_sweep
    from sampath_jax.training.sweep import sweep

    outcome = sweep(config, swept, options.workdir)
    if outcome.exit_status == 0 and distributed.is_first_process():
        write_sweep(options.workdir)
        console.out.print(f"Written to {options.workdir}", soft_wrap=True)
    return outcome.exit_status


if __name__ == "__main__":
    cli.run(main)
