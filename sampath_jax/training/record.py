"""What a run was started with, kept beside its metrics in ``run.json`` for whoever reads the results.

    data      the checked data set: see `data_facts`
    starts    one entry per start, the last may have resumed the first: time, command, devices, versions

It is a record only: nothing reads it to decide anything.
"""

import json
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax

from sampath_jax.cli import command_line
from sampath_jax.data.checks import DatasetReport
from sampath_jax.data.tile import SPLITS
from sampath_jax.distributed import Placement
from sampath_jax.workdir import explain_os_errors, write_atomically

FILE = "run.json"
#: Libraries that can change a number.
LIBRARIES = ("sampath-jax", "jax", "jaxlib", "flax", "optax", "grain", "numpy", "opencv-python-headless")


def record_start(path: Path, report: DatasetReport, placement: Placement) -> None:
    """Adds this start to ``<path>/run.json``.

    Raises:
        InputError: a full disk, a missing permission.
    """
    devices = placement.mesh.devices.flatten()
    start = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command_line(),
        "devices": f"{len(devices)} x {devices[0].device_kind}",
        "processes": placement.process_count,
        "versions": versions(),
    }
    _add_start(path, start, {"data": data_facts(report)})


def copy_start(source: Path, target: Path, *, with_data: bool) -> None:
    """Adds the latest start of the sweep in `source` to the record of one of its heads, in `target`.

    Args:
        source: folder of the sweep.
        target: folder of the head.
        with_data: the facts about the data too, which a head with another validation fold does not share.

    Raises:
        InputError: a full disk, a missing permission.
    """
    record = read_record(source)
    _add_start(target, record["starts"][-1], {"data": record["data"]} if with_data else {})


def _add_start(path: Path, start: dict[str, Any], data: dict[str, Any]) -> None:
    content = {**data, "starts": [*read_record(path).get("starts", []), start]}
    with explain_os_errors(path):
        write_atomically(path / FILE, json.dumps(content, indent=2) + "\n")


def read_record(path: Path) -> dict[str, Any]:
    """What `record_start` wrote; empty for a run that has none, such as a converted checkpoint."""
    file = path / FILE
    return json.loads(file.read_text()) if file.is_file() else {}


def versions() -> dict[str, str]:
    """Python's version and those of the libraries that decide numbers, with the backend of JAX."""
    found = {name: version(name) for name in LIBRARIES}
    return {"python": sys.version.split()[0], **found, "backend": jax.default_backend()}


def data_facts(report: DatasetReport) -> dict[str, Any]:
    """Tiles and slides of each split, the sizes of the tiles, warnings, and shares of pixels per label.

    ``splits.<name>.shares`` has the share of label 0 (unlabelled) first, then those of labels 1..k.
    """
    splits = {}
    for name in SPLITS:
        tiles = report.index.split(name)
        splits[name] = {
            "tiles": len(tiles),
            "slides": len({tile.slide for tile in tiles}),
            "shares": [round(float(share), 6) for share in report.shares(name)],
        }
    return {
        "splits": splits,
        "sizes": [list(size) for size in report.sizes],
        "warnings": list(report.warnings),
    }
