"""Segmentations of series that are more than upright single slices: tilted, many frames in a file, in a zip."""

import highdicom as hd
import numpy as np
import pytest
from pydicom import dcmread

from medseg.domain.labels import LabelMap
from medseg.domain.volume import Volume
from medseg.io.dicom import read_dicom
from medseg.io.dicom_seg import write_dicom_seg
from medseg.io.dicom_seg_read import read_dicom_seg
from tests.masks import ALGORITHM, ORGANS, mask_on
from tests.series_kinds import KINDS, read_kind, zip_of


def sources(volume: Volume) -> list[tuple[str, int | None, list[float]]]:
    """For each slice of the volume: its instance, its frame there, and its position."""
    assert volume.series is not None
    if not volume.series.frames:
        headers = [dcmread(path, stop_before_pixels=True) for path in volume.series.paths]
        return [(str(h.SOPInstanceUID), None, list(h.ImagePositionPatient)) for h in headers]
    header = dcmread(volume.series.paths[0], stop_before_pixels=True)
    groups = header.PerFrameFunctionalGroupsSequence
    return [
        (str(header.SOPInstanceUID), n, list(groups[n - 1].PlanePositionSequence[0].ImagePositionPatient))
        for n in volume.series.frames
    ]


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
@pytest.mark.parametrize("name", KINDS)
def test_every_frame_lies_on_its_source_and_holds_its_slice(tmp_path, name, kind):
    """Read by hand from the file: the frame's reference, its place, and its pixels are those of one slice."""
    volume = read_kind(name, tmp_path)
    mask, by_source = mask_on(volume.geometry), {}
    mask.voxels[0, 0], mask.voxels[0, 1] = 1, 3  # more than one label in a slice
    write_dicom_seg(mask, volume.series, tmp_path / "seg.dcm", ALGORITHM, kind)
    for k, (uid, frame, position) in enumerate(sources(volume)):
        by_source[uid, frame] = k, position
        assert np.abs(volume.geometry.ijk_to_ras_mm(np.array([0.0, 0, k])) * [-1, -1, 1] - position).max() < 0.01
    seg = hd.seg.segread(tmp_path / "seg.dcm")
    pixels, shown = seg.pixel_array, np.zeros(mask.voxels.shape, np.uint8)
    numbers = dict(enumerate(ORGANS.values, 1))
    for n, group in enumerate(seg.PerFrameFunctionalGroupsSequence):
        (reference,) = group.DerivationImageSequence[0].SourceImageSequence
        frame = reference.get("ReferencedFrameNumber")
        k, position = by_source[reference.ReferencedSOPInstanceUID, None if frame is None else int(frame)]
        assert list(group.PlanePositionSequence[0].ImagePositionPatient) == pytest.approx(position, abs=1e-9)
        if kind == "BINARY":
            value = numbers[int(group.SegmentIdentificationSequence[0].ReferencedSegmentNumber)]
            shown[..., k][pixels[n].T > 0] = value
        else:
            shown[..., k] = pixels[n].T
    assert (shown == mask.voxels).all()
    assert (read_dicom_seg(tmp_path / "seg.dcm", volume.geometry).voxels == mask.voxels).all()


@pytest.mark.parametrize("name", KINDS)
def test_highdicom_gives_the_same_mask_for_the_sources(tmp_path, name):
    volume = read_kind(name, tmp_path)
    mask = mask_on(volume.geometry)
    write_dicom_seg(mask, volume.series, tmp_path / "seg.dcm", ALGORITHM)
    seg, places = hd.seg.segread(tmp_path / "seg.dcm"), sources(volume)
    options = {"combine_segments": True, "assert_missing_frames_are_empty": True}
    if volume.series.frames:
        frames = [frame for _, frame, _ in places]
        theirs = seg.get_pixels_by_source_frame(places[0][0], frames, **options)
    else:
        theirs = seg.get_pixels_by_source_instance([uid for uid, _, _ in places], **options)
    expected = np.zeros(256, np.uint8)
    expected[list(ORGANS.values)] = [1, 2, 3]
    assert (expected[mask.voxels] == theirs.T).all()


def test_the_copies_of_a_zip_live_until_the_segmentation_is_written(tmp_path, monkeypatch):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    volume = read_dicom(zip_of(tmp_path), "scan")
    series, mask = volume.series, LabelMap(mask_on(volume.geometry).voxels, volume.geometry, ORGANS)
    del volume
    write_dicom_seg(mask, series, tmp_path / "seg.dcm", ALGORITHM)
    del series
    assert not list(temporary.iterdir())
    assert b"anary/" not in (tmp_path / "seg.dcm").read_bytes()
