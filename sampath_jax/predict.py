"""Segments images.

python -m sampath_jax.predict --workdir DIR --input FILE_OR_FOLDER --output DIR
python -m sampath_jax.predict --workdir SWEEP --input FILE_OR_FOLDER --output DIR   (the mean of its heads)
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

from sampath_jax import cli, console
from sampath_jax.evaluation.sliding import OVERLAP

#: Exit status if some images failed.
SOME_FAILED = 1


def main(arguments: Sequence[str]) -> int:
    """Writes a mask for every image, in the data set's own values and at the image's own size.

    Images that already have their files are skipped, so that an interrupted run goes on when it is repeated.
    """
    options = _parse(arguments)
    from sampath_jax.evaluation.prediction import Outputs, predict_files
    from sampath_jax.segmenter import Segmenter

    segmenter = Segmenter.load(
        options.workdir,
        options.checkpoint,
        options.overrides,
        batch_size=options.batch_size,
        window=options.window and (options.window[0], options.window[-1]),
        overlap=options.overlap,
    )
    if segmenter.num_heads > 1:
        console.out.print(f"Averaging the probabilities of {segmenter.num_heads} heads")
    outputs = Outputs(options.output, overlay=options.overlay, probabilities=options.probabilities)
    columns = (*Progress.get_default_columns()[:-1], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console.err) as bar:
        task = bar.add_task("Predicting", total=None)
        outcome = predict_files(
            segmenter,
            options.input,
            outputs,
            overwrite=options.overwrite,
            progress=lambda settled, total: bar.update(task, completed=settled, total=total),
        )
    for reason in outcome.failed.values():
        console.error(reason)
    skipped = f", {len(outcome.skipped):,} were there already" if outcome.skipped else ""
    failed = f", {len(outcome.failed):,} failed" if outcome.failed else ""
    console.out.print(f"{len(outcome.done):,} predicted{skipped}{failed}: {options.output}", soft_wrap=True)
    return SOME_FAILED if outcome.failed else 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sampath_jax.predict", description=main.__doc__)
    parser.epilog = (
        "Images up to a quarter larger than the canvas are resized to it, as in training. Larger ones are "
        "cut at their own scale into overlapping windows of its size, whose probabilities are blended. "
        "Where files have moved: --config.weights.sam=DIR."
    )
    parser.add_argument(
        "--workdir",
        type=Path,
        nargs="+",
        required=True,
        metavar="DIR",
        help="a trained or converted model; a sweep, or several: the mean of their heads' probabilities",
    )
    parser.add_argument("--checkpoint", default="best", metavar="best|last|STEP")
    parser.add_argument(
        "--input", type=Path, required=True, metavar="FILE_OR_FOLDER", help="8-bit RGB images"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="where the masks go")
    parser.add_argument(
        "--overlay", action="store_true", help="also draw outlines and a legend over the image"
    )
    parser.add_argument("--probabilities", action="store_true", help="also write a 16-bit map per class")
    parser.add_argument("--overwrite", action="store_true", help="also predict images that have their files")
    parser.add_argument("--batch-size", type=int, metavar="N", help="windows per forward pass")
    parser.add_argument(
        "--window",
        type=int,
        nargs="+",
        metavar="PIXELS",
        help="SIDE, or HEIGHT WIDTH, of the windows that larger images are cut into; default: the canvas",
    )
    parser.add_argument(
        "--overlap", type=float, default=OVERLAP, help="share of a window, default %(default)s"
    )
    options, _ = cli.parse(parser, arguments)
    if options.window and (len(options.window) > 2 or min(options.window) < 16):
        parser.error("--window takes SIDE, or HEIGHT WIDTH, of at least 16 pixels")
    if not 0 <= options.overlap <= 0.5:
        parser.error("--overlap is a share of the window between 0 and 0.5")
    if options.batch_size is not None and options.batch_size < 1:
        parser.error("--batch-size is 1 or more")
    return options


if __name__ == "__main__":
    cli.run(main)
