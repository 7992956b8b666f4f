"""Memory that is free, given back to the system."""

import contextlib
import ctypes


def return_freed_memory() -> None:
    """Gives back what has been freed; glibc would keep it.

    Reading ViT-B's weights leaves about 200 MB behind, compiling its training step for CPU about 950 MB.
    """
    # another C library keeps less, or has no such function
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
