"""What was measured in one case, ready for JSON and for a person."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from medseg.domain.spec import to_plain
from medseg.domain.words import counted


@dataclass(frozen=True)
class Measure:
    """One label (or all instances of one) in one region.

    volume_ml:     None for pictures and for images of unknown pixel size.
    area_mm2:      pictures of known pixel size.
    instances:     how many, for instance bundles.
    centroid_ras_mm: centre of gravity, None where the label is absent and for images of unknown pixel size.
    touches_border: the label reaches the edge of the image or the box, so it may be cut off.
    """

    label: str
    value: int
    voxels: int
    volume_ml: float | None = None
    area_mm2: float | None = None
    instances: int | None = None
    centroid_ras_mm: tuple[float, ...] | None = None
    mean_intensity: float | None = None
    touches_border: bool = False
    region: str | None = None


@dataclass(frozen=True)
class Quality:
    """How well several answers to one image agree, and what that foretells.

    agreement:     mean Dice of the answers with each other, of the worst region.
    expected_dice: what cases of such agreement had; None where the bundle was not measured for it.
    review:        the mask is expected to be poor: look at it; None likewise.
    """

    agreement: float
    expected_dice: float | None
    review: bool | None


@dataclass(frozen=True)
class BackendChoice:
    """What ran the network, why, and what the choice followed from; by backend, as measured when it was first tried.

    precision:     of the network.
    windows:       how many were expected.
    window_s:      seconds for one window.
    start_s:       seconds until its first answer.
    agreement:     share of a window's voxels that got the label of torch in fp32.
    gaps:          why others could not be used.
    """

    name: str
    precision: str
    reason: str
    windows: int = 1
    window_s: dict[str, float] = field(default_factory=dict)
    start_s: dict[str, float] = field(default_factory=dict)
    agreement: dict[str, float] = field(default_factory=dict)
    gaps: dict[str, str] = field(default_factory=dict)

    def in_words(self) -> str:
        """As one line.

        >>> choice = BackendChoice("openvino", "fp32", "the least time for so many", 120,
        ...                        {"eager": 0.4, "openvino": 0.2}, {"eager": 0.4, "openvino": 3.0}, {"openvino": 1.0})
        >>> choice.in_words()
        'backend openvino, fp32, 120 windows: the least time for so many (eager 0.4 s, openvino 0.2 s a window)'
        """
        measured = ", ".join(f"{name} {seconds:.3g} s" for name, seconds in self.window_s.items())
        numbers = f" ({measured} a window)" if measured else ""
        count = counted(self.windows, "window")
        return f"backend {self.name}, {self.precision}, {count}: {self.reason}{numbers}"


@dataclass(frozen=True)
class Report:
    """One segmented case: what was found, by what, how.

    source: the image as it was named; empty where it came as values.
    spacing_mm: None where the image does not tell.
    seconds: by part, see `Clock`; "segment" is from the first window to the last measure. Told, and kept in no file:
        the same case gives the same bytes.
    """

    case: str
    bundle: str
    bundle_version: str
    medseg_version: str
    shape_ijk: tuple[int, ...]
    spacing_mm: tuple[float, ...] | None
    device: str
    precision: str
    windows: int
    seconds: dict[str, float]
    measures: tuple[Measure, ...]
    outputs: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    source: str = ""
    quality: Quality | None = None
    backend: BackendChoice | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for `--json`."""
        plain: dict[str, Any] = to_plain(self)
        return plain
