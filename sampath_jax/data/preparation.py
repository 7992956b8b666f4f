"""Raw data sets to prepared ones: survey every region, give each tile a fold, cut and write.

Two passes over the regions, because the folds depend on what all masks hold.
"""

import shutil
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt, UInt8
from rich.progress import track

from sampath_jax import console
from sampath_jax.data.card import Totals, write_card
from sampath_jax.data.decode import decode_image
from sampath_jax.data.folds import draw_folds
from sampath_jax.data.inspect import inspect_instances, inspect_mask
from sampath_jax.data.labels import LabelSpec
from sampath_jax.data.layouts import read_folds
from sampath_jax.data.prepared import PreparedWriter
from sampath_jax.data.problems import Problems
from sampath_jax.data.regions import RawDataset, Region, Settings
from sampath_jax.data.survey import Survey, survey_regions
from sampath_jax.data.tiling import Piece, cut, grid_shape
from sampath_jax.errors import InputError

#: Folder of the instance masks ``<tile id>.png``, where a data set numbers its objects.
INSTANCES = "instances"


def prepare(
    dataset: RawDataset, source: Path, output: Path, settings: Settings, spec: LabelSpec | None = None
) -> Totals:
    """Writes the prepared data set `output`, whole or not at all, with its dataset card.

    Args:
        dataset: how the source is laid out.
        source: the downloaded folder.
        output: the folder to write; it must not hold anything yet.
        settings: tile size, folds, formats.
        spec: classes to even out over the folds and to show in the card; None: each raw value by itself.

    Raises:
        InputError: with all problems of the source in one table; nothing is written then.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise InputError(f"{output} is not empty; choose another --output")
    if not source.is_dir():
        raise InputError(f"there is no folder {source}; correct --source")
    problems = Problems()
    regions = dataset.find(source, problems)
    surveys = survey_regions(dataset, regions, settings, spec, problems)
    problems.raise_if_any(f"{source} cannot be prepared")
    if settings.folds:
        folds = given_folds(regions, surveys, settings, problems)
        problems.raise_if_any(f"{settings.folds} does not fit {source}")
    else:
        folds = drawn_folds(regions, surveys, settings, spec)
    partial = output.with_name(output.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)  # of an interrupted run
    totals = _write_tiles(dataset, regions, folds, partial, settings)
    write_card(partial, dataset, source, regions, settings, spec, totals)
    if output.exists():
        output.rmdir()
    partial.rename(output)
    return totals


def given_folds(
    regions: Sequence[Region], surveys: Sequence[Survey], settings: Settings, problems: Problems
) -> dict[str, int]:
    """The fold of every tile from the table `settings.folds`, which lists tiles, regions or slides."""
    assert settings.folds is not None
    given = dict(read_folds(settings.folds, problems))
    folds = {}
    for region, survey in zip(regions, surveys, strict=True):
        for tile in _tiles(region, survey, settings.tile):
            known = [name for name in (tile, region.id, region.slide) if name in given]
            if known:
                folds[tile] = max(-1, given[known[0]])
            elif given:
                problems.add("tile without fold", tile, "list the tile, its region or its slide in --folds")
    return folds


def drawn_folds(
    regions: Sequence[Region], surveys: Sequence[Survey], settings: Settings, spec: LabelSpec | None
) -> dict[str, int]:
    """The fold of every tile: as the source gives it, else drawn per slide.

    Evened out are the pixels of each class (of each raw value, where no classes are known) and the tiles.
    """
    contents: dict[str, np.ndarray] = {}
    for region, survey in zip(regions, surveys, strict=True):
        if region.fold is None:
            pixels = spec.count(survey.counts)[1:] if spec else survey.counts
            content = np.append(pixels, len(_tiles(region, survey, settings.tile)))
            contents[region.slide] = contents.get(region.slide, 0) + content
    drawn = draw_folds(contents, settings.count_folds, settings.seed) if contents else {}
    return {
        tile: drawn[region.slide] if region.fold is None else region.fold
        for region, survey in zip(regions, surveys, strict=True)
        for tile in _tiles(region, survey, settings.tile)
    }


def _tiles(region: Region, survey: Survey, tile: int) -> list[str]:
    rows, columns = grid_shape(survey.size, tile)
    return [_tile_id(region, row, column, tile) for row in range(rows) for column in range(columns)]


def _tile_id(region: Region, row: int, column: int, tile: int) -> str:
    """``<region>_<row>_<column>``, as published; a region kept whole has its own name."""
    return f"{region.id}_{row}_{column}" if tile else region.id


def _write_tiles(
    dataset: RawDataset, regions: Sequence[Region], folds: dict[str, int], root: Path, settings: Settings
) -> Totals:
    totals = Totals()
    image_format = "jpeg" if settings.jpeg else "png"
    with (
        PreparedWriter(root, dataset.name, dataset.about, image_format, set(folds.values())) as writer,
        ThreadPoolExecutor() as pool,
    ):
        for region in track(regions, "Writing tiles", console=console.err, transient=True):
            image, mask, instances = _read(region, dataset.instances)
            pieces = list(cut(image, mask, settings.tile, settings.unlabelled or 0))
            encoded = pool.map(lambda piece: encode(piece.image, settings.jpeg), pieces)
            for piece, data in zip(pieces, encoded, strict=True):
                name = _tile_id(region, piece.row, piece.column, settings.tile)
                tile = {"id": name, "slide": region.slide, "fold": folds[name], "region": region.id}
                tile |= {"row": piece.row, "column": piece.column}
                writer.add(tile, data, encode(piece.mask))
                totals.add(folds[name], region.slide, piece.mask)
            if instances is not None:
                _write_instances(region, cut(image, instances, settings.tile, 0), root, settings.tile)
    return totals


def _write_instances(region: Region, pieces: Iterable[Piece], root: Path, tile: int) -> None:
    """The masks of `pieces`, which number objects, as the records of a data set cannot: they have 8 bits."""
    folder = root / INSTANCES
    folder.mkdir(exist_ok=True)
    for piece in pieces:
        (folder / f"{_tile_id(region, piece.row, piece.column, tile)}.png").write_bytes(encode(piece.mask))


def _read(
    region: Region, instances: bool
) -> tuple[UInt8[np.ndarray, "H W 3"], UInt8[np.ndarray, "H W"], UInt[np.ndarray, "H W"] | None]:
    """Image, mask of raw values and, if the file holds `instances`, the numbers of its objects."""
    image = decode_image(region.image.read_bytes(), str(region.image))
    look = inspect_instances if instances else inspect_mask
    values = look(region.mask.read_bytes(), region.mask.name, Problems())
    assert values is not None  # the survey read it
    return (image, (values > 0).astype(np.uint8), values) if instances else (image, values, None)


def encode(pixels: UInt[np.ndarray, "H W *c"], jpeg: int = 0) -> bytes:
    """An RGB image or a mask as PNG, or as JPEG of quality `jpeg`."""
    pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.ndim == 3 else pixels
    if jpeg:
        return cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, jpeg])[1].tobytes()
    return cv2.imencode(".png", pixels)[1].tobytes()
