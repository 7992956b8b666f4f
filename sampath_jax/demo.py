"""Everything once, in minutes and without downloads: `make demo`, or `python -m sampath_jax.demo`."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from ml_collections import ConfigDict

from sampath_jax import cli, console
from sampath_jax.config import override

#: Synthetic tiles: two thirds train, a sixth validates, a sixth is held out.
TILES = 288
SIZE = 256


def main(arguments: Sequence[str]) -> int:
    """Draws synthetic tissue, trains a head on tiny frozen encoders, scores it on held-out tiles, reports."""
    parser = argparse.ArgumentParser(prog="python -m sampath_jax.demo", description=main.__doc__)
    parser.add_argument("--output", type=Path, default=Path("runs/demo"), metavar="DIR")
    parser.add_argument("--tiles", type=int, default=TILES, metavar="N", help="how many tiles to draw")
    parser.set_defaults(config=Path(__file__).parents[1] / "configs" / "demo.py")
    options, config = cli.parse(parser, arguments)
    assert config is not None
    data, workdir = options.output / "data", options.output / "run"
    config = override(config, [f"config.data.root={data}"])

    from sampath_jax.data.synthetic import write_dataset
    from sampath_jax.evaluation.evaluate_split import evaluate_split
    from sampath_jax.evaluation.tables import print_results
    from sampath_jax.reporting.write import report_after
    from sampath_jax.training.loop import train

    console.out.print(f"Drawing {options.tiles} tiles of {SIZE}x{SIZE} pixels in {data}", soft_wrap=True)
    write_dataset(data, options.tiles, SIZE)
    outcome = train(config, workdir)
    if outcome.exit_status:
        return outcome.exit_status
    results = evaluate_split(workdir, "test")
    print_results(results)
    report_after(workdir, "test")
    before, after = _untrained_dice(config), float(results.scores.macro_dice)
    console.out.print(
        f"Mean Dice on the held-out tiles: {before:.4f} before training, [bold]{after:.4f}[/] after.\n"
        f"Pictures: {workdir / 'figures' / 'qualitative.png'}",
        soft_wrap=True,
    )
    return 0


def _untrained_dice(config: ConfigDict) -> float:
    """Mean Dice on the test tiles of the head that training starts from."""
    from sampath_jax.data.pipeline import evaluation_batches
    from sampath_jax.distributed import Placement, make_mesh
    from sampath_jax.evaluation.evaluator import Evaluator
    from sampath_jax.evaluation.metrics import Scores
    from sampath_jax.models.freezing import split_head
    from sampath_jax.weights import build_model

    placement = Placement(make_mesh(config.mesh))
    graphdef, head, frozen = split_head(build_model(config))
    (confusion,) = Evaluator(graphdef, config, placement).evaluate(
        [placement.put(head)], placement.put_frozen(frozen), evaluation_batches(config, "test")
    )
    names = [entry["name"] for entry in config.data.classes]
    return float(Scores.from_confusion(confusion.sum(0), names).macro_dice)


if __name__ == "__main__":
    cli.run(main)
