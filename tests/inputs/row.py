"""One row of the table of inputs: what is given to `medseg segment`, and what must come of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Make = Callable[[Path], "Path | Sequence[Path]"]


@dataclass(frozen=True, eq=False)
class Accepted:
    """What a run that went well gave for its first input.

    source: the input that was made.
    mask:   the voxels of the mask file, its axes as nibabel gives them (columns, rows and planes of a TIFF).
    affine_ras: of the mask file; None for a picture.
    report: of `--json`.
    """

    source: Path
    mask: NDArray[Any]
    affine_ras: NDArray[np.float64] | None
    report: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Row:
    """An input, and its outcome.

    number:    of the row in the design's table; several rows may share one.
    title:     the input in words, as the documentation has it.
    make:      (empty folder) -> the path or paths given to `medseg segment`.
    exit_code: 0 where the input is accepted as it is.
    says:      a regular expression that the refusal matches, or, where accepted, the notes of the report (joined by
               "; "); "" asks for nothing.
    twin:      as `make`, without the fault: accepted. Asked for wherever exit_code is not 0.
    options:   of every run of the row, its twin's included.
    answer:    options that answer the doubt: with them the same input is accepted.
    then:      as `says`, for the notes of the answered run.
    check:     assertions on what is accepted: the input itself, or where it is refused, the answered run, or the twin.
    bundle:    one of those of `tests.inputs.running.bundles`.
    command:   the whole command line for a path, where it is not `medseg segment`; nothing is read back from it.
    memory_bytes: what the machine is said to have left.
    """

    number: int
    title: str
    make: Make
    exit_code: int
    says: str
    twin: Make | None = None
    options: tuple[str, ...] = ()
    answer: tuple[str, ...] = ()
    then: str = ""
    check: Callable[[Accepted], None] | None = None
    bundle: str = "organs"
    command: Callable[[Path], Sequence[object]] | None = None
    memory_bytes: int | None = None

    def __post_init__(self) -> None:
        assert self.exit_code == 0 or self.twin is not None, f"row {self.number} ({self.title}) needs a twin"

    def __str__(self) -> str:
        return f"{self.number} {self.title}"
