"""What OHIF shows of a segmentation in Orthanc: each label on its slices, pixel for pixel, by name and colour."""

import base64
from dataclasses import replace

import numpy as np
import pytest
from pydicom import dcmread

from medseg.inference.measure import measure
from medseg.io.dicom_seg import write_dicom_seg
from medseg.io.dicom_sr import write_dicom_sr
from tests.masks import ALGORITHM, ORGANS, mask_on, series_volume
from tests.phantoms import counted_volume, orientations
from tests.viewers.ct import CT_LABELS, ct_series, segment_ct
from tests.viewers.orthanc import stow

pytestmark = pytest.mark.viewers


def shown(browse, viewer, volume, seg, picture, k):
    """The one segmentation that OHIF holds after opening the study, and its label numbers on the volume's grid."""
    url = f"{viewer}/viewer?StudyInstanceUIDs={seg.StudyInstanceUID}"
    answer = browse("ohif.mjs", url=url, screenshot=str(picture), slice=k)
    assert [request for request in answer["requests"] if not request.startswith((viewer, "blob:", "data:"))] == []
    (segmentation,) = answer["result"]
    columns, rows, slices = volume.geometry.shape_ijk
    uids = [str(dcmread(path, specific_tags=["SOPInstanceUID"]).SOPInstanceUID) for path in volume.series.paths]
    numbers = np.zeros((columns, rows, slices), np.uint8)
    for plane in segmentation["slices"]:
        k = uids.index(plane["instance"])
        numbers[:, :, k] = np.frombuffer(base64.b64decode(plane["pixels"]), np.uint8).reshape(rows, columns).T
        lps = volume.geometry.ijk_to_ras_mm(np.array([0.0, 0.0, k])) * [-1, -1, 1]
        assert plane["position"] == pytest.approx(lps, abs=1e-3)
    assert len(segmentation["slices"]) == slices
    return segmentation, numbers


def stored(archive, volume, folder, mask, kind="BINARY", algorithm=ALGORITHM):
    """The series, its segmentation and the report, sent to Orthanc by STOW-RS."""
    seg = write_dicom_seg(mask, volume.series, folder / "seg.dcm", algorithm, kind)
    write_dicom_sr(measure(mask, volume), mask.table, seg, volume.series, folder / "sr.dcm", algorithm)
    for paths in ([*volume.series.paths], [folder / "seg.dcm", folder / "sr.dcm"]):
        answer = stow(archive[0], paths)
        assert len(answer["00081199"]["Value"]) == len(paths)  # stored
        assert not answer.get("00081198", {}).get("Value")  # refused
    return seg


def test_binary_segments_lie_on_their_slices_with_names_and_colours(archive, browse, scan, tmp_path, pictures):
    mask = mask_on(scan.geometry)
    seg = stored(archive, scan, tmp_path, mask)
    segmentation, numbers = shown(browse, archive[1], scan, seg, pictures / "ohif_binary.png", 6)
    assert [(s["number"], s["label"]) for s in segmentation["segments"]] == list(enumerate(ORGANS.names, start=1))
    for segment, label in zip(segmentation["segments"], ORGANS, strict=True):
        assert segment["colour"] == pytest.approx(label.colour, abs=2)
        assert ((numbers == segment["number"]) == (mask.voxels == label.value)).all()


def test_a_labelmap_of_slices_that_are_no_whole_bytes(archive, browse, tmp_path, pictures):
    """37 x 29 pixels: of BINARY frames OHIF 3.13.2 takes wrong bytes, so `segment` points to this form."""
    volume = series_volume(tmp_path / "s", counted_volume((37, 29, 9), orientations()["LPS"]), seed="odd")
    mask = mask_on(volume.geometry)
    seg = stored(archive, volume, tmp_path, mask, "LABELMAP")
    segmentation, numbers = shown(browse, archive[1], volume, seg, pictures / "ohif_odd.png", 4)
    assert [s["label"] for s in segmentation["segments"]] == list(ORGANS.names)
    assert (numbers == mask.voxels).all()


def test_a_labelmap_keeps_the_values(archive, browse, scan, tmp_path, pictures):
    """Names and places; OHIF 3.13.2 takes a label map's colours one segment too early, so that they are not asked."""
    volume = series_volume(tmp_path / "s", scan, seed="labelmap")
    mask = mask_on(volume.geometry)
    seg = stored(archive, volume, tmp_path, mask, "LABELMAP")
    segmentation, numbers = shown(browse, archive[1], volume, seg, pictures / "ohif_labelmap.png", 6)
    assert [(s["number"], s["label"]) for s in segmentation["segments"]] == [(x.value, x.name) for x in ORGANS]
    assert (numbers == mask.voxels).all()


@pytest.mark.data
def test_a_real_ct_with_body_and_bone_by_threshold(archive, browse, tmp_path, pictures):
    """The labels come through a bundle and `segment`, whose network was made for this test: it compares with -300 and
    200 HU and knows no anatomy.
    """
    volume = ct_series()
    mask = segment_ct(volume, tmp_path / "bundle")
    hu = volume.voxels[0]
    wanted = np.where(hu > 200, 2, np.where(hu > -300, 1, 0))
    assert (mask.voxels != wanted).mean() < 1e-4  # the network computes in float32
    seg = stored(archive, volume, tmp_path, mask, algorithm=replace(ALGORITHM, name="thresholds_ct_for_tests"))
    segmentation, numbers = shown(browse, archive[1], volume, seg, pictures / "ohif_ct.png", 14)
    assert [s["label"] for s in segmentation["segments"]] == list(CT_LABELS.names)
    assert (numbers == mask.voxels).all()
