"""What the commands that convert share: arguments, the manifest, and the printed summary."""

import argparse
import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from convert.source import Source
from convert.table import Converted
from sampath_jax import console
from sampath_jax.errors import InputError
from sampath_jax.trees import unflatten
from sampath_jax.weights import write_weights


def parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """A parser with --input, --output and --overwrite."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--input", type=Path, required=True, metavar="FILE", help="what to convert")
    parser.add_argument("--output", type=Path, required=True, metavar="PATH", help="what to write")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output")
    return parser


def write(options: argparse.Namespace, converted: Converted, source: Source, model: str, size: str) -> None:
    """Writes the folder of weights that `options` name, and prints what is in it.

    Raises:
        InputError: the folder exists (without --overwrite), or cannot be written.
    """
    manifest = {"model": model, "size": size, **origin(source, converted)}
    write_weights(options.output, unflatten(converted.arrays), manifest, overwrite=options.overwrite)
    summarise(f"{model} {size} from {source.path.name} ({source.format})", converted, options.output)


def origin(source: Source, converted: Converted) -> dict[str, Any]:
    """Where converted parameters come from, for a manifest; counts are of the file's tensors."""
    return {
        "source": source.path.name,
        "source_sha256": source.sha256,
        "source_format": source.format,
        "source_tensors": converted.used,
        "unused_tensors": converted.unused,
    }


@contextlib.contextmanager
def replacing(output: Path, marker: str, *, overwrite: bool) -> Iterator[Path]:
    """A new folder that becomes `output` when the block ends well, and vanishes when it does not.

    Args:
        output: what to write.
        marker: a file that is in every folder which `overwrite` may replace.
        overwrite: replace an existing output.

    Raises:
        InputError: the output exists and may not be replaced, or cannot be written.
    """
    if output.exists() and not overwrite:
        raise InputError(f"{output} exists already and is kept; choose another folder or add --overwrite")
    if output.exists() and not (output / marker).is_file():
        raise InputError(f"{output} was not written by this command and is kept; choose another folder")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
    except OSError as error:
        raise InputError(f"cannot write {output}: {error.strerror}; choose another folder") from error
    try:
        (staging / "new").mkdir()
        yield staging / "new"
        _exchange(staging, output)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _exchange(staging: Path, output: Path) -> None:
    """Puts ``new`` of `staging` in the place of `output`, which goes to ``old``; failing that, it stays."""
    if output.exists():
        output.rename(staging / "old")
    try:
        (staging / "new").rename(output)
    except OSError:
        if (staging / "old").exists():
            (staging / "old").rename(output)
        raise


def summarise(title: str, converted: Converted, output: Path) -> None:
    """Prints a table: parameters of each part of the model, and tensors left out with the reason."""
    parts: dict[str, list[int]] = {}
    for path, array in converted.arrays.items():
        parts.setdefault(path.split("/")[0], []).append(array.size)
    rows: list[tuple[str, int, str]] = [
        (part, len(sizes), f"{sum(sizes):,} numbers") for part, sizes in parts.items()
    ]
    rows += [("not used", count, reason) for reason, count in converted.unused.items()]
    console.table(title, ("part", "parameters", "content"), rows)
    console.out.print(f"{converted.used:,} tensors used; written to {output}", soft_wrap=True)
