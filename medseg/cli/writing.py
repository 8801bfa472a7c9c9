"""The planned outputs of one case, each file whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medseg.cli.outputs import Plan
    from medseg.domain.algorithm import Algorithm
    from medseg.domain.labels import LabelMap
    from medseg.domain.volume import Volume
    from medseg.inference.segment import Segmentation


def write_outputs(plan: Plan, volume: Volume, result: Segmentation, algorithm: Algorithm) -> None:
    """The masks and what else was asked for; the masks come first. The same case gives the same bytes each time."""
    import json

    from medseg.io.files import write_text

    write_masks(plan, volume, result.label_map, algorithm)
    if plan.statistics is not None:
        timed = ("seconds", "backend")  # which hold what was measured, another time something else
        facts = {name: value for name, value in result.report.to_dict().items() if name not in timed}
        write_text(plan.statistics, json.dumps(facts, indent=1) + "\n")
    if plan.preview is not None:
        from medseg.reports.preview import write_preview

        write_preview(volume, result.label_map, plan.preview)


def write_masks(plan: Plan, volume: Volume, label_map: LabelMap, algorithm: Algorithm) -> None:
    """The mask in each form, its label tables and the masks of its single labels."""
    segmentation = None
    for form, path in plan.masks:
        if form in ("dicom-seg", "dicom-labelmap"):
            from medseg.io.dicom_seg import write_dicom_seg

            assert volume.series is not None  # as `require_kind` saw to
            written = write_dicom_seg(
                label_map, volume.series, path, algorithm, "BINARY" if form == "dicom-seg" else "LABELMAP"
            )
            segmentation = written if segmentation is None or form == "dicom-seg" else segmentation
        elif form == "dicom-sc":
            _write_capture(volume, label_map, path, algorithm)
        elif form == "dicom-sr":
            continue  # refers to the segmentation, so it comes last
        else:
            _write_file(form, label_map, path, volume)
    for path in (path for form, path in plan.masks if form == "dicom-sr"):
        from medseg.inference.measure import measure
        from medseg.io.dicom_sr import write_dicom_sr

        assert volume.series is not None
        measures = measure(label_map, volume)  # of the whole mask, as the segments are, also where boxes were given
        write_dicom_sr(measures, label_map.table, segmentation, volume.series, path, algorithm)
    for program, ending, path in plan.tables:
        from medseg.io.label_tables import LABEL_TABLES, write_label_table

        write_label_table(label_map.table, LABEL_TABLES[program][ending], path)
    if plan.split is not None:
        _write_split(label_map, plan, volume)


def _write_file(form: str, label_map: LabelMap, path: Path, volume: Volume | None) -> None:
    if form == "nifti":
        from medseg.io.nifti import write_nifti

        write_nifti(label_map, path, volume)
    elif form == "seg-nrrd":
        from medseg.io.seg_nrrd import write_seg_nrrd

        write_seg_nrrd(label_map, path)
    else:
        from medseg.io.picture import write_picture_mask

        write_picture_mask(label_map, path)


def _write_capture(volume: Volume, label_map: LabelMap, path: Path, algorithm: Algorithm) -> None:
    from medseg.io.dicom_sc import write_dicom_sc
    from medseg.reports.capture import capture

    assert volume.series is not None  # as `require_kind` saw to
    write_dicom_sc(capture(volume, label_map), label_map, volume.series, path, algorithm)


def _write_split(label_map: LabelMap, plan: Plan, volume: Volume) -> None:
    """A mask of 0 and 1 for each label, called after it; NIfTI, or pictures where the first mask is one."""
    import numpy as np

    from medseg.cli.forms import FORMS
    from medseg.domain.labels import Label, LabelMap, LabelTable

    assert plan.split is not None
    first = plan.masks[0][0]
    form = first if first in ("png", "tiff") else "nifti"
    names = [label.name.replace("/", "_") for label in label_map.table]
    for label, name in zip(label_map.table, names, strict=True):
        alone = name if [n.lower() for n in names].count(name.lower()) == 1 else f"{name} {label.value}"
        table = LabelTable((Label(1, label.name, label.colour, label.category, label.type, label.modifier),))
        own = LabelMap((label_map.voxels == label.value).astype(np.uint8), label_map.geometry, table)
        _write_file(form, own, plan.split / f"{alone}{FORMS[form].endings[0]}", volume)
