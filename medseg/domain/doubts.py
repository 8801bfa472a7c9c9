"""What the user decided about images that are refused without a word from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from medseg.domain.errors import UsageError


@dataclass(frozen=True)
class Doubts:
    """The answers to doubts about an input; the default answers none, so that every doubt is a refusal.

    series:     which series of a DICOM folder: its SeriesInstanceUID, SeriesNumber or place in `medseg dicom ls`.
    regrid:     uneven slices are resampled linearly to an even grid by their true positions.
    nan_fill:   the value that takes the place of NaN and infinity.
    affine:     which of a NIfTI's two affines counts where they differ.
    assume_ras: a NIfTI without any affine lies in RAS order, by its voxel sizes.
    assume_hu:  a CT without rescale tags holds Hounsfield units.
    volume:     which volume of a 4-D file, counted from 0.
    modality:   what the image is, whatever the file says ("CT", "MR").
    is_image:   a volume or picture of a few whole numbers is an image and no mask.
    """

    series: str | None = None
    regrid: bool = False
    nan_fill: float | None = None
    affine: Literal["sform", "qform"] | None = None
    assume_ras: bool = False
    assume_hu: bool = False
    volume: int | None = None
    modality: str | None = None
    is_image: bool = False

    def __post_init__(self) -> None:
        if self.affine not in (None, "sform", "qform"):
            raise UsageError(f"--affine {self.affine}: give sform or qform")
        if self.volume is not None and self.volume < 0:
            raise UsageError(f"--volume {self.volume}: volumes are counted from 0")


NO_DOUBTS = Doubts()
IS_IMAGE = Doubts(is_image=True)  # as a manifest says of the one file of a case
