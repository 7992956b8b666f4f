"""A tile: its files, its split, its slide."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

#: The splits of every data set.
SPLITS = ("train", "val", "test")

#: TCGA barcode up to the slide, e.g. TCGA-A1-A0SK-DX1 or TCGA-A1-A0SK-01Z-00-DX1, as file names carry it.
BARCODE = re.compile(r"TCGA-[A-Z0-9]{2}-[A-Z0-9]{4}(?:-[A-Z0-9]+)*")


@dataclass(frozen=True)
class Tile:
    """One annotated tile. In a prepared data set `image` and `mask` are both the folder of the records."""

    id: str
    image: Path
    mask: Path
    split: str  # train | val | test
    slide: str  # tiles of one slide look alike and must not be split
    fold: int  # -1 for test

    @property
    def image_name(self) -> str:
        """What messages call the image: its folder and file, or the tile's id where records have no names."""
        return self.id if self.image == self.mask else f"{self.image.parent.name}/{self.image.name}"

    @property
    def mask_name(self) -> str:
        """What messages call the mask, likewise."""
        return self.id if self.image == self.mask else f"{self.mask.parent.name}/{self.mask.name}"


def slide_of(name: str) -> str:
    """The slide that a tile comes from: the TCGA barcode in its name, else the name itself.

    >>> slide_of("TCGA-A1-A0SK-DX1_xmin45749_ymin25055_MPP-0.2500_0_2")
    'TCGA-A1-A0SK-DX1'
    """
    match = BARCODE.search(name)
    return match.group() if match else name


def split_of(fold: int, val_fold: int) -> str:
    """Fold -1 (any negative one) is the test split, `val_fold` validates, all others train."""
    if fold < 0:
        return "test"
    return "val" if fold == val_fold else "train"


def shared_slides(tiles: Iterable[Tile]) -> dict[str, tuple[str, ...]]:
    """Slides whose tiles lie in more than one split, each with its splits."""
    splits: dict[str, set[str]] = {}
    for tile in tiles:
        splits.setdefault(tile.slide, set()).add(tile.split)
    return {
        slide: tuple(name for name in SPLITS if name in found)
        for slide, found in sorted(splits.items())
        if len(found) > 1
    }
