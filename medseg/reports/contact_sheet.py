"""A page of sampled cases with the outlines of their masks: wrong pairs and flipped masks show at a glance."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from medseg.domain.doubts import IS_IMAGE
from medseg.domain.errors import MedsegError, UsageError, ValueRangeError
from medseg.domain.labels import LabelMap
from medseg.domain.manifest import Case, Manifest
from medseg.domain.volume import Volume
from medseg.io.files import whole_file
from medseg.io.images import read_image, read_mask
from medseg.io.manifest import case_paths, mask_to_labels
from medseg.reports.lettering import INK, PAPER, font
from medseg.reports.overlay import colours_of, draw_labels
from medseg.reports.planes import VIEWS, busiest_voxel, cut, orient
from medseg.reports.shades import to_rgb, window_of

TILE, CAPTION, MARGIN = 256, 18, 8  # pixels


def write_contact_sheet(
    manifest: Manifest, root: Path, path: Path, count: int = 24, doubtful: Sequence[str] = ()
) -> None:
    """A PNG of up to `count` sampled cases, six in a row. A case that cannot be drawn says so in its place.

    doubtful: ids of cases that something is wrong with; they come first, and their captions say so.
    Raises: UsageError if the name does not end in .png; OutputError or ResourceError if it cannot be written.
    """
    if path.suffix.lower() != ".png":
        raise UsageError(f"{path}: a contact sheet is a PNG; let its name end in .png")
    cases = sample(manifest.cases, count, doubtful)
    columns = max(1, min(6, len(cases)))
    rows = -(-len(cases) // columns)
    width, height = (n * (TILE + MARGIN) + MARGIN for n in (columns, rows))
    page = Image.new("RGB", (width, height + rows * CAPTION + 2 * CAPTION), PAPER)
    _draw_title(ImageDraw.Draw(page), manifest, len(cases))
    for n, case in enumerate(cases):
        left = MARGIN + n % columns * (TILE + MARGIN)
        top = MARGIN + 2 * CAPTION + n // columns * (TILE + MARGIN + CAPTION)
        page.paste(_tile_of(manifest, case, root), (left, top))
        ImageDraw.Draw(page).text((left, top + TILE + 2), _caption(case, case.id in doubtful), INK, font(11))
    with whole_file(path) as temporary:
        page.save(temporary, "PNG")


def sample(cases: Sequence[Case], count: int, first: Sequence[str] = ()) -> tuple[Case, ...]:
    """Up to `count` cases: those of the ids `first` lead, in their order and at most half of all; then others, the
    kinds in turn, chosen by the hash of their ids, in the manifest's order.

    The same manifest gives the same sample, and a rare kind is seen too. The hash is another than that of the splits.
    """
    by_id = {case.id: case for case in cases}
    most = max((count + 1) // 2, count - (len(cases) - len(first)))  # half, and what the others leave over
    leading = {id: by_id[id] for id in first[:most]}
    cases = [case for case in cases if case.id not in leading]
    count -= len(leading)
    by_kind: dict[str, list[Case]] = defaultdict(list)
    for case in sorted(cases, key=lambda case: hashlib.sha256(f"sheet {case.id}".encode()).digest()):
        by_kind[case.kind].append(case)
    turns = [(turn, kind, case.id) for kind, members in by_kind.items() for turn, case in enumerate(members)]
    chosen = {turn[-1] for turn in sorted(turns)[:count]}
    return (*leading.values(), *(case for case in cases if case.id in chosen))


def draw_tile(volume: Volume, label_map: LabelMap) -> Image.Image:
    """Image and outlines, TILE pixels square; pixels keep their shape in millimetres and the longer side fills it.

    Of a volume the axial slice that cuts most of the mask, as `planes` hangs it.
    """
    if volume.geometry.spatial_dims == 2:
        plane, labels = volume.voxels.swapaxes(-1, -2), label_map.voxels.T
        across_mm, down_mm = volume.geometry.extent_mm
    else:
        oriented = orient(volume, label_map)
        at = busiest_voxel(oriented.labels)
        plane, labels = (cut(voxels, VIEWS[0], at, oriented.whole) for voxels in (oriented.image, oriented.labels))
        across_mm, down_mm, _ = oriented.extent_mm
    wide, high = (max(1, round(TILE * edge / max(across_mm, down_mm))) for edge in (across_mm, down_mm))
    picture = Image.fromarray(to_rgb(plane, window_of(volume.voxels, volume.modality)))
    picture = picture.resize((wide, high), Image.Resampling.BILINEAR)
    colours = colours_of(labels, label_map.table)
    tile = Image.new("RGB", (TILE, TILE))
    nested = label_map.table.kind == "semantic"
    outlined = draw_labels(picture, labels, colours, width=1.4, fill=0.0, nested=nested)
    tile.paste(outlined, ((TILE - wide) // 2, (TILE - high) // 2))
    return tile


def _tile_of(manifest: Manifest, case: Case, root: Path) -> Image.Image:
    image, mask = case_paths(case, root)
    try:
        volume = read_image(image, IS_IMAGE)
    except ValueRangeError:
        return _refusal("NaN or other unusable values")
    except MedsegError:
        return _refusal("cannot be read")
    try:
        raw, _ = read_mask(mask)
    except ValueRangeError:
        return _refusal("the mask holds no whole numbers")
    except MedsegError:
        return _refusal("the mask cannot be read")
    if raw.shape != volume.geometry.shape_ijk:
        return _refusal("image and mask differ in shape")
    try:
        labels = mask_to_labels(raw, manifest)
    except ValueRangeError:
        return _refusal("the mask holds unknown values")
    return draw_tile(volume, LabelMap(labels, volume.geometry, manifest.labels))


def _refusal(reason: str) -> Image.Image:
    tile = Image.new("RGB", (TILE, TILE), (70, 20, 20))
    ImageDraw.Draw(tile).text((10, TILE // 2 - 8), reason, INK, font(11))
    return tile


def _draw_title(draw: ImageDraw.ImageDraw, manifest: Manifest, shown: int) -> None:
    at = float(MARGIN)
    words = [(f"{manifest.name}: {shown} of {len(manifest.cases)} cases", INK)]
    if manifest.labels.kind == "semantic":
        words += [(label.name, label.colour) for label in manifest.labels]
    for text, colour in words:
        draw.text((at, MARGIN), text, colour, font(11))
        at += draw.textlength(text, font(11)) + 3 * MARGIN


def _caption(case: Case, doubtful: bool) -> str:
    """Id, split and kind in the width of a tile, and whether it was complained of; a long id loses its middle."""
    for kept in range(len(case.id), 0, -1):
        id = case.id if kept == len(case.id) else f"{case.id[: kept - kept // 2]}…{case.id[len(case.id) - kept // 2 :]}"
        told = "  ".join(part for part in (id, case.split, case.kind, "see the findings" * doubtful) if part)
        if font(11).getlength(told) <= TILE:
            return told
    return case.split
