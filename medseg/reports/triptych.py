"""Axial, coronal and sagittal plane side by side, the whole image above and the neighbourhood of the mask below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from medseg.domain.labels import LabelMap
from medseg.domain.volume import Volume
from medseg.reports.lettering import FAINT, INK, PAPER, draw_scale, font, write_letters
from medseg.reports.overlay import Colour, draw_labels
from medseg.reports.planes import VIEWS, Box, Oriented, View, box_around, busiest_voxel, cut, orient, position_mm
from medseg.reports.shades import Window, to_rgb, window_of

PANEL = 360  # pixels: the middle one of the three extents; the longest gets at most twice that
CAPTION, GAP = 22, 10
_CLOSER = 1.3  # a second row that is not this much larger than the first is left out


@dataclass(frozen=True, eq=False)
class Scene:
    """What is shown, and through which voxel the planes go."""

    oriented: Oriented
    at: tuple[int, ...]
    window: Window
    colours: Mapping[int, Colour]
    calibrated: bool

    def panel(self, view: View, box: Box, pixels_per_mm: float) -> Image.Image:
        """One plane of a box, pixels square in millimetres, with outlines and letters."""
        wide, high = (
            max(1, round((box[axis][1] - box[axis][0]) * self.oriented.spacing_mm[axis] * pixels_per_mm))
            for axis in (view.across, view.down)
        )
        picture = Image.fromarray(to_rgb(cut(self.oriented.image, view, self.at, box), self.window))
        picture = picture.resize((wide, high), Image.Resampling.BICUBIC)
        picture = draw_labels(picture, cut(self.oriented.labels, view, self.at, box), self.colours)
        write_letters(picture, view.edges)
        return picture

    def row(self, views: Sequence[View], box: Box) -> list[Image.Image]:
        """The planes of a box on one scale, with a bar in the first where the size is known."""
        pixels_per_mm = _pixels_per_mm(self.oriented, box)
        panels = [self.panel(view, box, pixels_per_mm) for view in views]
        if self.calibrated:
            draw_scale(panels[0], pixels_per_mm)
        return panels

    def caption(self, view: View) -> str:
        """The plane's name and, where known, how far from the origin it lies: "axial  I 14 mm"."""
        if not self.calibrated:
            return view.name
        place = round(float(position_mm(self.oriented, self.at)[view.through]), 3)  # before it is cut to whole mm
        towards = ("RAS" if place >= 0 else "LPI")[view.through]
        return f"{view.name}  {towards} {abs(place):.0f} mm"


def scene_of(volume: Volume, label_map: LabelMap, colours: Mapping[int, Colour]) -> Scene:
    """The scene in patient axes: the same world gives the same scene, however its array is laid."""
    oriented = orient(volume, label_map)
    window = window_of(oriented.image, volume.modality)
    return Scene(oriented, busiest_voxel(oriented.labels), window, colours, volume.geometry.calibrated)


def draw_planes(volume: Volume, label_map: LabelMap, colours: Mapping[int, Colour]) -> Image.Image:
    """One row of planes, or two where the mask is small; a plane that is one voxel thin is left out."""
    scene = scene_of(volume, label_map, colours)
    shape, whole = scene.oriented.labels.shape, scene.oriented.whole
    views = [view for view in VIEWS if min(shape[view.across], shape[view.down]) > 1] or [VIEWS[0]]
    rows, near = [scene.row(views, whole)], box_around(scene.oriented)
    if near and _pixels_per_mm(scene.oriented, near) > _CLOSER * _pixels_per_mm(scene.oriented, whole):
        for view, panel in zip(views, rows[0], strict=True):
            _draw_box(panel, view, near, shape)
        rows.append(scene.row(views, near))
    return _hang(rows, [scene.caption(view) for view in views])


def _pixels_per_mm(oriented: Oriented, box: Box) -> float:
    edges_mm = sorted((stop - start) * s for (start, stop), s in zip(box, oriented.spacing_mm, strict=True))
    return min(PANEL / edges_mm[1], 2 * PANEL / edges_mm[2])


def _draw_box(panel: Image.Image, view: View, box: Box, shape: Sequence[int]) -> None:
    """A thin frame where the second row lies; the page runs against the right, anterior and superior."""
    (left, right), (top, bottom) = (
        tuple(round((shape[axis] - edge) / shape[axis] * pixels) for edge in reversed(box[axis]))
        for axis, pixels in ((view.across, panel.width), (view.down, panel.height))
    )
    ImageDraw.Draw(panel).rectangle((left, top, right - 1, bottom - 1), outline=FAINT)


def _hang(rows: Sequence[Sequence[Image.Image]], captions: Sequence[str]) -> Image.Image:
    """Panels in columns as wide as the widest, side by side; a caption above each column."""
    widths = [max(max(panel.width for panel in column), 120) for column in zip(*rows, strict=True)]
    heights = [max(panel.height for panel in row) for row in rows]
    size = (sum(widths) + GAP * (len(widths) - 1), CAPTION + sum(heights) + GAP * (len(rows) - 1))
    page = Image.new("RGB", size, PAPER)
    draw, left = ImageDraw.Draw(page), 0
    for column, (caption, wide) in enumerate(zip(captions, widths, strict=True)):
        draw.text((left + wide // 2, 2), caption, INK, font(14), "ma")
        top = CAPTION
        for row, high in zip(rows, heights, strict=True):
            panel = row[column]
            page.paste(panel, (left + (wide - panel.width) // 2, top))
            top += high + GAP
        left += wide + GAP
    return page
