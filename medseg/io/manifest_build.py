"""A manifest from folders of images and masks."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from medseg.domain.errors import InputError, UsageError
from medseg.domain.manifest import Case, Manifest, Split, split_of
from medseg.io.endings import PICTURE_ENDINGS
from medseg.io.images import case_name

ENDINGS = (".nii.gz", ".nii", *PICTURE_ENDINGS)


@dataclass(frozen=True)
class Layout:
    """How a data set lies in its folder; all paths are relative to that folder.

    images, masks: folders of files with the same stems.
    index:         a CSV file with a column "id" (the stems) and the columns named next.
    kind_column:   what becomes a case's kind.
    group_column:  what becomes a case's group; without it every case is its own.
    splits:        group -> split, where the source fixes them; without it a group's split follows from its name.
    """

    images: str
    masks: str
    index: str | None = None
    kind_column: str | None = None
    group_column: str | None = None
    splits: Mapping[str, Split] | None = None

    def __post_init__(self) -> None:
        if (self.kind_column or self.group_column) and not self.index:
            raise UsageError("a kind or group column needs an index: name the CSV file that has it")


def build_manifest(head: Manifest, folder: Path, layout: Layout) -> Manifest:
    """`head` with the cases found in the folder, by rising id; cases that `head` has are left out.

    Raises: UsageError if a folder or the index is missing; InputError, listing up to five, if an image has no mask or
            the reverse, two files share a stem, or files and index do not name the same cases.
    """
    images, masks = _by_stem(folder / layout.images), _by_stem(folder / layout.masks)
    _require_none(sorted(images.keys() - masks.keys()), f"{folder / layout.masks}: no mask for image", "add the masks")
    _require_none(
        sorted(masks.keys() - images.keys()), f"{folder / layout.images}: no image for mask", "add the images"
    )
    if not images:
        raise InputError(f"{folder / layout.images}: holds no {', '.join(ENDINGS)} file; name the folder of the images")
    rows = _read_index(folder / layout.index, layout, images.keys()) if layout.index else {}
    groups = {rows[id][1] if id in rows else id for id in images}
    _require_none(sorted((layout.splits or {}).keys() - groups), "--split: no group", "groups are cases, or of --index")
    cases = []
    for id in sorted(images):
        kind, group = rows.get(id, ("", id))
        pair = images[id], masks[id]
        image, mask = (path.relative_to(folder).as_posix() for path in pair)
        split = (layout.splits or {}).get(group)
        if split is None and layout.splits and layout.group_column:
            raise UsageError(f"group {group!r} has no split; splits are given for {', '.join(sorted(layout.splits))}")
        cases.append(
            Case(id, image, mask, group, split or split_of(group), (sha256_of(pair[0]), sha256_of(pair[1])), kind)
        )
    return replace(head, cases=tuple(cases))


def sha256_of(path: Path) -> str:
    """Hexadecimal digest of a file's bytes.

    Raises: InputError if it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the file and its rights") from error


def _by_stem(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder; name the folders of images and masks below the data's folder")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if not path.name.lower().endswith(ENDINGS) or path.name.startswith("."):  # "._x.nii.gz" is macOS, no image
            continue
        stem = case_name(path)
        if stem in found:
            raise InputError(f"{folder}: {found[stem].name} and {path.name} share a stem; keep one of them")
        found[stem] = path
    return found


def _read_index(path: Path, layout: Layout, ids: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Case id -> (kind, group)."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            columns, rows = reader.fieldnames or [], list(reader)
    except OSError as error:
        raise UsageError(
            f"{path}: cannot be read ({error.strerror}); name the index inside the data's folder"
        ) from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{path}: is no CSV in UTF-8 ({error}); save it as one") from error
    wanted = [column for column in ("id", layout.kind_column, layout.group_column) if column]
    lacking = [column for column in wanted if column not in columns]
    if lacking:
        raise UsageError(f"{path}: has no column {', '.join(lacking)}; its columns are {', '.join(columns)}")
    _require_none(
        [row["id"] for row in rows if not all(row[c] for c in wanted)], f"{path}: empty cells for", "fill them"
    )
    found: dict[str, tuple[str, str]] = {}
    for row in rows:
        if row["id"] in found:
            raise InputError(f"{path}: {row['id']} stands there twice; keep one row a case")
        kind = row[layout.kind_column] if layout.kind_column else ""
        found[row["id"]] = kind, row[layout.group_column] if layout.group_column else row["id"]
    _require_none(sorted(set(ids) - found.keys()), f"{path}: no row for", "add the rows")
    _require_none(sorted(found.keys() - set(ids)), f"{path}: no files for", "add the files or drop the rows")
    return found


def _require_none(ids: list[str], what: str, fix: str) -> None:
    if ids:
        rest = f" and {len(ids) - 5} more" if len(ids) > 5 else ""
        raise InputError(f"{what} {', '.join(ids[:5])}{rest} ({len(ids)} in all); {fix}")
