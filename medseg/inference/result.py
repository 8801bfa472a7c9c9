"""What one case gives, and how a network can fail on it."""

from __future__ import annotations

from dataclasses import dataclass

from medseg.domain.errors import MedsegError
from medseg.domain.labels import LabelMap
from medseg.domain.report import Report


class NotFiniteError(MedsegError):
    """The network computed NaN or infinity, in fp32 too: its weights or the input are broken."""

    exit_code = 5


@dataclass(frozen=True)
class Segmentation:
    """What one case gives."""

    label_map: LabelMap
    report: Report
