"""How much memory is free: on an accelerator, or on the host within what its control group may use."""

from collections.abc import Iterator
from pathlib import Path

import jax

ROOT = Path("/")
#: Where each version of control groups keeps its limit and its use, in bytes.
CGROUP_V2 = (Path("sys/fs/cgroup"), "memory.max", "memory.current")
CGROUP_V1 = (Path("sys/fs/cgroup/memory"), "memory.limit_in_bytes", "memory.usage_in_bytes")


def free_bytes(device: jax.Device) -> int | None:
    """Free memory of an accelerator, or of the host for a CPU device; None where nobody tells."""
    if device.platform == "cpu":
        return host_free_bytes()
    stats = device.memory_stats()
    if not stats or "bytes_limit" not in stats:
        return None
    return stats["bytes_limit"] - stats.get("bytes_in_use", 0)


def host_free_bytes(root: Path = ROOT) -> int | None:
    """The least of what the machine has left and what each control group that this process is in allows.

    Args:
        root: of the file system.
    """
    meminfo = root / "proc/meminfo"
    if not meminfo.is_file():
        return None
    fields = dict(line.split(":") for line in meminfo.read_text().splitlines())
    return min(int(fields["MemAvailable"].split()[0]) * 1024, *_left_in_groups(root), 2**63)


def _left_in_groups(root: Path) -> Iterator[int]:
    """What each group leaves, from the process's own up to the outermost that is visible."""
    memberships = root / "proc/self/cgroup"
    for line in memberships.read_text().splitlines() if memberships.is_file() else ():
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        base, limit, used = CGROUP_V1 if controllers else CGROUP_V2
        own = Path(path.lstrip("/"))
        for group in (own, *own.parents):  # in a container, the outer ones are not there
            left = _left(root / base / group, limit, used)
            if left is not None:
                yield left


def _left(group: Path, limit: str, used: str) -> int | None:
    if not (group / limit).is_file() or not (group / used).is_file():
        return None
    allowed = (group / limit).read_text().strip()
    if allowed == "max":
        return None
    return max(0, int(allowed) - int((group / used).read_text()) + _reclaimable(group / "memory.stat"))


def _reclaimable(statistics: Path) -> int:
    """Bytes of files that were read and can be dropped: they count as used."""
    if not statistics.is_file():
        return 0
    fields = dict(line.split() for line in statistics.read_text().splitlines())
    return int(fields.get("total_inactive_file", fields.get("inactive_file", 0)))
