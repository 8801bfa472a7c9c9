"""In which numbers a network computes: a fixed rule of device and flag, never a race."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

from medseg.domain.errors import ResourceError

Precision = Literal["fp32", "bf16", "fp16"]
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware."""
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def choose_precision(wanted: str, device: torch.device) -> Precision:
    """For "auto" bf16 where the device computes in it; else fp16 on CUDA and fp32 on CPU.

    Raises: ResourceError for fp16 on a CPU, which has no fast way to compute in it.
    """
    if wanted == "fp16" and device.type == "cpu":
        raise ResourceError("precision fp16: CPUs do not compute in it; give bf16 or fp32")
    if wanted in ("fp32", "bf16", "fp16"):
        return wanted  # type: ignore[return-value]
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    return "bf16" if device.type == "cpu" and cpu_has_bf16() else "fp32"


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """Compute inside this block in the precision; weights and results stay float32."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=_DTYPES[precision])
