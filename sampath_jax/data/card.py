"""The card of a prepared data set: what is in it, and what it was made from."""

import hashlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

import sampath_jax
from sampath_jax.data.labels import LabelSpec
from sampath_jax.data.prepared import split_name
from sampath_jax.data.regions import RawDataset, Region, Settings

CARD, SOURCES = "README.md", "sources.sha256"


@dataclass
class Totals:
    """What was written, by fold."""

    tiles: dict[int, int] = field(default_factory=dict)
    slides: dict[int, set[str]] = field(default_factory=dict)
    counts: dict[int, np.ndarray] = field(default_factory=dict)  # pixels of each raw value
    sizes: set[tuple[int, int]] = field(default_factory=set)  # (height, width)

    def add(self, fold: int, slide: str, mask: UInt8[np.ndarray, "H W"]) -> None:
        """Counts a tile."""
        self.tiles[fold] = self.tiles.get(fold, 0) + 1
        self.slides.setdefault(fold, set()).add(slide)
        self.counts[fold] = self.counts.get(fold, 0) + np.bincount(mask.ravel(), minlength=256)
        self.sizes.add((mask.shape[0], mask.shape[1]))

    @property
    def folds(self) -> list[int]:
        """The folds in the order they are shown, test last."""
        return sorted(self.tiles, key=lambda fold: (fold < 0, fold))


def write_card(
    root: Path,
    dataset: RawDataset,
    source: Path,
    regions: Sequence[Region],
    settings: Settings,
    spec: LabelSpec | None,
    totals: Totals,
) -> None:
    """Writes ``README.md`` and the checksums of the source files to `root`."""
    files = [path for region in regions for path in (region.image, region.mask)]
    checksums = _checksums(source, files)
    (root / SOURCES).write_text(checksums)
    digest = hashlib.sha256(checksums.encode()).hexdigest()
    sizes = sorted(totals.sizes)
    facts = [
        ("tiles", f"{sum(totals.tiles.values()):,} from {len(regions):,} regions"),
        ("tile size", _range(f"{width}x{height}" for height, width in sizes) + " pixels (width x height)"),
        ("resolution", f"{settings.mpp:g} micrometres per pixel" if settings.mpp else "unknown"),
        ("images", f"JPEG, quality {settings.jpeg}" if settings.jpeg else "PNG, lossless"),
        ("folds", _folds_text(settings, regions)),
        ("sources", f"{len(files):,} files, sha256 of each in {SOURCES} (itself {digest})"),
        ("made with", f"sampath-jax {sampath_jax.__version__}"),
    ]
    text = [f"# {dataset.name}", "", dataset.about, "", *_table(("", ""), facts), "", "## Splits", ""]
    counts = [(split_name(f), f"{totals.tiles[f]:,}", f"{len(totals.slides[f]):,}") for f in totals.folds]
    text += [*_table(("split", "tiles", "slides"), counts), "", "## Share of pixels", ""]
    header = ("class", "raw values", *(split_name(fold) for fold in totals.folds))
    text += [*_table(header, _shares(spec, totals)), "", "## Use", "", *_use(settings)]
    (root / CARD).write_text("\n".join(text) + "\n")


def _shares(spec: LabelSpec | None, totals: Totals) -> list[tuple[str, ...]]:
    """Rows class, raw values, share of pixels per fold; without classes, one row per raw value."""
    if spec is None:
        found = np.flatnonzero(sum(totals.counts.values()))
        groups: list[tuple[str, tuple[int, ...]]] = [("", (int(value),)) for value in found]
    else:
        groups = [(c.name, c.values) for c in spec.classes] + [("no label", spec.ignored)]
    return [
        (name, ", ".join(map(str, values)), *(_share(totals.counts[fold], values) for fold in totals.folds))
        for name, values in groups
    ]


def _share(counts: np.ndarray, values: Iterable[int]) -> str:
    return f"{counts[list(values)].sum() / counts.sum():.2%}"


def _folds_text(settings: Settings, regions: Sequence[Region]) -> str:
    if settings.folds:
        return f"from {settings.folds.name}"
    if all(region.fold is not None for region in regions):
        return "as the source gives them"
    return f"{settings.count_folds}, drawn per slide (seed {settings.seed}); an official test set is kept"


def _use(settings: Settings) -> list[str]:
    lines = ["    c.data.layout, c.data.root = 'prepared', '<this folder>'"]
    if settings.tile and settings.unlabelled is not None:
        lines += [
            "",
            f"Beyond the border of a region the masks hold {settings.unlabelled}: ignore that value.",
        ]
    return lines


def _range(sizes: Iterable[str]) -> str:
    sizes = list(sizes)
    return sizes[0] if len(sizes) == 1 else f"{len(sizes)} sizes from {sizes[0]} to {sizes[-1]}"


def _checksums(source: Path, files: Sequence[Path]) -> str:
    def line(path: Path) -> str:
        with path.open("rb") as file:
            return f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {path.relative_to(source)}"

    with ThreadPoolExecutor() as pool:
        return "\n".join(pool.map(line, files)) + "\n"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows)]
