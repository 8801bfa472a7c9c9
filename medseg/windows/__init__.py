"""Sliding windows as a stream of finished slabs: memory for one window's depth, not for the scan."""

from medseg.windows.need import stream_bytes
from medseg.windows.passes import Network
from medseg.windows.placement import WindowSpec, window_count, window_starts
from medseg.windows.stitch import Head, Slab
from medseg.windows.stream import collect, stream, stream_many
from medseg.windows.weights import window_weight

__all__ = [
    "Head",
    "Network",
    "Slab",
    "WindowSpec",
    "collect",
    "stream",
    "stream_bytes",
    "stream_many",
    "window_count",
    "window_starts",
    "window_weight",
]
