"""Volumes as a structured report on the segments."""

import highdicom as hd
import numpy as np
import pytest

from medseg.domain.labels import LabelMap
from medseg.inference.measure import measure
from medseg.io.dicom_seg import write_dicom_seg
from medseg.io.dicom_sr import write_dicom_sr
from tests.masks import ALGORITHM, ORGANS, mask_on, series_volume
from tests.phantoms import counted_volume, oblique


@pytest.fixture(scope="module", params=["MR", "CT"])
def scan(request, tmp_path_factory):
    affine = oblique(np.diag([0.7, 0.9, 2.5, 1.0]), (8, 5, -6))
    return series_volume(tmp_path_factory.mktemp("s") / "s", counted_volume((9, 7, 11), affine), request.param)


def report(scan, mask, folder, kind="BINARY", name="sr.dcm"):
    seg = write_dicom_seg(mask, scan.series, folder / "seg.dcm", ALGORITHM, kind)
    write_dicom_sr(measure(mask, scan), ORGANS, seg, scan.series, folder / name, ALGORITHM)
    return seg, hd.sr.srread(folder / name)


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
def test_each_label_has_its_volume_and_points_to_its_segment(scan, tmp_path, kind):
    mask = mask_on(scan.geometry)
    seg, sr = report(scan, mask, tmp_path, kind)
    groups = sr.content.get_volumetric_roi_measurement_groups()
    assert [group.tracking_identifier for group in groups] == list(ORGANS.names)
    for group, label, number in zip(groups, ORGANS, seg.segment_numbers, strict=True):
        (volume,) = group.get_measurements(hd.sr.CodedConcept("118565006", "SCT", "Volume"))
        wanted_mm3 = np.count_nonzero(mask.voxels == label.value) * 0.7 * 0.9 * 2.5
        assert volume.value == pytest.approx(wanted_mm3, abs=2e-3)
        assert volume.unit.value == "mm3"
        assert group.referenced_segment.referenced_sop_instance_uid == seg.SOPInstanceUID
        assert group.referenced_segment.referenced_segment_numbers == [number]
        assert group.tracking_uid == seg.get_segment_description(number).tracking_uid
        mean = group.get_measurements(hd.sr.CodedConcept("112031", "DCM", "Attenuation Coefficient"))
        assert len(mean) == (scan.modality == "CT")  # only CT values have a unit
        if mean:
            assert mean[0].value == pytest.approx(scan.voxels[0][mask.voxels == label.value].mean(), abs=1e-3)
            assert mean[0].unit.value == "[hnsf'U]"


def test_an_absent_label_has_no_volume_and_no_mean(scan, tmp_path):
    empty = LabelMap(np.zeros(scan.geometry.shape_ijk, np.uint8), scan.geometry, ORGANS)
    _, sr = report(scan, empty, tmp_path)
    for group in sr.content.get_volumetric_roi_measurement_groups():
        assert [m.value for m in group.get_measurements()] == [0]


def test_the_same_mask_gives_the_same_bytes(scan, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    for name in "ab":
        report(scan, mask_on(scan.geometry), tmp_path, name=name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
