"""One training on several processes: their sums, and what all of them must hold alike.

Ignite says who is who; on one process alone everything here is the identity.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, TypeVar

import ignite.distributed as idist
import torch
import torch.distributed as dist
from torch import Tensor, nn

from medseg.domain.errors import MedsegError, ResourceError

T = TypeVar("T")


@contextmanager
def processes(backend: Literal["gloo", "nccl"] | None) -> Iterator[None]:
    """The processes that torchrun has started, as one group; None: this process alone.

    After an error the group is left as it is: the others may be gone, and the process ends.
    Raises: ResourceError if the processes do not find one another.
    """
    if backend is not None:
        os.environ.pop("SLURM_JOB_ID", None)  # torchrun has said who is who; Ignite would ask SLURM
        with _with_the_others():
            idist.initialize(backend)
    yield
    if backend is not None:
        idist.finalize()


def rank() -> int:
    """The number of this process, 0..count() - 1."""
    return int(idist.get_rank())


def count() -> int:
    """How many processes train together."""
    return int(idist.get_world_size())


def count_here() -> int:
    """How many of them run on this machine."""
    return int(idist.get_nproc_per_node())


def add_up(tensor: Tensor) -> Tensor:
    """The sum over all processes, in place."""
    if count() > 1:
        with _with_the_others():
            dist.all_reduce(tensor)
    return tensor


def add_up_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Every gradient becomes its sum over all processes; those that are None must be so everywhere."""
    if count() == 1:
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = add_up(torch.cat([gradient.flatten() for gradient in gradients]))
    for gradient, part in zip(gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


def gathered(value: T) -> list[T]:
    """The value of every process, in their order."""
    if count() == 1:
        return [value]
    with _with_the_others():
        values: list[list[T]] = idist.all_gather([value])  # in a list, as Ignite makes tensors of numbers
    return [value for (value,) in values]


def from_first(make: Callable[[], T]) -> T:
    """What `make` gives on the first process, which alone calls it; a refusal of it is raised by all."""
    if count() == 1:
        return make()
    answer: list[Any] = [_attempt(make) if rank() == 0 else None]
    with _with_the_others():
        dist.broadcast_object_list(answer)
    value, refusal = answer[0]
    if refusal is not None:
        raise refusal
    return value


@contextmanager
def agreed() -> Iterator[None]:
    """What one process is refused in this block, every process is refused at its end, in the same words.

    Within the block the processes must not wait for one another: one that is refused would not come.
    """
    refusal = None
    try:
        yield
    except MedsegError as error:
        refusal = error
    for one in gathered(refusal):
        if one is not None:
            raise one


def _attempt(make: Callable[[], T]) -> tuple[T | None, MedsegError | None]:
    try:
        return make(), None
    except MedsegError as error:
        return None, error


@contextmanager
def _with_the_others() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # what torch makes of a closed connection and of a time-out
        raise ResourceError(
            "another process of this training has ended or cannot be reached; the same command goes on from the "
            "newest checkpoint"
        ) from error
