"""Prepared data sets: tiles as records of a TFDS data set (ArrayRecord), written and read without TensorFlow.

A prepared data set is a folder with

    README.md                 the dataset card
    tiles.csv                 one row per tile: id, slide, fold, and where its record is
    sources.sha256            checksums of the files it was made from
    <name>/1.0.0/             the TFDS data set: one split per fold (`fold_0`, ..., `test`)
    instances/                <tile id>.png: the numbered objects of each tile, where the source numbers them

Records hold encoded images, so that nothing has to decode them on the way. They are written one after the
other: TFDS's own generation sorts each split, beyond 1 GB in files that it opens through TensorFlow.
"""

import csv
import functools
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core.dataset_info import DatasetIdentity

from sampath_jax.data.layouts import PREPARED_TABLE
from sampath_jax.data.source import TileSource
from sampath_jax.data.tile import Tile
from sampath_jax.errors import InputError

VERSION = "1.0.0"
#: About 0.5 GB of PNG tiles of 1024x1024.
TILES_PER_FILE = 256


@dataclass(frozen=True)
class Record:
    """A row of the table of tiles."""

    id: str
    slide: str
    fold: int  # -1 is test
    record: int  # position in the fold's split
    region: str
    row: int
    column: int


def split_name(fold: int) -> str:
    """The TFDS split that holds a fold."""
    return "test" if fold < 0 else f"fold_{fold}"


class PreparedWriter:
    """Writes tiles to `root`, in any order of folds. Use it in a `with` block: the table comes last."""

    def __init__(self, root: Path, name: str, about: str, image_format: str, folds: Iterable[int]) -> None:
        folder = root / name / VERSION
        folder.mkdir(parents=True)
        identity = DatasetIdentity(
            name=name, version=tfds.core.Version(VERSION), data_dir=str(folder), module_name=__name__
        )
        info = tfds.core.DatasetInfo(
            builder=identity, features=features(image_format), description=about, disable_shuffling=True
        )
        self._root = root
        self._writer = tfds.core.SequentialWriter(info, TILES_PER_FILE, file_format="array_record")
        self._writer.initialize_splits([split_name(fold) for fold in sorted(folds)])
        self._written: list[Record] = []
        self._lengths: dict[int, int] = {}

    def add(self, tile: dict[str, Any], image: bytes, mask: bytes) -> None:
        """Appends a tile: the fields of its `Record` but ``record``, and its encoded image and mask (PNG)."""
        position = self._lengths.get(tile["fold"], 0)
        self._lengths[tile["fold"]] = position + 1
        record = Record(record=position, **tile)
        example = {**tile, "image": image, "mask": mask}
        self._writer.add_examples({split_name(record.fold): [example]})
        self._written.append(record)

    def __enter__(self) -> "PreparedWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close_all()
        if kind is None:
            with (self._root / PREPARED_TABLE).open("w", newline="") as file:
                table = csv.DictWriter(file, [field.name for field in fields(Record)])
                table.writeheader()
                table.writerows(asdict(record) for record in self._written)


class PreparedSource(TileSource):
    """Tiles in the records of a prepared data set."""

    def __init__(self, tiles: tuple[Tile, ...]) -> None:
        super().__init__(tiles)
        self._places = _places(tiles[0].image) if tiles else {}

    def encoded(self, i: int) -> tuple[bytes, bytes]:
        """Image and mask of tile `i` as PNG or JPEG bytes."""
        tile = self.tiles[i]
        split, record = self._places[tile.id]
        try:
            example = _open(tile.image, split)[record]
        except (OSError, ValueError, RuntimeError, LookupError) as error:  # a file cut short or not copied
            raise InputError(
                f"record {record} of {split} in {tile.image} ({tile.id}) cannot be read: {error}"
            ) from error
        return example["image"], example["mask"]


def features(image_format: str) -> tfds.features.FeaturesDict:
    """What a record holds; `image_format` is ``png`` or ``jpeg``."""
    return tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(None, None, 3), encoding_format=image_format),
            "mask": tfds.features.Image(shape=(None, None, 1), encoding_format="png"),
            "id": tfds.features.Text(),
            "slide": tfds.features.Text(),
            "region": tfds.features.Text(),
            "fold": np.int32,
            "row": np.int32,
            "column": np.int32,
        }
    )


def _places(root: Path) -> dict[str, tuple[str, int]]:
    with (root / PREPARED_TABLE).open(newline="") as file:
        return {row["id"]: (split_name(int(row["fold"])), int(row["record"])) for row in csv.DictReader(file)}


@functools.cache  # per process: open files do not travel to workers
def _open(root: Path, split: str) -> Any:
    """Random access to the records of a TFDS split, images left encoded."""
    folders = list(root.glob(f"*/{VERSION}/dataset_info.json"))
    if len(folders) != 1:
        raise InputError(f"{root} holds {len(folders)} prepared data sets; write each to a folder of its own")
    skip = tfds.decode.SkipDecoding()
    builder = tfds.builder_from_directory(folders[0].parent)
    return builder.as_data_source(split=split, decoders={"image": skip, "mask": skip})
