"""Reads every region of a raw data set once: what is wrong with it, and what its mask holds."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from rich.progress import track

from sampath_jax import console
from sampath_jax.data.inspect import inspect_image, inspect_mask
from sampath_jax.data.labels import LabelSpec
from sampath_jax.data.problems import Problems
from sampath_jax.data.regions import RawDataset, Region, Settings

#: Regions decoded at a time: each may take a gigabyte.
THREADS = 4


@dataclass(frozen=True)
class Survey:
    """What a region holds: its size (height, width) and the pixels of each raw value."""

    size: tuple[int, int]
    counts: Int[np.ndarray, "256"]


def survey_regions(
    dataset: RawDataset,
    regions: Sequence[Region],
    settings: Settings,
    spec: LabelSpec | None,
    problems: Problems,
) -> list[Survey]:
    """Surveys every region, in order; `problems` receives what keeps them from being prepared."""

    def look(region: Region) -> tuple[Survey, Problems]:
        found = Problems()
        survey = _survey(region, dataset.instances, found)
        _note_values(region, survey, spec, found)
        _note_small(region, survey, settings, found)
        return survey, found

    with ThreadPoolExecutor(THREADS) as pool:
        results = track(
            pool.map(look, regions), "Reading regions", len(regions), console=console.err, transient=True
        )
        surveys = []
        for survey, found in results:
            surveys.append(survey)
            problems.extend([found])
    return surveys


def _survey(region: Region, instances: bool, problems: Problems) -> Survey:
    size = inspect_image(region.image.read_bytes(), region.image.name, problems)
    mask = inspect_mask(region.mask.read_bytes(), region.mask.name, problems, instances=instances)
    if size is None or mask is None:
        return Survey((0, 0), np.zeros(256, np.int64))
    if size != mask.shape:
        where = f"{region.id}: image {size[1]}x{size[0]}, mask {mask.shape[1]}x{mask.shape[0]}"
        problems.add("image and mask differ in size", where, "get both again")
    return Survey(size, np.bincount(mask.ravel(), minlength=256))


def _note_values(region: Region, survey: Survey, spec: LabelSpec | None, problems: Problems) -> None:
    unknown = spec.unknown_values(np.flatnonzero(survey.counts)) if spec else ()
    if spec and unknown:
        where = f"{region.mask.name}: {', '.join(map(str, unknown))}"
        problems.add("mask with unknown values", where, f"known are {', '.join(map(str, spec.known))}")


def _note_small(region: Region, survey: Survey, settings: Settings, problems: Problems) -> None:
    if 0 < min(survey.size) < settings.tile and settings.unlabelled is None:
        where = f"{region.image.name}: {survey.size[1]}x{survey.size[0]}"
        remedy = "name a raw value for the rest of the tile, --unlabelled VALUE, or cut smaller ones, --tile"
        problems.add("region smaller than a tile", where, remedy)
