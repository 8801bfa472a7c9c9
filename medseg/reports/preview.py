"""One picture that shows a person what was segmented: three planes of a volume, or the picture with its outlines."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from medseg.domain.errors import GridError, UsageError
from medseg.domain.labels import LabelMap
from medseg.domain.volume import Volume
from medseg.io.files import whole_file
from medseg.reports.lettering import under_legend
from medseg.reports.overlay import Colour, colours_of, draw_labels
from medseg.reports.shades import to_rgb, window_of
from medseg.reports.triptych import draw_planes

_NARROW, _LONGEST = 400, 1600  # pixels: a picture below is enlarged, one above is made smaller


def preview(volume: Volume, label_map: LabelMap) -> Image.Image:
    """An RGB picture of the image with the outlines of the mask, and a legend below.

    Of a volume: axial, coronal and sagittal plane, each where it cuts most of the mask (of an empty mask the middle),
    the patient's right on the left; below them, where the mask is small, its neighbourhood in the same planes. Of a
    picture: the whole of it, colours kept; below 400 pixels of width each pixel is repeated. Grey as `window_of` says.
    Raises: GridError if the mask lies on another grid.
    """
    if not volume.geometry.is_same_grid(label_map.geometry):
        raise GridError(f"{volume.case}: image and mask lie on different grids; give the mask of this very image")
    colours = colours_of(label_map.voxels, label_map.table)
    draw = _picture if volume.geometry.spatial_dims == 2 else draw_planes
    return under_legend(draw(volume, label_map, colours), colours, label_map.table)


def write_preview(volume: Volume, label_map: LabelMap, path: Path) -> None:
    """The preview as a PNG, whole or not at all.

    Raises: as `preview` and `whole_file`; UsageError if the name does not end in .png.
    """
    if path.suffix.lower() != ".png":
        raise UsageError(f"{path}: a preview is a PNG; let its name end in .png")
    picture = preview(volume, label_map)
    with whole_file(path) as temporary:
        picture.save(temporary, "PNG")


def _picture(volume: Volume, label_map: LabelMap, colours: Mapping[int, Colour]) -> Image.Image:
    longest = max(volume.geometry.shape_ijk)
    skip = -(-longest // (2 * _LONGEST))  # of a whole slide some pixels are never looked at
    voxels = volume.voxels[:, ::skip, ::skip].swapaxes(-1, -2)
    picture = Image.fromarray(to_rgb(voxels, window_of(voxels, volume.modality)))
    times = max(1, min(-(-_NARROW // picture.width), _LONGEST // longest))
    picture = picture.resize((picture.width * times, picture.height * times), Image.Resampling.NEAREST)
    picture.thumbnail((_LONGEST, _LONGEST), Image.Resampling.LANCZOS)
    return draw_labels(picture, label_map.voxels.T, colours, fill=0.12)
