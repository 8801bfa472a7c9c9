"""Which files a run will write, settled before any work starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from medseg.domain.errors import OutputError, UsageError

if TYPE_CHECKING:
    from medseg.domain.volume import Volume
    from medseg.inference.segment import Segmentation

ENDINGS = {"nifti": ".nii.gz", "png": ".png", "tiff": ".tif"}
_ENDINGS_OF = {"nifti": (".nii.gz", ".nii"), "png": (".png",), "tiff": (".tif", ".tiff")}
_FILES = tuple(ending for endings in _ENDINGS_OF.values() for ending in endings)


@dataclass(frozen=True)
class Plan:
    """One input and its outputs; None where not asked for."""

    source: Path
    case: str
    mask: Path
    statistics: Path | None
    preview: Path | None

    @property
    def outputs(self) -> tuple[Path, ...]:
        """All files that are written, the mask first."""
        return tuple(path for path in (self.mask, self.statistics, self.preview) if path is not None)

    def require_kind(self, volume: Volume) -> None:
        """Raises: UsageError if the mask of a volume shall go into a PNG, which holds one plane."""
        if self.mask.suffix.lower() == ".png" and volume.geometry.spatial_dims == 3:
            raise UsageError(f"{self.mask}: a PNG holds one plane, {self.source} is a volume; choose .nii.gz or .tif")


def plan_outputs(
    inputs: Sequence[Path], output: Path, form: str, statistics: bool, preview: bool, overwrite: bool
) -> list[Plan]:
    """One plan for each input.

    Raises: UsageError if two inputs would share a name, an output is an input, or -o and -t name different formats;
    OutputError if an output exists or cannot be written.
    """
    if form not in ("auto", *ENDINGS):
        raise UsageError(f"-t {form}: give auto, {', '.join(ENDINGS)}")
    from medseg.io.files import require_writable
    from medseg.io.images import case_name

    single = output.name.lower().endswith(_FILES)
    if single and len(inputs) > 1:
        raise UsageError(f"-o {output}: one file for {len(inputs)} inputs; give a folder")
    if single and form != "auto" and not output.name.lower().endswith(_ENDINGS_OF[form]):
        raise UsageError(f"-o {output}: its ending does not say {form}, as -t does; leave one of them out")
    folder = output.parent if single else output
    plans: list[Plan] = []
    for source in inputs:
        case = case_name(source)
        mask = output if single else folder / f"{case}_seg{_ending(source, form)}"
        beside = case_name(output) if single else case
        plans.append(
            Plan(
                source,
                case,
                mask,
                folder / f"{beside}_statistics.json" if statistics else None,
                folder / f"{beside}_preview.png" if preview else None,
            )
        )
    _require_distinct(plans)
    sources = {source.absolute() for source in inputs}
    for path in (path for plan in plans for path in plan.outputs):
        if path.absolute() in sources:
            raise UsageError(f"{path}: is an input and would be written over; choose another output")
        if _exists(path) and not overwrite:
            raise OutputError(f"{path}: exists already; give --overwrite or another output")
    require_writable(folder)
    return plans


def write_outputs(plan: Plan, volume: Volume, result: Segmentation) -> None:
    """The mask and what else was asked for, each file whole or not at all; the mask comes first."""
    import json

    from medseg.io.files import write_text
    from medseg.io.nifti import write_nifti
    from medseg.io.picture import write_picture_mask

    if plan.mask.name.lower().endswith(_ENDINGS_OF["nifti"]):
        write_nifti(result.label_map, plan.mask, volume)
    else:
        write_picture_mask(result.label_map, plan.mask)
    if plan.statistics is not None:
        write_text(plan.statistics, json.dumps(result.report.to_dict(), indent=1) + "\n")
    if plan.preview is not None:
        from medseg.reports.preview import write_preview

        write_preview(volume, result.label_map, plan.preview)


def _ending(source: Path, form: str) -> str:
    from medseg.io.images import PICTURE_ENDINGS

    if form != "auto":
        return ENDINGS[form]
    name = source.name.lower()
    return next((".tif" if "tif" in e else e for e in PICTURE_ENDINGS if name.endswith(e)), ".nii.gz")


def _require_distinct(plans: Sequence[Plan]) -> None:
    seen: dict[Path, Plan] = {}
    for plan in plans:
        for path in plan.outputs:
            other = seen.setdefault(path, plan)
            if other is not plan:
                raise UsageError(
                    f"{other.source} and {plan.source} would both become {path}; rename one or run them apart"
                )


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:  # a name too long for the file system, a folder that may not be searched
        raise OutputError(f"{path}: cannot be written ({error.strerror}); choose another output") from error
