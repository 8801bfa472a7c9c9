"""A network compiled by torch's inductor: weights frozen, channels last."""

from __future__ import annotations

import copy
import os
import shutil
import sysconfig
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from medseg.backends.batches import Network, in_batches_of
from medseg.backends.gap import BackendError
from medseg.backends.layout import channels_last, lay_out
from medseg.backends.precision import Precision, autocast, cpu_has_bf16


def compiler_gap() -> tuple[str, str] | None:
    """What inductor lacks to compile for a CPU, and its cure; None where all is there."""
    names = [os.environ["CXX"]] if os.environ.get("CXX") else ["g++", "clang++", "cl"]
    if not any(map(shutil.which, names)):
        return f"no C++ compiler ({', '.join(names)})", "install one, as `apt install g++`"
    header = Path(sysconfig.get_paths()["include"]) / "Python.h"
    if not header.is_file():
        return f"no {header}", "install Python's headers, as `apt install python3-dev`"
    return None


def compiled(
    network: nn.Module, shape: Sequence[int], precision: Precision, device: torch.device, cache: Path | None
) -> Network:
    """(B, C, *S) -> (B, K, *S) on the device; compiled here, for the given shape, which takes from seconds to minutes.

    shape: (B, C, *S) of the windows; other batches are split or filled up to it.
    cache: what the compiler made of each piece of C++ or Triton is kept in its folder `inductor`.
    Raises: BackendError where the compiler is missing or the CPU does not compute in the precision.
    """
    if device.type not in ("cpu", "cuda"):
        raise BackendError(f"--backend compile: is for CPUs and CUDA, not for {device.type}; give --backend eager")
    gap = compiler_gap()
    if gap is not None:
        raise BackendError(f"--backend compile: {gap[0]}; {gap[1]}")
    if device.type == "cpu" and precision == "bf16" and not cpu_has_bf16():
        raise BackendError("--backend compile: this CPU has no bf16; give --precision fp32, or --backend eager")
    if cache is not None:
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache / "inductor"))
    layout = channels_last(network)
    own = lay_out(copy.deepcopy(network).to(device).eval(), layout)
    # Graphs are not kept, only object code: kept graphs would be unpickled.
    options: dict[str, str | int | bool | Callable[..., Any]] = {"freezing": True, "fx_graph_cache": False}
    program = torch.compile(own, dynamic=False, options=options)

    def run(windows: Tensor) -> Tensor:
        # A tensor of its own, whatever mode the windows were made in: the program was compiled for this kind.
        with torch.inference_mode(False), torch.no_grad(), warnings.catch_warnings(), autocast(device, precision):
            warnings.simplefilter("ignore")  # the compiler's about its own insides
            given = torch.empty(windows.shape, device=device, memory_format=layout)
            given.copy_(windows)
            return program(given).contiguous()

    run(torch.zeros(*shape))
    return in_batches_of(shape[0], run)
