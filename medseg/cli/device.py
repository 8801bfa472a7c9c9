"""The asked-for device, or a refusal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medseg.domain.errors import ResourceError, UsageError

if TYPE_CHECKING:
    import torch


def choose_device(name: str, threads: int | None = None) -> torch.device:
    """ "auto" is the first CUDA device, or the CPU where there is none.

    Raises: UsageError for a name that is none, ResourceError for a device that is not there.
    """
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"--device {name}: not a device; give auto, cpu, cuda, cuda:N or mps") from error
    there = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if (device.index or 0) >= there.get(device.type, 0):
        raise ResourceError(f"--device {name}: there is no such device here; leave the option out or give cpu")
    return device
