"""A page that shows an image and its mask in the browser: files to serve on loopback, or one file to keep."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects

from medseg.domain.labels import LabelMap
from medseg.domain.report import Measure
from medseg.domain.volume import Volume
from medseg.io.nifti_view import nifti_bytes
from medseg.reports.overlay import INSTANCE_COLOURS
from medseg.reports.planes import busiest_voxel
from medseg.reports.shades import has_colour, window_of

_SCRIPTS = ("niivue.umd.js", "viewer.js")
_STYLE = "viewer.css"
_IMAGE, _MASK = "image.nii", "mask.nii"


@dataclass(frozen=True)
class Scene:
    """What the page shows.

    title:    the case.
    measures: one for each label, of the whole mask.
    """

    title: str
    volume: Volume
    label_map: LabelMap
    measures: tuple[Measure, ...]


def served_files(scene: Scene) -> dict[str, tuple[str, bytes]]:
    """Name -> content type and content of all that the page needs; "" is the page."""
    links = f'<link rel="stylesheet" href="{_STYLE}">'
    scripts = "".join(f'<script src="{name}"></script>' for name in _SCRIPTS)
    image, mask = _voxels(scene)
    return {
        "": ("text/html; charset=utf-8", _page(scene, links, "", scripts).encode()),
        **{name: ("text/javascript; charset=utf-8", _asset(name)) for name in _SCRIPTS},
        _STYLE: ("text/css; charset=utf-8", _asset(_STYLE)),
        _IMAGE: ("application/octet-stream", nifti_bytes(image, scene.volume.geometry)),
        _MASK: ("application/octet-stream", nifti_bytes(mask, scene.volume.geometry)),
    }


def exported_page(scene: Scene) -> str:
    """One HTML file with everything inside; its own policy lets it run these scripts and ask for nothing."""
    image, mask = _voxels(scene)
    data = "".join(
        f'<script type="text/plain" id="{name}">{base64.b64encode(content).decode()}</script>\n'
        for name, content in (
            (_IMAGE, nifti_bytes(image, scene.volume.geometry, compressed=True)),
            (_MASK, nifti_bytes(mask, scene.volume.geometry, compressed=True)),
        )
    )
    style, scripts = _asset(_STYLE).decode(), [_asset(name).decode() for name in _SCRIPTS]
    assert not any("</script" in script.lower() for script in scripts)  # it would end the element
    allowed = policy(" ".join(map(_digest, scripts)), _digest(style), "")
    head = f'<meta http-equiv="Content-Security-Policy" content="{allowed}">\n<style>{style}</style>'
    return _page(scene, head, data, "\n".join(f"<script>{script}</script>" for script in scripts))


def policy(scripts: str, styles: str, connections: str) -> str:
    """The content security policy of the page: what is not named is forbidden."""
    connections = connections or "'none'"
    return (
        f"default-src 'none'; script-src {scripts}; style-src {styles}; img-src data: blob:; "
        f"connect-src {connections}; worker-src blob:; base-uri 'none'; form-action 'none'"
    )


def _page(scene: Scene, head: str, data: str, scripts: str) -> str:
    title = escape(scene.title)
    facts = json.dumps(_facts(scene)).replace("<", "\\u003c")
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
{head}
<title>{title} - medseg</title>
</head>
<body>
<div id="stage"><canvas id="canvas" tabindex="0" aria-label="the image with its mask"></canvas></div>
<aside>
<h1>{title}</h1>
<fieldset id="views" aria-label="views"></fieldset>
<ul id="labels"></ul>
<label for="opacity">opacity of the mask</label>
<input type="range" id="opacity" min="0" max="100" value="50">
<p id="message" role="status"></p>
<p>Scroll to move through the slices, drag with the right button to change contrast, click a label to go
to it. Patient right is on the left of the picture. Research only; not for diagnosis.</p>
</aside>
<script type="application/json" id="scene">{facts}</script>
{data}{scripts}
</body>
</html>
"""


def _facts(scene: Scene) -> dict[str, Any]:
    low, high = window_of(scene.volume.voxels, scene.volume.modality)
    return {
        "image": _IMAGE,
        "mask": _MASK,
        "window": [low, high if high > low else low + 1],
        "flat": scene.volume.geometry.spatial_dims == 2,
        "instances": scene.label_map.table.kind == "instances",
        "labels": _labels(scene),
    }


def _labels(scene: Scene) -> list[dict[str, Any]]:
    """The label of each index of the drawn mask, from 1. Instances share their name and take turns with the colours."""
    places = _places(scene.label_map)
    rows = [
        {
            "name": label.name,
            "value": label.value,
            "colour": list(label.colour),
            "amount": _amount(measure),
            "place": places.get(label.value),
        }
        for label, measure in zip(scene.label_map.table, scene.measures, strict=True)
    ]
    if scene.label_map.table.kind == "semantic":
        return rows
    return [{**rows[0], "colour": list(colour)} for colour in INSTANCE_COLOURS]


def _places(label_map: LabelMap) -> dict[int, list[float]]:
    """By value where the planes cut most of a label within its extent, in RAS mm; of instances most of all."""
    voxels = label_map.voxels
    if label_map.table.kind == "instances":
        voxels = (voxels > 0) * np.uint16(label_map.table.values[0])
    places = {}
    for value, box in enumerate(find_objects(voxels), start=1):
        if box is not None:
            at = np.array(busiest_voxel(voxels[box] == value), np.float64) + [edge.start for edge in box]
            places[value] = [round(float(mm), 2) for mm in label_map.geometry.ijk_to_ras_mm(at)]
    return places


def _amount(measure: Measure) -> str:
    if measure.instances is not None:
        return f"{measure.instances} found"
    if measure.volume_ml is not None:
        return f"{measure.volume_ml:.2f} ml"
    return f"{measure.area_mm2:.4g} mm2" if measure.area_mm2 is not None else f"{measure.voxels} pixels"


def _voxels(scene: Scene) -> tuple[NDArray[Any], NDArray[Any]]:
    """The image's channels as they are drawn, and the mask as row numbers of the label list."""
    voxels, labels = scene.volume.voxels, scene.label_map
    if labels.table.kind == "instances":
        rows = np.where(labels.voxels > 0, (labels.voxels.astype(np.int64) - 1) % len(INSTANCE_COLOURS) + 1, 0)
    else:
        lookup = np.zeros(65536, np.uint16)
        lookup[list(labels.table.values)] = np.arange(1, len(labels.table) + 1)
        rows = lookup[labels.voxels]
    mask = rows.astype(np.uint8 if rows.max(initial=0) < 256 else np.uint16)
    if has_colour(voxels):
        low, high = window_of(voxels, scene.volume.modality)
        share = (voxels.astype(np.float32) - low) / max(high - low, 1e-12)
        return (share.clip(0, 1) * 255).round().astype(np.uint8), mask[None]
    return voxels[:1], mask[None]


def _asset(name: str) -> bytes:
    return (files("medseg.reports") / "niivue" / name).read_bytes()


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
