"""A page of sampled cases with the outlines of their masks: wrong pairs and flipped masks show at a glance."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from skimage.segmentation import find_boundaries

from medseg.domain.errors import MedsegError, UsageError
from medseg.domain.geometry import Geometry
from medseg.domain.labels import LabelTable
from medseg.domain.manifest import Case, Manifest
from medseg.domain.volume import Volume
from medseg.io.files import whole_file
from medseg.io.images import read_image, read_mask
from medseg.io.manifest import case_paths, mask_to_labels

TILE, CAPTION, MARGIN = 256, 18, 8  # pixels
_INK, _PAPER = (225, 225, 225), (24, 24, 24)


def write_contact_sheet(manifest: Manifest, root: Path, path: Path, count: int = 24) -> None:
    """A PNG of up to `count` sampled cases, six in a row. A case that cannot be drawn says so in its place.

    Raises: UsageError if the name does not end in .png; OutputError or ResourceError if it cannot be written.
    """
    if path.suffix.lower() != ".png":
        raise UsageError(f"{path}: a contact sheet is a PNG; let its name end in .png")
    cases = sample(manifest.cases, count)
    columns = max(1, min(6, len(cases)))
    rows = -(-len(cases) // columns)
    width, height = (n * (TILE + MARGIN) + MARGIN for n in (columns, rows))
    page = Image.new("RGB", (width, height + rows * CAPTION + 2 * CAPTION), _PAPER)
    _draw_title(ImageDraw.Draw(page), manifest, len(cases))
    for n, case in enumerate(cases):
        left = MARGIN + n % columns * (TILE + MARGIN)
        top = MARGIN + 2 * CAPTION + n // columns * (TILE + MARGIN + CAPTION)
        page.paste(_tile_of(manifest, case, root), (left, top))
        told = "  ".join(part for part in (_short(case.id), case.split, case.kind) if part)
        ImageDraw.Draw(page).text((left, top + TILE + 2), told, _INK, _font())
    with whole_file(path) as temporary:
        page.save(temporary, "PNG")


def sample(cases: Sequence[Case], count: int) -> tuple[Case, ...]:
    """Up to `count` cases, the kinds in turn, chosen by the hash of their ids; in the manifest's order.

    The same manifest gives the same sample, and a rare kind is seen too. The hash is another than that of the splits.
    """
    by_kind: dict[str, list[Case]] = defaultdict(list)
    for case in sorted(cases, key=lambda case: hashlib.sha256(f"sheet {case.id}".encode()).digest()):
        by_kind[case.kind].append(case)
    turns = [(turn, kind, case.id) for kind, members in by_kind.items() for turn, case in enumerate(members)]
    chosen = {id for _, _, id in sorted(turns)[:count]}
    return tuple(case for case in cases if case.id in chosen)


def draw_tile(volume: Volume, labels: NDArray[Any], table: LabelTable) -> NDArray[np.uint8]:
    """Image and outlines, (TILE, TILE, 3); labels (*shape_ijk) are label values or instance numbers.

    Of a volume the axial slice where the mask is largest, the middle one if several are; the patient's right is on
    the left, anterior is up. Pixels are made square, the longer side fills the tile.
    """
    image, mask, spacing_mm = _plane(volume, labels)
    shape = tuple(n * s for n, s in zip(mask.shape, spacing_mm, strict=True))
    height, width = (max(1, round(TILE * edge / max(shape))) for edge in shape)
    picture = np.array(Image.fromarray(_shades(image)).resize((width, height), Image.Resampling.BILINEAR))
    enlarged = mask[np.arange(height) * mask.shape[0] // height][:, np.arange(width) * mask.shape[1] // width]
    edge = find_boundaries(enlarged, mode="inner") & (enlarged > 0)
    colours = {label.value: label.colour for label in table}
    for value in np.unique(enlarged[edge]).tolist():
        picture[edge & (enlarged == value)] = colours.get(1 if table.kind == "instances" else value, (255, 0, 255))
    tile = np.full((TILE, TILE, 3), 0, np.uint8)
    top, left = (TILE - height) // 2, (TILE - width) // 2
    tile[top : top + height, left : left + width] = picture
    return tile


def _plane(volume: Volume, labels: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], tuple[float, float]]:
    """Image (rows, columns, C), mask (rows, columns) and the millimetres between rows and between columns."""
    image, spacing_mm = np.moveaxis(volume.voxels, 0, -1), volume.geometry.spacing_mm
    if labels.ndim == 2:
        return image.swapaxes(0, 1), labels.T, (spacing_mm[1], spacing_mm[0])
    axes, flips = _to_ras(volume.geometry)
    image, labels = image.transpose(*axes, 3)[flips], labels.transpose(axes)[flips]
    areas = np.count_nonzero(labels, axis=(0, 1))
    widest = np.flatnonzero(areas == areas.max())
    k = int(widest[len(widest) // 2])
    # (right, anterior) to (rows from anterior down, columns from the patient's right)
    image, labels = (plane[:, :, k].swapaxes(0, 1)[::-1, ::-1] for plane in (image, labels))
    return image, labels, (spacing_mm[axes[1]], spacing_mm[axes[0]])


def _to_ras(geometry: Geometry) -> tuple[tuple[int, ...], tuple[slice, ...]]:
    """The array axes nearest to right, anterior, superior, and the steps that let each rise that way."""
    directions = geometry.affine_ras[:3, :3] / geometry.spacing_mm
    axes = max(permutations(range(3)), key=lambda order: sum(abs(directions[r, i]) for r, i in enumerate(order)))
    return axes, tuple(slice(None, None, -1 if directions[r, i] < 0 else 1) for r, i in enumerate(axes))


def _shades(image: NDArray[Any]) -> NDArray[np.uint8]:
    """(rows, columns, C) to (rows, columns, 3): grey stretched from its 0.5th to its 99.5th percentile."""
    if image.shape[-1] >= 3 and image.dtype == np.uint8:
        return np.ascontiguousarray(image[..., :3])
    low, high = np.percentile(image, (0.5, 99.5))
    shades = (np.clip((image.astype(np.float64) - low) / max(high - low, 1e-12), 0, 1) * 255).astype(np.uint8)
    return np.ascontiguousarray(shades[..., :3] if shades.shape[-1] >= 3 else np.repeat(shades[..., :1], 3, -1))


def _tile_of(manifest: Manifest, case: Case, root: Path) -> Image.Image:
    image, mask = case_paths(case, root)
    try:
        volume, (raw, _) = read_image(image), read_mask(mask)
        if raw.shape == volume.geometry.shape_ijk:
            return Image.fromarray(draw_tile(volume, mask_to_labels(raw, manifest), manifest.labels))
        reason = "image and mask differ in shape"
    except MedsegError:
        reason = "cannot be read"
    tile = Image.new("RGB", (TILE, TILE), (70, 20, 20))
    ImageDraw.Draw(tile).text((10, TILE // 2 - 8), reason, _INK, _font())
    return tile


def _draw_title(draw: ImageDraw.ImageDraw, manifest: Manifest, shown: int) -> None:
    at = float(MARGIN)
    words = [(f"{manifest.name}: {shown} of {len(manifest.cases)} cases", _INK)]
    for text, colour in words + [(label.name, label.colour) for label in manifest.labels]:
        draw.text((at, MARGIN), text, colour, _font())
        at += draw.textlength(text, _font()) + 3 * MARGIN


def _font() -> Any:
    return ImageFont.load_default(12)


def _short(id: str, longest: int = 14) -> str:
    return id if len(id) <= longest else f"{id[: longest - 3]}..."
