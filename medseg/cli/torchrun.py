"""What `torchrun` says of this process: which of how many it is, and so which device is its own."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

from medseg.domain.errors import ResourceError, UsageError

if TYPE_CHECKING:
    import torch


def is_first_process() -> bool:
    """Whether this process speaks for all that torchrun has started; true without it."""
    return not _by_torchrun() or os.environ.get("RANK", "0") == "0"


def own_device(device: torch.device) -> tuple[torch.device, Literal["gloo", "nccl"] | None]:
    """The device of this process and the backend through which it meets the others; None if it is alone.

    Raises: UsageError for one device asked for by several processes, ResourceError if there are too few.
    """
    if not _by_torchrun() or int(os.environ["WORLD_SIZE"]) == 1:
        return device, None
    if device.type == "cpu":
        return device, "gloo"
    import torch

    if device.type != "cuda" or device.index is not None:
        raise UsageError(f"--device {device}: each process of torchrun takes a device of its own; give cuda or cpu")
    here, there = int(os.environ["LOCAL_WORLD_SIZE"]), torch.cuda.device_count()
    if here > there:
        raise ResourceError(f"torchrun --nproc-per-node {here}: this machine has {there} CUDA devices; start as many")
    return torch.device("cuda", int(os.environ["LOCAL_RANK"])), "nccl"


def _by_torchrun() -> bool:
    return "TORCHELASTIC_RUN_ID" in os.environ
