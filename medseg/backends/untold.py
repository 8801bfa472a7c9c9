"""OpenVINO without its telemetry."""

from __future__ import annotations

import sys


def keep_untold() -> None:
    """Before the first `import openvino`, which otherwise reports itself to its makers over the network.

    The package that would do so, `openvino_telemetry`, cannot be imported in this process from then on; OpenVINO
    goes on without it.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None: an ImportError
