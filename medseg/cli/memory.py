"""The process's memory: kept between the layers of a network, and its end told apart from a bug."""

from __future__ import annotations

import sys

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4


def keep_freed_memory() -> None:
    """Keep freed blocks in the process: glibc would hand them back to the kernel after every layer of a network.

    About twice the speed of a CPU network on glibc, same results; process-wide, so only commands do it.
    """
    if sys.platform != "linux":
        return
    import ctypes
    from contextlib import suppress

    with suppress(OSError, AttributeError):  # another C library than glibc
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_M_TOP_PAD, 256 << 20)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: Python's, a GPU's, or what torch's CPU allocator says in a plain RuntimeError."""
    names = {kind.__name__ for kind in type(error).__mro__}
    if names & {"MemoryError", "OutOfMemoryError"}:  # torch's by its name, so that `--help` needs no torch
        return True
    return "RuntimeError" in names and ("allocate memory" in str(error) or "out of memory" in str(error))
