"""The benchmark's table and its JSON."""

import dataclasses
import datetime
import importlib.metadata
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sampath_jax import console
from sampath_jax.benchmarking.runner import Measurement
from sampath_jax.benchmarking.work import NAMES, OURS, PEAK, SUBJECTS, TORCH

#: Libraries whose version matters to a timing.
LIBRARIES = ("jax", "jaxlib", "flax", "numpy", "torch")

#: Best time per repetition; compilation the first time and with a filled cache; time as a multiple of ours.
COLUMNS = ("by", "s", "tiles/s", "TFLOP/s", "of peak", "MB", "compile s", "times ours")


def peaks(measurements: Sequence[Measurement]) -> dict[str, float]:
    """The best rate of matrix products by contestant, in FLOP/s."""
    return {m.contestant: max(m.rates) for m in measurements if m.subject == PEAK}


def print_tables(measurements: Sequence[Measurement]) -> None:
    """A table per subject and batch size, with the ratio to our time."""
    peak = peaks(measurements)
    for contestant, rate in peak.items():
        console.out.print(f"Matrix products by {NAMES[contestant]}: {rate / 1e9:,.0f} GFLOP/s")
    groups: dict[tuple[str, int], list[Measurement]] = {}
    for measurement in measurements:
        if measurement.subject != PEAK:
            groups.setdefault((measurement.subject, measurement.batch), []).append(measurement)
    for (subject, batch), group in groups.items():
        rows = [_row(m, peak.get(OURS), group[0]) for m in group]
        console.table(f"{subject}, batch {batch}: {SUBJECTS[subject]}", COLUMNS, rows)
    if any(m.contestant in TORCH for m in measurements):
        console.out.print(
            "torch (a): as the original runs it; torch (b): fused attention, torch.compile, batched decoder"
        )


def _row(m: Measurement, peak: float | None, ours: Measurement) -> tuple[str, ...]:
    rate = m.flops / m.best
    compiling = f"{m.compile_seconds:.1f}" if m.compile_seconds else "-"
    if m.again_seconds is not None:
        compiling += f", {m.again_seconds:.1f}"
    used = m.device_bytes if m.device_bytes is not None else m.host_bytes
    return (
        NAMES[m.contestant],
        f"{m.best:.3f}",
        f"{m.tiles / m.best:.3g}",
        f"{rate / 1e12:.3f}" if m.flops else "-",
        f"{rate / peak:.0%}" if m.flops and peak else "-",
        f"{used / 1e6:,.0f}" if used else "-",
        compiling,
        f"{m.best / ours.best:.2f}",
    )


def to_json(measurements: Sequence[Measurement], config: dict[str, Any], command: str) -> dict[str, Any]:
    """Everything that was measured, and on what."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": command,
        "machine": machine(),
        "versions": versions(),
        "subjects": SUBJECTS,
        "peak_flops_per_second": peaks(measurements),
        "config": config,
        "measurements": [dataclasses.asdict(m) for m in measurements],
    }


def machine() -> dict[str, Any]:
    """Processor, cores, memory, accelerators."""
    import jax

    names = [
        line.partition(":")[2].strip()
        for line in _lines(Path("/proc/cpuinfo"))
        if line.startswith("model name")
    ]
    kilobytes = [line.split()[1] for line in _lines(Path("/proc/meminfo")) if line.startswith("MemTotal")]
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(int(kilobytes[0]) / 1e6, 1) if kilobytes else None,
        "system": platform.platform(),
        "devices": [device.device_kind for device in jax.devices()],
    }


def versions() -> dict[str, str]:
    """Of Python and the libraries at hand."""
    found = {"python": platform.python_version()}
    for library in LIBRARIES:
        try:
            found[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []
