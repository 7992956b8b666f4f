"""The layouts of a data set: the published one (folders, a table of folds), split folders, prepared.

published   img/<img_id>.png  mask/<img_id>.png  cv.csv: img_id,fold
plain       train|val|test/images/<name>.png  train|val|test/masks/<name>.png
prepared    tiles.csv and a TFDS data set (prepared.py)
"""

import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from ml_collections import ConfigDict

from sampath_jax.data.problems import NAMES_SHOWN, Problems
from sampath_jax.data.tile import SPLITS, Tile, slide_of, split_of

#: File types read, by extension in lower case.
EXTENSIONS = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
#: Lists the tiles of a prepared data set; `prepared.Record` tells the columns.
PREPARED_TABLE = "tiles.csv"


def published(data: ConfigDict, problems: Problems) -> Iterator[Tile]:
    """Tiles of ``img/``, ``mask/`` and the table of folds, in the order of the table."""
    root = Path(data.root)
    images = files_by_name(root / "img", problems)
    masks = files_by_name(root / "mask", problems)
    folds = read_folds(root / data.csv, problems)
    for img_id, fold in folds:
        image, mask = images.get(img_id), masks.get(img_id)
        if image is None and images:
            problems.add("id without image", img_id, f"add the file to {root / 'img'}, or remove the row")
        if mask is None and masks:
            problems.add("id without mask", img_id, f"add the file to {root / 'mask'}, or remove the row")
        if image and mask:
            yield Tile(img_id, image, mask, split_of(fold, data.val_fold), slide_of(img_id), fold)
    unlisted = sorted(images.keys() - dict(folds).keys())
    if unlisted and folds:
        some = ", ".join(unlisted[:NAMES_SHOWN]) + ", ..." * (len(unlisted) > NAMES_SHOWN)
        problems.notes.append(
            f"{len(unlisted)} images in img/ are not in {data.csv} and are not used: {some}"
        )


def plain(data: ConfigDict, problems: Problems) -> Iterator[Tile]:
    """Tiles of the split folders, sorted by name; the test folder may be missing."""
    root = Path(data.root)
    if not root.is_dir():
        problems.add("folder missing", str(root), "correct config.data.root")
        return
    for split, fold in zip(SPLITS, (1, 0, -1), strict=True):
        if split == "test" and not (root / split).exists():
            continue
        images = files_by_name(root / split / "images", problems)
        masks = files_by_name(root / split / "masks", problems)
        for name in sorted(images.keys() | masks.keys()):
            if name not in masks:
                problems.add("image without mask", f"{split}/images/{images[name].name}", "add the mask")
            elif name not in images:
                problems.add("mask without image", f"{split}/masks/{masks[name].name}", "add the image")
            else:
                # Equal names in two splits are only counted together where they name a slide.
                slide = slide_of(name) if slide_of(name) != name else f"{split}/{name}"
                yield Tile(name, images[name], masks[name], split, slide, fold)


def prepared(data: ConfigDict, problems: Problems) -> Iterator[Tile]:
    """Tiles of a prepared data set, in the order they were cut."""
    root = Path(data.root)
    path = root / PREPARED_TABLE
    if not path.is_file():
        remedy = "config.data.root is the --output folder of `python -m sampath_jax.prepare`"
        problems.add("table missing", str(path), remedy)
        return
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        missing = {"id", "slide", "fold", "record"} - set(reader.fieldnames or ())
        if missing:
            problems.add(f"no column {', '.join(sorted(missing))}", str(path), "prepare the data set again")
            return
        for row in reader:
            fold = int(row["fold"])
            yield Tile(row["id"], root, root, split_of(fold, data.val_fold), row["slide"], fold)


def files_by_name(folder: Path, problems: Problems) -> dict[str, Path]:
    """Image files of `folder` by name without extension."""
    if not folder.is_dir():
        problems.add("folder missing", str(folder), "create it, or correct the path or the layout")
        return {}
    files = (path for path in folder.iterdir() if path.suffix.lower() in EXTENSIONS)
    paths = sorted(path for path in files if not path.name.startswith("."))  # ._ files of macOS
    if not paths:
        problems.add("empty folder", str(folder), f"it must hold {', '.join(EXTENSIONS)} files")
    for name, count in Counter(path.stem for path in paths).items():
        if count > 1:
            same = ", ".join(path.name for path in paths if path.stem == name)
            problems.add("several files for one id", f"{folder.name}/: {same}", "keep one of them")
    return {path.stem: path for path in paths}


def read_folds(path: Path, problems: Problems, column: str = "img_id") -> list[tuple[str, int]]:
    """Rows (`column`, fold) of a CSV file, each id once. A file extension in an id is dropped."""
    if not path.is_file():
        problems.add("table missing", str(path), "config.data.csv names a CSV file with columns img_id,fold")
        return []
    folds: dict[str, int] = {}
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, skipinitialspace=True)
        columns = [name.strip() for name in reader.fieldnames or []]
        reader.fieldnames = columns
        for name in (column, "fold"):
            if name not in columns:
                remedy = f"its first line names the columns; found: {', '.join(columns) or 'none'}"
                problems.add(f"no column {name!r}", str(path), remedy)
        if not {column, "fold"} <= set(columns):
            return []
        for row in reader:
            name, where = _stem((row[column] or "").strip()), f"{path.name}, line {reader.line_num}"
            fold = _whole(row["fold"] or "")
            if fold is None:
                problems.add("fold is no whole number", f"{where}: {row['fold']!r}", "-1 is test; 0, 1, ...")
            elif not name:
                problems.add(f"empty {column}", where, "fill it in, or remove the row")
            elif name in folds:
                problems.add("duplicate id", f"{where}: {name}", "keep one row per id")
            else:
                folds[name] = fold
    if not folds and not problems:
        problems.add("table without rows", str(path), "add one row per tile")
    return list(folds.items())


def _stem(img_id: str) -> str:
    """`img_id` without an image extension. Ids may hold other dots (``MPP-0.2500``)."""
    return img_id[: -len(Path(img_id).suffix)] if Path(img_id).suffix.lower() in EXTENSIONS else img_id


def _whole(text: str) -> int | None:
    """The whole number that `text` writes (pandas may write ``1.0``), or None."""
    try:
        value = float(text)
    except ValueError:
        return None
    return int(value) if value.is_integer() else None
