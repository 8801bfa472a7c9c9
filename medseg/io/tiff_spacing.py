"""The size of a pixel of the specimen, where a TIFF states it."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

# Inch is not among them: with 72, 96 or 300 a unit it is what a printer or a camera wrote, and ImageJ keeps it.
_MM_PER_UNIT = {"nm": 1e-6, "µm": 1e-3, "mm": 1.0, "cm": 10.0, "m": 1000.0} | dict.fromkeys(
    ("um", "μm", "\\u00B5m", "micron", "microns", "micrometer"),
    1e-3,  # the second with the Greek letter
)


def spacing_mm(tiff: Any, page: Any, *, stacked: bool) -> tuple[float, ...] | None:
    """Along columns and rows, and from plane to plane of a stack; None unless all are stated.

    Only OME and ImageJ metadata count. The resolution of a plain TIFF says how to print it: nearly every program
    writes one, and none means the specimen.
    """
    sizes = _ome(tiff.ome_metadata) if tiff.is_ome else _imagej(tiff.imagej_metadata or {}, page)
    wanted = sizes if stacked else sizes[:2]
    return tuple(wanted) if all(0 < size < float("inf") for size in wanted) else None


def _ome(text: str) -> list[float]:
    """x, y and z; 0 where not stated. The schema's unit is the micrometre where none is given."""
    pixels = ElementTree.fromstring(text).find(".//{*}Pixels")
    if pixels is None:
        return [0.0, 0.0, 0.0]
    return [
        float(pixels.get(f"PhysicalSize{axis}", 0)) * _MM_PER_UNIT.get(pixels.get(f"PhysicalSize{axis}Unit", "µm"), 0.0)
        for axis in "XYZ"
    ]


def _imagej(words: dict[str, Any], page: Any) -> list[float]:
    """x, y and z; 0 where not stated. x and y are inverse resolutions, z is the spacing."""
    unit = words.get("unit")
    units = [_MM_PER_UNIT.get(str(words.get(name, unit)), 0.0) for name in ("unit", "yunit", "zunit")]
    return [
        _inverse(page, "XResolution") * units[0],
        _inverse(page, "YResolution") * units[1],
        float(words.get("spacing", 0)) * units[2],
    ]


def _inverse(page: Any, name: str) -> float:
    tag = page.tags.get(name)
    count, length = tag.value if tag is not None else (0, 0)
    return length / count if count else 0.0
