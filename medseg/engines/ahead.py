"""The next batch is made while the network learns from this one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

T = TypeVar("T")


@contextmanager
def one_ahead(make: Callable[[int], T], steps: int) -> Iterator[Callable[[int], T]]:
    """`make`, a function of the step 1..steps alone, whose next value a thread prepares after each call."""
    with ThreadPoolExecutor(1) as pool:
        coming: dict[int, Future[T]] = {}

        def get(step: int) -> T:
            value = (coming.pop(step, None) or pool.submit(make, step)).result()
            if step < steps:
                coming[step + 1] = pool.submit(make, step + 1)
            return value

        yield get


def has_idle_core(device: torch.device, processes_here: int) -> bool:
    """Whether this process's network leaves it a core: a GPU does, a CPU's if there are more cores than threads."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return device.type != "cpu" or cores > torch.get_num_threads() * processes_here
