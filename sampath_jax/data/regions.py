"""Annotated regions as people download them: BCSS, CRAG, or any folder of images and masks."""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from sampath_jax.data.layouts import files_by_name
from sampath_jax.data.problems import Problems
from sampath_jax.data.tile import BARCODE, slide_of
from sampath_jax.errors import InputError

#: Official BCSS test slides: institutes, the second field of the TCGA barcode (Amgad et al. 2019).
BCSS_TEST_INSTITUTES = ("OL", "LL", "E2", "EW", "GM", "S3")
#: Folders of the BCSS download; the colour-normalised images are what it offers first.
BCSS_IMAGES, BCSS_MASKS = ("rgbs_colornormalized", "rgbs", "images", "img"), ("masks", "mask")
CRAG_IMAGES, CRAG_MASKS = ("images",), ("annotation", "annotations")
FOLDER_IMAGES, FOLDER_MASKS = ("images", "img"), ("masks", "mask")
#: Names of CRAG images; test_# are the official test set.
CRAG_NAME = re.compile(r"(train|test)_\d+")


@dataclass(frozen=True)
class Region:
    """An annotated image of any size. `fold` is given for official test sets (-1) and splits, else None."""

    id: str
    image: Path
    mask: Path
    slide: str
    fold: int | None


@dataclass(frozen=True)
class RawDataset:
    """How a data set is downloaded, and how it becomes tiles."""

    name: str
    find: Callable[[Path, Problems], list[Region]]
    tile: int  # side of the tiles; 0 keeps regions whole
    instances: bool  # masks number the objects of a single class
    unlabelled: int | None  # raw value beyond the border of a region; None: must be asked for
    mpp: float  # micrometres per pixel; 0 = unknown
    about: str  # one sentence for the dataset card


@dataclass(frozen=True)
class Settings:
    """What the user decides about a preparation."""

    tile: int  # side in pixels; 0 keeps regions whole
    count_folds: int = 5
    seed: int = 0
    folds: Path | None = None  # a table of published folds, in place of drawn ones
    jpeg: int = 0  # quality of stored images; 0 stores PNG, without loss
    mpp: float = 0.0  # micrometres per pixel, for the card
    unlabelled: int | None = None  # raw value beyond the border of a region smaller than a tile

    def __post_init__(self) -> None:
        for name, value, allowed, text in (
            ("--tile", self.tile, self.tile == 0 or self.tile >= 16, "0, or at least 16"),
            ("--count-folds", self.count_folds, self.count_folds >= 1, "at least 1"),
            ("--seed", self.seed, self.seed >= 0, "0 or more"),
            ("--jpeg", self.jpeg, 0 <= self.jpeg <= 100, "0 to 100"),
            ("--mpp", self.mpp, self.mpp >= 0, "0 (unknown) or more"),
            ("--unlabelled", self.unlabelled, 0 <= (self.unlabelled or 0) <= 255, "0 to 255"),
        ):
            if not allowed:
                raise InputError(f"{name} is {value}, but must be {text}")


def find_bcss(source: Path, problems: Problems) -> list[Region]:
    """Regions ``TCGA-..._xmin#_ymin#_MPP-0.2500.png``; those of test institutes get fold -1."""
    regions = []
    for name, image, mask in _pairs(source, BCSS_IMAGES, BCSS_MASKS, problems):
        if BARCODE.match(name):
            slide = slide_of(name)
            fold = -1 if slide.split("-")[1] in BCSS_TEST_INSTITUTES else None
            regions.append(Region(name, image, mask, slide, fold))
        else:
            problems.add("no TCGA barcode in the name", image.name, "restore the downloaded name")
    return regions


def find_crag(source: Path, problems: Problems) -> list[Region]:
    """Images ``train_#.png`` and ``test_#.png``, each its own slide; test images get fold -1."""
    regions = []
    for name, image, mask in _pairs(source, CRAG_IMAGES, CRAG_MASKS, problems):
        if CRAG_NAME.fullmatch(name):
            regions.append(Region(name, image, mask, name, -1 if name.startswith("test") else None))
        else:
            problems.add("neither train_# nor test_#", image.name, "restore the downloaded name")
    return regions


def find_folder(source: Path, problems: Problems) -> list[Region]:
    """Regions of ``images`` and ``masks``, directly in `source` or in its ``train``, ``val`` and ``test``.

    A given test split keeps fold -1. If ``val`` is given too, it is fold 0 and ``train`` fold 1; otherwise
    folds are drawn.
    """
    parts = [name for name in ("train", "val", "test") if (source / name).is_dir()]
    given = {"train": 1 if "val" in parts else None, "val": 0, "test": -1}
    if not parts:
        pairs = _pairs(source, FOLDER_IMAGES, FOLDER_MASKS, problems)
        return [Region(name, image, mask, slide_of(name), None) for name, image, mask in pairs]
    return [
        Region(f"{part}_{name}", image, mask, slide_of(f"{part}_{name}"), given[part])
        for part in parts
        for name, image, mask in _pairs(source / part, FOLDER_IMAGES, FOLDER_MASKS, problems)
    ]


BCSS = RawDataset(
    "bcss", find_bcss, 1024, False, 0, 0.25, "Breast cancer regions with 22 tissue codes (Amgad et al. 2019)."
)
CRAG = RawDataset(
    "crag",
    find_crag,
    0,
    True,
    255,
    0.5,
    "Colorectal glands (Graham et al. 2019): 0 background, 1 gland; `instances/` numbers the glands; at 20x.",
)
FOLDER = RawDataset("folder", find_folder, 1024, False, None, 0.0, "Annotated images of a folder.")


def _pairs(
    source: Path, image_folders: Collection[str], mask_folders: Collection[str], problems: Problems
) -> list[tuple[str, Path, Path]]:
    """(name, image, mask) of all images under `source`, sorted by name."""
    images = _collect(source, image_folders, problems)
    masks = _collect(source, mask_folders, problems)
    for name in sorted(images.keys() - masks.keys()) if masks else ():
        problems.add("image without mask", images[name].name, "add the mask, or remove the image")
    for name in sorted(masks.keys() - images.keys()) if images else ():
        problems.add("mask without image", masks[name].name, "add the image, or remove the mask")
    return [(name, images[name], masks[name]) for name in sorted(images.keys() & masks.keys())]


def _collect(source: Path, names: Collection[str], problems: Problems) -> dict[str, Path]:
    """Image files of all folders under `source` called the first of `names` (in any case) that is there."""
    folders = [path for path in (source, *sorted(source.rglob("*"))) if path.is_dir()]
    for wanted in names:
        found = [folder for folder in folders if folder.name.lower() == wanted]
        if found:
            files: dict[str, Path] = {}
            for folder in found:
                for name, path in files_by_name(folder, problems).items():
                    if name in files:
                        problems.add("duplicate id", f"{files[name]}, {path}", "keep one of them")
                    files[name] = path
            return files
    problems.add("folder missing", f"{source}: {' or '.join(names)}", "check --source and the folder names")
    return {}
