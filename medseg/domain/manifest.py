"""A data set described: which images, which masks, what the values mean, who is in which split."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Literal

from medseg.domain.errors import UsageError
from medseg.domain.labels import LabelTable

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class Case:
    """One image and its mask, as paths relative to the manifest's root.

    group:  what must not be torn apart by a split: the patient, or the fold the source gives.
    sha256: of the image file and the mask file.
    kind:   a subset that scores are also told for ("fluo", "glioma"); empty where there is none.
    """

    id: str
    image: str
    mask: str
    group: str
    split: Split
    sha256: tuple[str, str]
    kind: str = ""

    def __post_init__(self) -> None:
        for path in (self.image, self.mask):
            if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts or "\\" in path:
                raise UsageError(f"case {self.id!r}: path {path!r} leaves the data set's folder")
        if not re.fullmatch(r"[\w.-]{1,128}", self.id):
            raise UsageError(f"case id {self.id!r} is not 1 to 128 letters, digits or _.-")


@dataclass(frozen=True)
class Manifest:
    """A labelled data set.

    root:        folder of the files; relative to the manifest, or "MEDSEG_DATA/..." below that variable's folder.
    modality:    of every image: "MR", "CT", "microscopy".
    channels:    1 grey, 3 colour; grey files of a colour set are repeated thrice.
    mask_values: value in the mask files -> label value, where they differ ({255: 1}); JSON keys are strings.
    """

    name: str
    description: str
    source: str
    licence: str
    root: str
    modality: str
    spatial_dims: int
    channels: int
    labels: LabelTable
    cases: tuple[Case, ...]
    mask_values: dict[str, int] | None = None

    def __post_init__(self) -> None:
        if self.spatial_dims not in (2, 3) or self.channels not in (1, 3):
            raise UsageError(f"manifest {self.name}: spatial_dims is 2 or 3 and channels 1 or 3")
        ids = [case.id for case in self.cases]
        twice = sorted({i for i in ids if ids.count(i) > 1}) if len(set(ids)) < len(ids) else []
        if twice:
            raise UsageError(f"manifest {self.name}: case {twice[0]} stands there twice")
        homes: dict[str, str] = {}
        for case in self.cases:
            if homes.setdefault(case.group, case.split) != case.split:
                raise UsageError(f"manifest {self.name}: group {case.group} is in {homes[case.group]} and {case.split}")

    def part(self, split: Split) -> tuple[Case, ...]:
        """The cases of one split, in the manifest's order."""
        return tuple(case for case in self.cases if case.split == split)


def split_of(group: str, validation: float = 0.1, test: float = 0.15) -> Split:
    """The split of a group, from its name alone: adding a case moves no other.

    >>> [split_of(f"patient {n}") for n in range(5)]
    ['train', 'train', 'train', 'train', 'train']
    """
    place = _digest(group) / 2**64
    return "test" if place < test else "validation" if place < test + validation else "train"


@dataclass(frozen=True)
class Fold:
    """One part of a cross-validation: fold `number`, 1..of, is held out and all others train."""

    number: int
    of: int

    def __post_init__(self) -> None:
        if self.of < 2 or not 1 <= self.number <= self.of:
            raise UsageError(f"fold {self}: give K/N, K from 1 to N, N at least 2")

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


def parse_fold(text: str) -> Fold:
    """The fold of a text of the form "K/N".

    >>> parse_fold("2/5")
    Fold(number=2, of=5)
    """
    match = re.fullmatch(r"(\d{1,3})/(\d{1,3})", text)
    if match is None:
        raise UsageError(f"fold {text!r}: give K/N, as 2/5")
    return Fold(int(match[1]), int(match[2]))


def held_out(manifest: Manifest, fold: Fold) -> Manifest:
    """The manifest for one fold: the fold's cases validate, all others train, whatever split they stood in.

    Where the data set has just as many groups as there are folds, each group is a fold, in the order of names; else a
    group's fold follows from its name alone, so adding a case moves no other.
    Raises: UsageError if there are too few groups, so that the fold, or the rest, is empty.
    """
    groups = sorted({case.group for case in manifest.cases})
    if len(groups) == fold.of:
        out = {groups[fold.number - 1]}
    else:
        out = {group for group in groups if _digest(group) % fold.of == fold.number - 1}
    if not out or len(out) == len(groups):
        raise UsageError(f"fold {fold}: {len(groups)} groups of cases are too few; take fewer folds")
    cases = tuple(replace(c, split="validation" if c.group in out else "train") for c in manifest.cases)
    return replace(manifest, cases=cases)


def _digest(group: str) -> int:
    return int.from_bytes(hashlib.sha256(group.encode()).digest()[:8], "big")


def image_digests(cases: Iterable[Case]) -> tuple[str, ...]:
    """By which images are known again, wherever they lie: 12 digits of each file's sha256, sorted."""
    return tuple(sorted({case.sha256[0][:12] for case in cases}))


def is_other_modality(one: str | None, other: str | None) -> bool:
    """Whether both are known and differ, however they are spelled in upper or lower case.

    >>> is_other_modality("CT", "MR"), is_other_modality("mr", "MR"), is_other_modality("CT", "unknown")
    (True, False, False)
    """
    known = [name.casefold() for name in (one, other) if name and name.casefold() != "unknown"]
    return len(set(known)) == 2


def kinds(cases: Iterable[Case]) -> tuple[str, ...]:
    """The named subsets that occur, sorted."""
    return tuple(sorted({case.kind for case in cases if case.kind}))
