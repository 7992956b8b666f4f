"""Scores a model or masks.

python -m sampath_jax.evaluate --workdir DIR [--split test] [--checkpoint best]
python -m sampath_jax.evaluate --workdir SWEEP      (the mean of its heads' probabilities)
python -m sampath_jax.evaluate --predictions DIR --labels DIR --config FILE (or --workdir DIR)
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.progress import Progress

from sampath_jax import cli, console, distributed
from sampath_jax.errors import InputError


def main(arguments: Sequence[str]) -> int:
    """Scores a trained model on a split of its data set, or masks that any tool has made.

    Prints Dice and IoU per class and overall with 95 % intervals over slides, beside the figures that the
    published code would give, and writes scores.json, per_tile.csv and confusion.csv.
    """
    parser = argparse.ArgumentParser(prog="python -m sampath_jax.evaluate", description=main.__doc__)
    cli.add_config(parser, required=False)
    parser.add_argument(
        "--workdir",
        type=Path,
        nargs="+",
        metavar="DIR",
        help="a trained or converted model; a sweep, or several: the mean of their heads' probabilities",
    )
    parser.add_argument("--split", default="test", choices=("train", "val", "test"))
    parser.add_argument("--checkpoint", default="best", metavar="best|last|STEP")
    parser.add_argument(
        "--predictions", type=Path, metavar="DIR", help="score these masks instead of a model"
    )
    parser.add_argument("--labels", type=Path, metavar="DIR", help="the true masks, of the same names")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="where the scores go: with --predictions, or with several work directories",
    )
    parser.add_argument(
        "--distributed", action="store_true", help="insist on a launcher of several processes"
    )
    parser.epilog = "What training did not decide can be overridden, such as --config.data.root=DIR."
    options, config = cli.parse(parser, arguments)
    if options.predictions or options.labels:
        return _score_masks(options, config)
    if options.workdir is None or config is not None:
        raise InputError("name a --workdir to score its model, or --predictions and --labels to score masks")
    if options.output and len(options.workdir) == 1:
        raise InputError(
            "--output goes with --predictions or several --workdir; a model's results go to its --workdir"
        )
    return _score_model(options)


def _score_model(options: argparse.Namespace) -> int:
    distributed.start(options.distributed)
    from sampath_jax.evaluation.evaluate_split import evaluate_split, results_folder
    from sampath_jax.evaluation.tables import print_results
    from sampath_jax.reporting.write import report_after

    with Progress(console=console.err) as bar:
        task = bar.add_task(f"Evaluating {options.split}", total=None)
        results = evaluate_split(
            options.workdir,
            options.split,
            options.checkpoint,
            options.overrides,
            output=options.output,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    print_results(results)
    folder = options.output or results_folder(options.workdir, options.split)
    console.out.print(f"Written to {folder}", soft_wrap=True)
    if not options.output:
        report_after(options.workdir[0], options.split, options.overrides)
    return 0


def _score_masks(options: argparse.Namespace, config: object) -> int:
    from sampath_jax.evaluation.score_masks import score_masks
    from sampath_jax.evaluation.tables import print_results
    from sampath_jax.workdir import WorkDir

    if not (options.predictions and options.labels):
        raise InputError("--predictions and --labels go together: the masks to score, and the true ones")
    if (config is None) == (options.workdir is None) or len(options.workdir or ()) > 1:
        raise InputError("say which classes the masks hold: --config FILE or --workdir DIR, one of them")
    if config is None:
        config = WorkDir.open(options.workdir[0], options.overrides).config
    results = score_masks(options.predictions, options.labels, config)
    print_results(results)
    if options.output:
        results.write(options.output)
        console.out.print(f"Written to {options.output}", soft_wrap=True)
    return 0


if __name__ == "__main__":
    cli.run(main)
