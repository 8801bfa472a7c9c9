"""OpenVINO without its telemetry: importing it would tell its makers, through the network, that it was imported."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any, cast


def openvino() -> Any:
    """The package, with its telemetry absent for as long as this process lives.

    Raises: ImportError where it is not installed, or was imported with its telemetry before.
    """
    if "openvino" not in sys.modules:
        sys.modules["openvino_telemetry"] = cast(ModuleType, None)  # its own stub takes the place of what is not there
    elif sys.modules.get("openvino_telemetry") is not None:
        raise ImportError("openvino was imported before, with its telemetry")
    import openvino as package

    return package
