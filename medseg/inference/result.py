"""What one case gives, and how a network can fail on it: numbers that are none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch

from medseg.domain.errors import MedsegError
from medseg.domain.labels import LabelMap
from medseg.domain.report import Report
from medseg.windows import Slab


class NotFiniteError(MedsegError):
    """The network computed NaN or infinity, in fp32 too: its weights or the input are broken."""

    exit_code = 5


@dataclass(frozen=True)
class Segmentation:
    """What one case gives."""

    label_map: LabelMap
    report: Report


class NotFinite(Exception):
    """Some logits are NaN or infinite; in fp32 they may not be."""


def finite(slabs: Iterable[Slab]) -> Iterator[Slab]:
    """The slabs as they come.

    Raises: NotFinite at the first that holds NaN or infinity.
    """
    for slab in slabs:
        if not torch.isfinite(slab.logits).all():
            raise NotFinite
        yield slab
        del slab  # before the next one is made
