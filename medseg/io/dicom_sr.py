"""Measurements as a DICOM structured report (TID 1500) that refers to the segments they were taken in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medseg.domain.algorithm import Algorithm
from medseg.domain.labels import Code, Label, LabelTable
from medseg.domain.report import Measure
from medseg.domain.series import Series
from medseg.io.dicom_derived import equipment, save_dicom
from medseg.io.dicom_quiet import quiet_pydicom
from medseg.io.dicom_seg import SERIES_NUMBER, UNSPECIFIED, coded
from medseg.io.dicom_sources import source_headers
from medseg.io.dicom_uid import derived_uid

# LOINC's names of an examination of no named region; CID 100 has them.
_PROCEDURES = {
    "CT": Code("25045-6", "CT unspecified body region", "LN"),
    "MR": Code("25056-3", "MRI unspecified body region", "LN"),
}
_IMAGING = Code("363679005", "Imaging")


def write_dicom_sr(
    measures: Sequence[Measure],
    table: LabelTable,
    segmentation: Any,
    series: Series,
    path: Path,
    algorithm: Algorithm,
    headers: Sequence[Any] | None = None,
) -> None:
    """The volume of each label in mm3, and in CT its mean attenuation, as a report on the segmentation.

    measures:     one for each label, of the whole mask.
    segmentation: what `write_dicom_seg` gave.
    headers:      what `source_headers` gave, where the series was read before.
    Raises: as `write_dicom_seg`.
    """
    headers = source_headers(series) if headers is None else headers
    save_dicom(report_of(measures, table, segmentation, headers, algorithm), path)


def report_of(
    measures: Sequence[Measure], table: LabelTable, segmentation: Any, headers: Sequence[Any], algorithm: Algorithm
) -> Any:
    """Return the data set; arguments as of `write_dicom_sr`."""
    with quiet_pydicom():
        return _report(measures, table, segmentation, headers, algorithm)


def _report(
    measures: Sequence[Measure], table: LabelTable, segmentation: Any, headers: Sequence[Any], algorithm: Algorithm
) -> Any:
    import highdicom as hd

    seed = str(segmentation.SOPInstanceUID)
    modality = str(headers[0].get("Modality", ""))
    labels = {label.value: label for label in table}
    numbers = dict(zip(table.values, segmentation.segment_numbers, strict=True))
    described = {d.segment_number: d for d in segmentation.SegmentSequence}
    groups = [
        _group(m, labels[m.value], described[numbers[m.value]], segmentation, headers[0], modality) for m in measures
    ]
    device = hd.sr.DeviceObserverIdentifyingAttributes(
        uid=derived_uid(seed, "observer"),
        name="medseg",
        manufacturer_name="medseg",
        model_name=algorithm.name[:64],
        serial_number=algorithm.digest[:16] or "0",
    )
    report = hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(
            observer_device_context=hd.sr.ObserverContext(_dicom("121007", "Device"), device)
        ),
        procedure_reported=coded(_PROCEDURES.get(modality, _IMAGING)),
        imaging_measurements=groups,
    )
    return hd.sr.Comprehensive3DSR(
        evidence=[segmentation, *headers],
        content=report[0],
        series_instance_uid=derived_uid(seed, "report series"),
        series_number=SERIES_NUMBER + 1,
        sop_instance_uid=derived_uid(seed, "report"),
        instance_number=1,
        is_complete=True,
        series_description=f"medseg {algorithm.name} volumes"[:64],
        **equipment(algorithm),
    )


def _group(measure: Measure, label: Label, segment: Any, segmentation: Any, first: Any, modality: str) -> Any:
    """One label: TID 1411."""
    import highdicom as hd
    from pydicom.sr.codedict import codes

    volume_mm3 = round((measure.volume_ml or 0.0) * 1000, 3)
    values = [hd.sr.Measurement(name=codes.SCT.Volume, value=volume_mm3, unit=codes.UCUM.CubicMillimeter)]
    if modality == "CT" and measure.mean_intensity is not None:
        values.append(
            hd.sr.Measurement(
                name=codes.DCM.AttenuationCoefficient,
                value=round(measure.mean_intensity, 3),
                unit=codes.UCUM.HounsfieldUnit,
                derivation=codes.SCT.Mean,
            )
        )
    category = label.category or UNSPECIFIED
    return hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(uid=segment.tracking_uid, identifier=segment.tracking_id),
        referenced_segment=hd.sr.ReferencedSegment(
            sop_class_uid=segmentation.SOPClassUID,
            sop_instance_uid=segmentation.SOPInstanceUID,
            segment_number=segment.segment_number,
            source_series=hd.sr.SourceSeriesForSegmentation(first.SeriesInstanceUID),
        ),
        finding_category=coded(category),
        finding_type=coded(label.type or category),
        measurements=values,
    )


def _dicom(value: str, meaning: str) -> Any:
    return coded(Code(value, meaning, "DCM"))
