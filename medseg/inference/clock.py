"""Where the time of a case goes: reading, preprocessing, network, stitching, resampling, writing."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from medseg.windows import Network, Slab


class Clock:
    """Seconds by part, added up; one thread at a time."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._passes: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    def add(self, part: str, seconds: float) -> None:
        """More time of a part."""
        self._seconds[part] = self._seconds.get(part, 0.0) + seconds

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """The block's time is that part's."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - started)

    def network(self, run: Network, device: torch.device) -> Network:
        """The network, its passes timed; on CUDA by the GPU's own events, which hold nothing up."""

        def on_cuda(windows: Tensor) -> Tensor:
            start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            logits = run(windows)
            stop.record()
            self._passes.append((start, stop))
            return logits

        def timed(windows: Tensor) -> Tensor:
            with self.part("network"):
                return run(windows)

        return on_cuda if device.type == "cuda" else timed

    def slabs(self, slabs: Iterable[Slab]) -> Iterator[Slab]:
        """The slabs as they come; the time that making them takes is that of the network and of stitching."""
        coming = iter(slabs)
        while True:
            with self.part("slabs"):
                slab = next(coming, None)
            if slab is None:
                return
            yield slab

    def seconds(self) -> dict[str, float]:
        """By part, to the millisecond; "stitch" and "resample" are what of slabs and labels was not the network."""
        parts = dict(self._seconds)
        for start, stop in self._passes:
            stop.synchronize()
            parts["network"] = parts.get("network", 0.0) + start.elapsed_time(stop) / 1000
        slabs, labels = parts.pop("slabs", 0.0), parts.pop("labels", 0.0)
        if slabs:
            parts["stitch"] = max(slabs - parts.get("network", 0.0), 0.0)
            parts["resample"] = max(labels - slabs, 0.0)
        order = ("read", "localise", "preprocess", "network", "stitch", "resample", "measure", "write")
        return {name: round(parts[name], 4) for name in order if name in parts}
