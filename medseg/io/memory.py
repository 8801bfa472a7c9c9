"""How much memory there is, asked before much is taken."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from medseg.domain.errors import ResourceError

_CGROUPS = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"), Path("/sys/fs/cgroup/memory/memory.usage_in_bytes")),
)


def available_bytes() -> int | None:
    """What this process can still take without swapping, its own limits included; None where the system says nothing.

    The least of the memory the kernel calls available, what a container has left, and the address space left.
    """
    found = [value for value in (_of_the_machine(), _of_the_container(), _of_the_process()) if value is not None]
    return max(min(found), 0) if found else None


def require_memory(name: str, need_bytes: int, what: str, fix: str = "use a larger machine or cut the image") -> None:
    """Refuse work that would not fit.

    what: is to be held ("the image"), for the message.
    Raises: ResourceError with the need and what there is, in GiB.
    """
    there = available_bytes()
    if there is not None and need_bytes > there:
        raise ResourceError(
            f"{name}: {what} needs about {need_bytes / 2**30:.1f} GiB of memory, {there / 2**30:.1f} GiB are free; "
            + fix
        )


def _of_the_machine() -> int | None:
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None


def _of_the_container() -> int | None:
    left = []
    for limit, used in _CGROUPS:
        with suppress(OSError, ValueError):  # "max" is no number: no limit
            left.append(int(limit.read_text()) - int(used.read_text()))
    return min(left) if left else None


def _of_the_process() -> int | None:
    with suppress(ImportError, OSError, ValueError, IndexError):  # Windows has no resource module
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit != resource.RLIM_INFINITY:
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            return limit - pages * resource.getpagesize()
    return None
