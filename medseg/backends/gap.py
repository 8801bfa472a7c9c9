"""Why a backend cannot run here."""

from __future__ import annotations

from medseg.domain.errors import UsageError


class BackendError(UsageError):
    """The backend is not installed, not for this device or precision, or does not run this network as eager does."""


def require_cpu(backend: str, device_type: str) -> None:
    """Raises: BackendError for another device."""
    if device_type != "cpu":
        raise BackendError(f"--backend {backend}: computes on CPUs; give --device cpu, or --backend eager or compile")
