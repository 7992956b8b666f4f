"""Data sets for training: prepare downloaded ones, or check one before a long run.

python -m sampath_jax.prepare bcss   --source DIR --output DIR
python -m sampath_jax.prepare crag   --source DIR --output DIR
python -m sampath_jax.prepare folder --source DIR --output DIR --tile 1024
python -m sampath_jax.prepare check  --config configs/bcss.py [--preview FILE.png]
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2

from configs import labels
from sampath_jax import cli, console
from sampath_jax.data.card import CARD
from sampath_jax.data.checks import check_dataset, print_report
from sampath_jax.data.labels import LabelSpec
from sampath_jax.data.preparation import prepare
from sampath_jax.data.prepared import split_name
from sampath_jax.data.regions import BCSS, CRAG, FOLDER, RawDataset, Settings
from sampath_jax.errors import InputError

#: Sub-command -> data set, its ready classes (None: whatever the masks hold), and help.
DATASETS = {
    "bcss": (BCSS, labels.BCSS, "BCSS as downloaded: region images and masks with 22 codes"),
    "crag": (CRAG, labels.CRAG, "CRAG as downloaded: train_# and test_# images, instance masks"),
    "folder": (FOLDER, None, "any folder with images/ and masks/ (or train, val, test with these)"),
}


def main(arguments: Sequence[str]) -> None:
    """Prepares a data set for training, or checks one."""
    options, config = cli.parse(_parser(), arguments)
    if config is None:
        dataset, classes, _ = DATASETS[options.command]
        _prepare(dataset, LabelSpec.from_entries(*classes) if classes else None, options)
        return
    print_report(check_dataset(config), config.data.canvas)
    if options.preview:
        from sampath_jax.data.preview import preview  # the rest of this command needs no JAX

        picture = cv2.cvtColor(preview(config), cv2.COLOR_RGB2BGR)
        if not cv2.imwrite(str(options.preview), picture):
            raise InputError(f"{options.preview} cannot be written")
        console.out.print(f"Augmented training tiles: {options.preview}", soft_wrap=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sampath_jax.prepare", description=main.__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (dataset, _, text) in DATASETS.items():
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument(
            "--source", type=Path, required=True, metavar="DIR", help="the downloaded folder"
        )
        command.add_argument("--output", type=Path, required=True, metavar="DIR", help="a new folder")
        command.add_argument(
            "--tile", type=int, default=dataset.tile, help="side of the tiles in pixels; 0 keeps images whole"
        )
        command.add_argument("--count-folds", type=int, default=5, metavar="N", help="folds drawn per slide")
        command.add_argument("--seed", type=int, default=0, help="of the draw")
        command.add_argument(
            "--folds",
            type=Path,
            metavar="FILE.csv",
            help="published folds: img_id (tile, region or slide),fold",
        )
        command.add_argument(
            "--jpeg",
            type=int,
            default=0,
            metavar="QUALITY",
            help="store images as JPEG: smaller, not lossless",
        )
        command.add_argument("--mpp", type=float, default=dataset.mpp, help="micrometres per pixel")
        command.add_argument(
            "--unlabelled",
            type=int,
            default=dataset.unlabelled,
            metavar="VALUE",
            help="raw mask value for what lies beyond the border of an image smaller than a tile",
        )
    check = commands.add_parser("check", help="read every tile, show the label table and all problems")
    cli.add_config(check)
    check.add_argument("--preview", type=Path, metavar="FILE.png", help="draw augmented tiles with outlines")
    return parser


def _prepare(dataset: RawDataset, spec: LabelSpec | None, options: argparse.Namespace) -> None:
    settings = Settings(
        tile=options.tile,
        count_folds=options.count_folds,
        seed=options.seed,
        folds=options.folds,
        jpeg=options.jpeg,
        mpp=options.mpp,
        unlabelled=options.unlabelled,
    )
    totals = prepare(dataset, options.source, options.output, settings, spec)
    rows = [(split_name(fold), totals.tiles[fold], len(totals.slides[fold])) for fold in totals.folds]
    console.table(str(options.output), ("split", "tiles", "slides"), rows)
    message = f"The dataset card is {options.output / CARD}; train on it with"
    override = f"  --config.data.layout=prepared --config.data.root={options.output}"
    console.out.print(f"{message}\n{override}", soft_wrap=True)


if __name__ == "__main__":
    cli.run(main)
