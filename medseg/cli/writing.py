"""The planned outputs of one case, each file whole or not at all; DICOM objects are tried before the work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medseg.cli.outputs import Plan
    from medseg.domain.algorithm import Algorithm
    from medseg.domain.labels import LabelMap, LabelTable
    from medseg.domain.volume import Volume
    from medseg.inference.segment import Segmentation


def rehearse_masks(
    forms: Sequence[str], volume: Volume, table: LabelTable | None, algorithm: Algorithm, name: str
) -> Sequence[Any] | None:
    """Try before the work whether the DICOM objects that were asked for can be made of this series.

    forms: of all masks.
    table: the labels that the mask will have; None where they are not known yet.
    name:  how messages call the series.
    Returns: the headers of the series for writing; None where no DICOM object is asked for.
    Raises: InputError if one cannot be made.
    """
    from medseg.cli.forms import FORMS

    forms = [form for form in forms if FORMS[form].of_series]
    if not forms or volume.series is None:
        return None
    from medseg.domain.labels import Label, LabelTable
    from medseg.io.dicom_rehearsal import rehearse

    known = table or LabelTable((Label(1, "label", (255, 255, 255)),))
    return rehearse(forms, volume.series, volume.geometry, known, algorithm, name)


def write_outputs(
    plan: Plan, volume: Volume, result: Segmentation, algorithm: Algorithm, headers: Sequence[Any] | None = None
) -> None:
    """The masks and what else was asked for. The same case gives the same bytes each time.

    headers: what `rehearse_masks` gave.
    Raises: as `_write_all`.
    """
    label_map = result.label_map
    tasks = _file_tasks(plan, volume, label_map)
    if plan.statistics is not None:
        tasks.append((plan.statistics, partial(_write_statistics, plan.statistics, result)))
    if plan.preview is not None:
        tasks.append((plan.preview, partial(_write_preview, plan.preview, volume, label_map)))
    _write_all(plan, [*tasks, *_dicom_tasks(plan, volume, label_map, algorithm, headers)])


def write_masks(
    plan: Plan, volume: Volume, label_map: LabelMap, algorithm: Algorithm, headers: Sequence[Any] | None = None
) -> None:
    """The mask in each form, its label tables and the masks of its single labels.

    headers, Raises: as of `write_outputs`.
    """
    dicom = _dicom_tasks(plan, volume, label_map, algorithm, headers)
    _write_all(plan, [*_file_tasks(plan, volume, label_map), *dicom])


_Task = tuple[Path, Callable[[], None]]


def _write_all(plan: Plan, tasks: Sequence[_Task]) -> None:
    """Write what can be written, one after the other, and refuse the case at the end for what could not.

    A library that fails on one output, as on a header that nobody foresaw, takes neither the others nor other cases.
    Raises: InputError that names the first; ResourceError and OutputError at once: they go for what is left, too.
    """
    from medseg.cli.memory import is_out_of_memory
    from medseg.domain.errors import InputError, MedsegError, OutputError, ResourceError

    failed: list[tuple[Path, Exception]] = []
    for path, task in tasks:
        try:
            task()
        except (ResourceError, OutputError, MemoryError):
            raise
        except Exception as error:
            if is_out_of_memory(error):
                raise
            failed.append((path, error))
    if not failed:
        return
    path, first = failed[0]
    if isinstance(first, MedsegError):
        if len(tasks) == 1:
            raise first
        reason = str(first)
    else:
        from medseg.io.dicom_rehearsal import in_short

        reason = f"it could not be made ({in_short(first)})"
    raise InputError(
        f"{plan.source}: {path.name}: {reason}; {len(tasks) - len(failed)} of {len(tasks)} outputs are written"
    ) from first


def _file_tasks(plan: Plan, volume: Volume, label_map: LabelMap) -> list[_Task]:
    """What needs no DICOM header."""
    from medseg.cli.forms import FORMS
    from medseg.io.label_tables import LABEL_TABLES, write_label_table

    masks = [(form, path) for form, path in plan.masks if not FORMS[form].of_series]
    tasks: list[_Task] = [(path, partial(_write_file, form, label_map, path, volume)) for form, path in masks]
    for program, ending, path in plan.tables:
        tasks.append((path, partial(write_label_table, label_map.table, LABEL_TABLES[program][ending], path)))
    if plan.split is not None:
        tasks.append((plan.split, partial(_write_split, label_map, plan, volume)))
    return tasks


def _dicom_tasks(
    plan: Plan, volume: Volume, label_map: LabelMap, algorithm: Algorithm, headers: Sequence[Any] | None
) -> list[_Task]:
    """The objects of the series; the report last, which refers to a segmentation, a BINARY one if there is one."""
    written: dict[str, Any] = {}

    def segmentation(form: str, path: Path) -> None:
        from medseg.io.dicom_seg import write_dicom_seg

        assert volume.series is not None  # as `require_kind` saw to
        kind: Any = "BINARY" if form == "dicom-seg" else "LABELMAP"
        written[form] = write_dicom_seg(label_map, volume.series, path, algorithm, kind, headers)

    def report(path: Path) -> None:
        from medseg.domain.errors import InputError
        from medseg.inference.measure import measure
        from medseg.io.dicom_sr import write_dicom_sr

        assert volume.series is not None
        refers_to = written.get("dicom-seg", written.get("dicom-labelmap"))
        if refers_to is None:
            raise InputError("there is no segmentation that it could refer to")
        measures = measure(label_map, volume)  # of the whole mask, as the segments are, also where boxes were given
        write_dicom_sr(measures, label_map.table, refers_to, volume.series, path, algorithm, headers)

    tasks: list[_Task] = []
    for form, path in sorted(plan.masks, key=lambda mask: mask[0] == "dicom-sr"):
        if form in ("dicom-seg", "dicom-labelmap"):
            tasks.append((path, partial(segmentation, form, path)))
        elif form == "dicom-sc":
            tasks.append((path, partial(_write_capture, volume, label_map, path, algorithm, headers)))
        elif form == "dicom-sr":
            tasks.append((path, partial(report, path)))
    return tasks


def _write_statistics(path: Path, result: Segmentation) -> None:
    import json

    from medseg.io.files import write_text

    timed = ("seconds", "backend")  # which hold what was measured, another time something else
    facts = {name: value for name, value in result.report.to_dict().items() if name not in timed}
    write_text(path, json.dumps(facts, indent=1) + "\n")


def _write_preview(path: Path, volume: Volume, label_map: LabelMap) -> None:
    from medseg.reports.preview import write_preview

    write_preview(volume, label_map, path)


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


def _write_capture(
    volume: Volume, label_map: LabelMap, path: Path, algorithm: Algorithm, headers: Sequence[Any] | None
) -> None:
    from medseg.io.dicom_sc import write_dicom_sc
    from medseg.reports.capture import capture

    assert volume.series is not None  # as `require_kind` saw to
    write_dicom_sc(capture(volume, label_map), label_map, volume.series, path, algorithm, headers)


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
