"""The process's memory: kept between the layers of a network, and its end told apart from a bug."""

from __future__ import annotations

import errno
import sys

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4


def keep_freed_memory() -> None:
    """Keep freed blocks in the process: glibc would hand them back to the kernel after every layer of a network.

    About twice the speed of a CPU network on glibc, same results; process-wide, so only commands do it.
    """
    if can_keep_freed_memory():
        import ctypes

        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_M_TOP_PAD, 256 << 20)


def can_keep_freed_memory() -> bool:
    """Whether the C library is one that can be told to."""
    if sys.platform != "linux":
        return False
    import ctypes

    try:
        return hasattr(ctypes.CDLL(None), "mallopt") and hasattr(ctypes.CDLL(None), "gnu_get_libc_version")
    except OSError:
        return False


# What torch, the linker and glibc say in an error of another kind where memory, address space or threads ran out.
_WORDS = (
    *("allocate memory", "out of memory", "not enough memory", "unable to allocate", "bad_alloc"),
    *("failed to map segment", "can't start new thread", "cannot create thread", "resource temporarily unavailable"),
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: Python's, a GPU's, or what a library says in an error of another kind.

    An import that fails for lack of address space counts, also where another error was made of it.
    """
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        names = {kind.__name__ for kind in type(found).__mro__}
        if names & {"MemoryError", "OutOfMemoryError"}:  # torch's by its name, so that `--help` needs no torch
            return True
        if isinstance(found, OSError) and found.errno == errno.ENOMEM:
            return True
        if names & {"RuntimeError", "ImportError", "OSError"} and any(word in str(found).lower() for word in _WORDS):
            return True
        found = found.__cause__
    return False
