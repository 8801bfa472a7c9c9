"""Images on their way to a network, as MONAI's transforms say."""

from __future__ import annotations

from typing import Any

__all__ = ["Reader"]


def __getattr__(name: str) -> Any:
    """`Reader`, which configs name; imported when it is used, for it brings MONAI along."""
    if name != "Reader":
        raise AttributeError(f"module 'medseg.data' has no attribute {name!r}")
    from medseg.data.reader import Reader

    return Reader
