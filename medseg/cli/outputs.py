"""Which files a run will write, settled before any work starts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from medseg.cli.forms import FILES, FORMS, form_of, form_of_file, no_series, parse_forms, require_form
from medseg.domain.errors import OutputError, UsageError

if TYPE_CHECKING:
    from medseg.domain.volume import Volume
    from medseg.io.journal import Journal

_UNWRITTEN = (
    ".jpg", ".jpeg", ".bmp", ".gif", ".nrrd", ".nhdr", ".mha", ".mhd", ".hdr", ".img", ".mgh", ".mgz", ".npy", ".npz",
    ".zip",
)  # fmt: skip


@dataclass(frozen=True)
class Extras:
    """What is written beside the mask.

    labels: programs whose label tables are written: "itksnap", "slicer".
    split:  a folder with one mask for each label.
    probabilities: a map of each label's.
    """

    statistics: bool = False
    preview: bool = False
    labels: tuple[str, ...] = ()
    split: bool = False
    probabilities: bool = False


@dataclass(frozen=True)
class Plan:
    """One input and its outputs; None where not asked for.

    masks:  form and file of each mask, the first one first.
    tables: program, ending and file of each label table.
    split:  the folder of the single labels' masks.
    """

    source: Path
    case: str
    masks: tuple[tuple[str, Path], ...]
    statistics: Path | None = None
    preview: Path | None = None
    tables: tuple[tuple[str, str, Path], ...] = ()
    split: Path | None = None
    probabilities: Path | None = None

    @property
    def mask(self) -> Path:
        """The first mask."""
        return self.masks[0][1]

    @property
    def folder(self) -> Path:
        """Where all outputs lie, those of the single labels one level deeper."""
        return self.mask.parent

    @property
    def outputs(self) -> tuple[Path, ...]:
        """All files that are written, the masks first; of the single labels the folder."""
        tables = [path for _, _, path in self.tables]
        others = [path for path in (self.statistics, self.preview, self.split, self.probabilities) if path is not None]
        return (*(path for _, path in self.masks), *tables, *others)

    def files(self) -> dict[str, Path]:
        """What of the outputs is there, by name relative to the folder; of the single labels each file."""
        split = sorted(self.split.iterdir()) if self.split is not None and self.split.is_dir() else []
        files = [path for path in self.outputs if path != self.split] + split
        return {path.relative_to(self.folder).as_posix(): path for path in files if path.is_file()}

    @property
    def names(self) -> tuple[str, ...]:
        """Of the outputs that are files, relative to the folder, the first mask's first."""
        return tuple(path.name for path in self.outputs if path != self.split)

    def require_kind(self, volume: Volume) -> None:
        """Raises: UsageError if this image's mask cannot be written in one of the forms."""
        for form, path in self.masks:
            require_form(form, path, self.source, volume)


def plan_outputs(
    inputs: Sequence[Path],
    output: Path,
    types: str,
    extras: Extras,
    overwrite: bool,
    series: bool = True,
    case_of: Callable[[Path], str] | None = None,
    also_read: Sequence[Path] = (),
) -> list[Plan]:
    """One plan for each input.

    types:  forms with commas between, see `FORMS`; "auto" goes by the input.
    series: the inputs themselves must be the series that DICOM outputs refer to.
    case_of: the name that the outputs of an input are called after; `case_name` where not given.
    also_read: further inputs, such as the other images of a case.
    Raises: UsageError if two inputs would share a name, an output is an input, -o and -t name different formats, or a
    DICOM object is asked for of what is no series; OutputError if an output exists or cannot be written.
    """
    from medseg.io.files import require_writable
    from medseg.io.images import case_name, may_be_series
    from medseg.io.label_tables import LABEL_TABLES

    names = parse_forms(types)
    if unknown := [name for name in extras.labels if name not in LABEL_TABLES]:
        raise UsageError(f"--labels {unknown[0]}: give {' or '.join(LABEL_TABLES)}, or both with a comma between")
    single = is_file_name(output)
    if single and len(inputs) > 1:
        raise UsageError(f"-o {output}: one file for {len(inputs)} inputs; give a folder")
    folder = output_folder(output)
    plans: list[Plan] = []
    for source in inputs:
        case = (case_of or case_name)(source)
        beside = case_name(output) if single else case
        own = dict.fromkeys(form_of(source) if name == "auto" else name for name in names)
        forms = [form_of_file(output, names)] if single else list(own)
        for form in forms:
            if series and FORMS[form].of_series and not may_be_series(source):
                raise no_series(form, source)
        plans.append(
            Plan(
                source,
                case,
                tuple((form, output if single else folder / f"{case}{FORMS[form].suffix}") for form in forms),
                folder / f"{beside}_statistics.json" if extras.statistics else None,
                folder / f"{beside}_preview.png" if extras.preview else None,
                tuple(
                    (program, ending, folder / f"{beside}_seg{ending}" if not single else folder / f"{beside}{ending}")
                    for program in extras.labels
                    for ending in LABEL_TABLES[program]
                ),
                folder / (beside if single else f"{case}_seg") if extras.split else None,
                folder / f"{beside}_prob.nii.gz" if extras.probabilities else None,
            )
        )
    _require_distinct(plans)
    require_no_input(planned_files(plans), [*inputs, *also_read])
    require_writable(folder)
    if not overwrite:
        require_absent(plans)
    for path in (path for plan in plans for path in plan.outputs):
        _exists(path)
    return plans


def planned_files(plans: Sequence[Plan]) -> Iterator[Path]:
    """All that may be written: the outputs, the folders of single masks with what lies in them, and the journal."""
    from medseg.io.journal import NAME

    for folder in dict.fromkeys(plan.folder for plan in plans):
        yield folder / NAME
    for plan in plans:
        yield from plan.outputs
        if plan.split is not None:
            with suppress(OSError):
                yield from plan.split.iterdir()


def require_no_input(outputs: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Raises: UsageError if an output is an input, by whatever path."""
    from medseg.io.same_file import input_replaced

    found = input_replaced(outputs, inputs)
    if found is not None:
        raise UsageError(f"{found}: is an input and would be written over; choose another output")


def sweep_before(plans: Sequence[Plan]) -> None:
    """Remove what killed runs left half-written under names that this run writes, also among single masks."""
    from medseg.io.files import sweep

    by_folder: dict[Path, set[str]] = {}
    for plan in plans:
        by_folder.setdefault(plan.folder, set()).update(plan.names)
    for folder, names in by_folder.items():
        sweep(folder, names)
    for plan in plans:
        if plan.split is not None:
            sweep(plan.split)


def is_file_name(output: Path) -> bool:
    """Whether `-o` names the mask's file, not a folder."""
    return output.name.lower().endswith(FILES)


def output_folder(output: Path) -> Path:
    """The folder that all outputs go to.

    Raises: UsageError for what is called like a file of a kind that is not written.
    """
    if is_file_name(output):
        return output.parent
    if output.suffix.lower() in _UNWRITTEN and not output.is_dir():
        raise UsageError(
            f"-o {output}: no mask is written as {output.suffix}; give a folder, or a name that ends in "
            f"{', '.join(dict.fromkeys(FILES))}"
        )
    return output


def require_absent(
    plans: Sequence[Plan], journal: Journal | None = None, resume: bool = False, overwrite: bool = False
) -> None:
    """Raises: OutputError if an output exists that neither `overwrite` nor, with `resume`, the journal allows."""
    for plan in plans:
        entry = journal.latest.get(plan.names[0]) if journal is not None else None
        known = entry is not None and bool(entry.outputs)
        for path in plan.outputs:
            if overwrite or (resume and known) or not _exists(path):
                continue
            way = "--resume to go on with a run that was stopped, --overwrite" if known else "--overwrite"
            raise OutputError(f"{path}: exists already; give {way} or another output")


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
