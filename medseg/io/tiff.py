"""TIFF in and out: single pictures and stacks; plain, of ImageJ and of OME."""

from __future__ import annotations

import logging
import os
import threading
import warnings
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL.TiffImagePlugin import TiffImageFile

from medseg.domain.errors import InputError
from medseg.domain.geometry import Geometry
from medseg.io.raster import DEFLATE_FOLD, Raster, require_affordable
from medseg.io.tiff_spacing import spacing_mm
from medseg.io.tiff_whole import require_whole_chain, require_whole_series

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the latter two are BigTIFF
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _YCBCR = 0, 1, 2, 3, 6
_PLAIN, _LZW, _JPEG, _DEFLATE, _PACKBITS, _OLD_DEFLATE = 1, 5, 7, 8, 32773, 32946
_MOST_FOLD = {_PLAIN: 1, _LZW: 3000, _DEFLATE: DEFLATE_FOLD, _PACKBITS: 64, _OLD_DEFLATE: DEFLATE_FOLD}
_CHANNEL_AXES, _PLANE_AXES = "SC", "ZIQ"  # samples, channels; planes, and pages of unknown meaning

logging.getLogger("tifffile").addHandler(logging.NullHandler())  # damage is told once, as a refusal


def read_tiff(path: Path) -> Raster:
    """The samples of a TIFF that holds one picture or one stack of planes.

    Raises: InputError for time series, several images, more than 4 channels, colours other than RGB, turned pictures,
            missing planes, encodings without a decoder and files above 2 GiB decoded; other errors for damaged files.
    """
    require_whole_chain(path)
    with tifffile.TiffFile(path, _multifile=False) as tiff:  # no file may name others to be read
        series = _one_series(path, tiff)
        page = series.keyframe
        channel, plane = _channel_and_plane(path, series.axes, series.shape)
        require_affordable(path, series.nbytes, 8 * _MOST_FOLD.get(int(page.compression), inf))
        _require_readable(path, page)
        require_whole_series(path, tiff, series)
        stored = _decoded(path, series)
        samples = stored.transpose([series.axes.index(axis) for axis in f"{channel}XY{plane}"])
        samples = samples if channel else samples[None]
        return Raster(
            samples.view(np.uint8) if samples.dtype == bool else samples,
            path,
            bits=page.bitspersample,
            palette=_palette(page.colormap) if page.photometric == _PALETTE else None,
            alpha=channel == "S" and len(samples) == (4 if page.photometric in (_RGB, _YCBCR) else 2),
            white_is_zero=page.photometric == _WHITE_IS_ZERO,
            spacing_mm=spacing_mm(tiff, page, stacked=bool(plane)),
            notes=("pages taken as planes of a stack",) if plane in set("IQ") else (),
        )


def write_tiff(values: NDArray[Any], geometry: Geometry, path: Path) -> None:
    """Grey values (X, Y) or (X, Y, Z), uint8 or uint16; the same values give the same bytes.

    A known pixel size is written as ImageJ does, in micrometres, which Fiji, QuPath and napari read. Position and
    orientation find no place in a TIFF. A stack of one plane reads as a picture.
    """
    metadata: dict[str, Any] = {"axes": "ZYX"[-values.ndim :]}
    resolution = None
    if geometry.calibrated:
        size_um = [1000 * s for s in geometry.spacing_mm]
        metadata |= {"unit": "um"} | ({"spacing": size_um[2]} if values.ndim == 3 else {})
        resolution = (1 / size_um[0], 1 / size_um[1])
    tifffile.imwrite(
        path,
        values.T,
        imagej=True,
        photometric="minisblack",
        resolution=resolution,
        metadata=metadata,
        software="medseg",
    )


def _one_series(path: Path, tiff: Any) -> Any:
    images = [series for series in tiff.series if not series.keyframe.is_reduced]  # thumbnails are
    if len(images) != 1:
        raise InputError(f"{path}: holds {len(images)} separate images; save the one of interest")
    return images[0]


def _channel_and_plane(path: Path, axes: str, shape: tuple[int, ...]) -> tuple[str, str]:
    """The letters of the axis of channels and of that of planes, empty where there is none."""
    if "T" in axes:
        raise InputError(f"{path}: a time series (axes {axes}); save one time point")
    channels, planes = ([axis for axis in axes if axis in letters] for letters in (_CHANNEL_AXES, _PLANE_AXES))
    others = set(axes) - set(_CHANNEL_AXES) - set(_PLANE_AXES)
    if others != {"X", "Y"} or len(channels) > 1 or len(planes) > 1 or (channels and planes and planes[0] != "Z"):
        raise InputError(f"{path}: neither one picture nor one grey stack (axes {axes}); save the part of interest")
    if channels and (many := shape[axes.index(channels[0])]) > 4:
        raise InputError(f"{path}: {many} channels, of which at most 4 are read; save those of interest")
    return "".join(channels), "".join(planes)


def _require_readable(path: Path, page: Any) -> None:
    tag = page.tags.get("Orientation")
    if tag is not None and tag.value != 1:
        raise InputError(f"{path}: to be shown turned or mirrored (orientation {int(tag.value)}); save it upright")
    known = (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, *([_YCBCR] if page.compression == _JPEG else []))
    if page.photometric not in known:
        raise InputError(f"{path}: neither grey nor RGB ({_name(page.photometric)}); convert it to RGB")
    if page.dtype is None or page.dtype.kind not in "buif" or page.bitspersample not in (1, 8, 16, 32, 64):
        raise InputError(f"{path}: {page.bitspersample}-bit samples are not read; save 8 or 16 bits")
    if page.compression not in tifffile.TIFF.DECOMPRESSORS and page.compression != _LZW:
        raise InputError(
            f"{path}: there is no decoder for {_name(page.compression)}; run `pip install imagecodecs` or save the"
            " file without compression"
        )


def _decoded(path: Path, series: Any) -> NDArray[Any]:
    """The stored samples, in the order of series.axes."""
    page = series.keyframe
    if page.compression in tifffile.TIFF.DECOMPRESSORS:
        array: NDArray[Any] = series.asarray()
        return array
    with (
        _quiet_libtiff,
        TiffImageFile(path) as image,
    ):  # tifffile by itself cannot undo LZW; Pillow can, but for 16-bit colour
        frames = []
        for number in (page.index for page in series.pages):
            image.seek(number)
            frames.append(np.asarray(image))
    array = np.stack(frames)
    if array.dtype != page.dtype.newbyteorder("=") or array.size != series.size or page.photometric == _WHITE_IS_ZERO:
        raise InputError(f"{path}: LZW is undone for 8-bit and for 16-bit grey pictures only; save it uncompressed")
    return array.reshape(series.shape)


class _QuietLibtiff:
    """No words of Pillow, which warns, or of libtiff inside it, which prints, about what then is an error or no matter.

    Standard error is closed for a moment; one thread at a time.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept = -1
        self._warnings = warnings.catch_warnings()

    def __enter__(self) -> None:
        self._lock.acquire()
        self._kept = os.dup(2)
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 2)
        os.close(null)
        self._warnings = warnings.catch_warnings()
        self._warnings.__enter__()
        warnings.simplefilter("ignore")

    def __exit__(self, *_: object) -> None:
        self._warnings.__exit__(None, None, None)
        os.dup2(self._kept, 2)
        os.close(self._kept)
        self._lock.release()


_quiet_libtiff = _QuietLibtiff()


def _palette(colormap: NDArray[Any]) -> NDArray[np.uint8]:
    """(n, 4) from the file's (3, n) of 16 bits; some writers use but 8 of them."""
    colours = (colormap >> 8 if colormap.max() > 255 else colormap).astype(np.uint8).T
    return np.hstack((colours, np.full((len(colours), 1), 255, np.uint8)))


def _name(code: Any) -> str:
    return " ".join(str(getattr(code, "name", code)).split())[:40]  # a damaged tag may hold anything
