"""A picture with its mask burnt in, for archives and viewers that show pictures and nothing else."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import maximum_filter, minimum_filter

from medseg.domain.errors import GridError
from medseg.domain.labels import LabelMap
from medseg.domain.volume import Volume
from medseg.reports.lettering import under_legend
from medseg.reports.overlay import colours_of
from medseg.reports.shades import to_rgb, window_of

_FILL = 0.12  # of the label's colour inside its outline
_LINES = 500  # an outline is a pixel wide for each so many pixels of the picture, so that it shows on a screen


def capture(volume: Volume, label_map: LabelMap) -> NDArray[np.uint8]:
    """The picture in full size with outlines inside the edges of its labels and a legend below, (rows, columns, 3).

    Pixels outside the labels are those of the picture, grey as `window_of` says. Unlike `preview` it takes about 17
    bytes a pixel, and never scales: mammograms have 14 million.
    Raises: GridError if the mask lies on another grid.
    """
    if not volume.geometry.is_same_grid(label_map.geometry):
        raise GridError(f"{volume.case}: image and mask lie on different grids; give the mask of this very image")
    pixels = volume.voxels.swapaxes(-1, -2)
    picture = to_rgb(pixels, window_of(pixels, volume.modality))
    labels = label_map.voxels.T
    width = 2 * max(1, round(max(labels.shape) / _LINES)) + 1
    edge = minimum_filter(labels, width, mode="nearest") != maximum_filter(labels, width, mode="nearest")
    colours = colours_of(label_map.voxels, label_map.table)
    for value, colour in colours.items():
        inside = labels == value
        picture[inside] = np.round((1 - _FILL) * picture[inside] + _FILL * np.array(colour)).astype(np.uint8)
        picture[inside & edge] = colour
    return np.array(under_legend(Image.fromarray(picture), colours, label_map.table))
