"""Memory that has been freed: kept for the next use, or given back to the system.

Both are settings of glibc; other C libraries have their own ways, and are left alone.
"""

import ctypes
import platform

#: glibc's numbers of its settings (malloc.h).
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8


def keep_freed_memory() -> None:
    """Lets what is freed serve the next allocation, for a process that needs as much again at every step.

    Otherwise each run of a program asks the system for its temporary memory anew, and waits for it page by
    page: a tenth of ViT-B's forward pass on a virtual machine, while that needed 420 MB. Threads that run
    already are not affected; call it first.
    """
    _glibc("mallopt", M_ARENA_MAX, 1)  # threads share what is kept
    _glibc("mallopt", M_MMAP_MAX, 0)  # large blocks come from the heap as well
    _glibc("mallopt", M_TRIM_THRESHOLD, -1)  # which never shrinks by itself


def return_freed_memory() -> None:
    """Gives back what has been freed; glibc would keep it.

    Reading ViT-B's weights leaves about 200 MB behind, compiling its training step for CPU about 950 MB.
    """
    _glibc("malloc_trim", 0)


def _glibc(function: str, *arguments: int) -> None:
    if platform.libc_ver()[0] == "glibc":
        getattr(ctypes.CDLL(None), function)(*arguments)
