"""What a compiled network depends on, as one digest."""

from __future__ import annotations

import hashlib
import inspect
import json
import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import nn

from medseg import __version__
from medseg.backends.precision import Precision

_PLAIN = (bool, int, float, str, tuple, type(None))


def network_digest(network: nn.Module) -> str:
    """Of the weights, the modules with their plain attributes, and the source files that say what modules compute."""
    digest = hashlib.sha256(repr(network).encode())
    sources: set[str] = set()
    for name, module in network.named_modules():
        plain = {key: value for key, value in sorted(vars(module).items()) if isinstance(value, _PLAIN)}
        digest.update(f"{name} {type(module).__qualname__} {plain}\n".encode())
        if not type(module).__module__.startswith("torch."):
            sources.add(inspect.getsourcefile(type(module)) or "")
    for name, value in network.state_dict().items():
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    for source in sorted(filter(None, sources)):
        digest.update(Path(source).read_bytes())
    return digest.hexdigest()


def entry_key(network: str, shape: Sequence[int], precision: Precision, device: torch.device) -> str:
    """64 hex digits: of a network's digest and everything else that what is kept of it depends on.

    shape: (B, C, *S) of the windows.
    """
    facts: dict[str, Any] = {
        "network": network,
        "shape": list(shape),
        "precision": precision,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
        "cpu": [cpu_name(), sorted(map(str, torch.cpu.get_capabilities().items()))],
        "versions": versions(),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def cpu_name() -> str:
    """As the system calls it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    found = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return found[0] if found else platform.machine()


def versions() -> dict[str, str | None]:
    """Of medseg and what may run networks; None for what is not installed."""
    found: dict[str, str | None] = {"medseg": __version__, "python": platform.python_version()}
    for name in ("torch", "openvino", "onnxruntime", "onnx", "onnxscript"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found
