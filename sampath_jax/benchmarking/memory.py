"""How much memory a process or its accelerator has used at most."""

from pathlib import Path

STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")


def reset_peak() -> None:
    """Starts counting anew, so that building a model does not count towards running it; Linux only."""
    if CLEAR.exists():
        CLEAR.write_text("5")


def peak_host_bytes() -> int | None:
    """Largest resident size of this process since `reset_peak`; None where the system does not tell.

    Not `getrusage`: its figure is carried over from the parent process.
    """
    if not STATUS.exists():
        return None
    fields = dict(line.split(":", 1) for line in STATUS.read_text().splitlines())
    return int(fields["VmHWM"].split()[0]) * 1024


def peak_device_bytes() -> int | None:
    """Largest use of the first device's own memory; None on CPU."""
    import jax  # not at the top: PyTorch's workers do not need it

    stats = jax.local_devices()[0].memory_stats() or {}
    return stats.get("peak_bytes_in_use")
