"""Rows of the table of inputs, run through the real command."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import nibabel as nib
import numpy as np
import tifffile
from PIL import Image

from tests.bundles import cells_bundle, grey_bundle, stored_bundle, volume_bundle
from tests.commands import Outcome, medseg
from tests.inputs.row import Accepted, Make, Row


@dataclass(frozen=True)
class Told:
    """What the documentation says of a row: its exit code and its message, or notes, without this machine's paths."""

    code: int
    message: str
    answered: str = ""


def bundles(home: Path) -> None:
    """What the rows are segmented with: organs (MR, 3-D), ct and pet (the same for CT and PT), grey and cells (2-D)."""
    made = {
        "organs": volume_bundle(),
        "ct": replace(volume_bundle(), name="organs_ct_segmentation", modality="CT"),
        "pet": replace(volume_bundle(), name="organs_pet_segmentation", modality="PT"),
        "grey": grey_bundle(),
        "cells": cells_bundle(),
    }
    for name, bundle in made.items():
        stored_bundle(bundle, home / "bundles" / name, seed=2)


def run_row(row: Row, home: Path, folder: Path) -> Told:
    """The row as it is, its answer and its twin; AssertionError for any other outcome than the row's."""
    accepted: list[Accepted] = []
    paths, done = _run(row, row.make, home, folder / "given")
    assert done.code == row.exit_code, done.err or done.out
    assert "Traceback" not in done.err
    if row.exit_code == 0:
        told = Told(0, _notes(row, paths, done, accepted))
        assert re.search(row.says, told.message), told.message
    else:
        told = Told(row.exit_code, _refusal(row, paths, done, folder / "given"))
    if row.answer:
        paths, done = _run(row, row.make, home, folder / "answered", row.answer)
        assert done.code == 0, done.err
        told = replace(told, answered=_notes(row, paths, done, accepted))
        assert re.search(row.then, told.answered), told.answered
    if row.twin is not None:
        paths, done = _run(row, row.twin, home, folder / "twin")
        assert done.code == 0, f"the twin is refused: {done.err}"
        _notes(row, paths, done, accepted)
    if row.check is not None:
        row.check(accepted[0])
    return told


def _run(row: Row, make: Make, home: Path, folder: Path, answer: Sequence[str] = ()) -> tuple[list[Path], Outcome]:
    folder.mkdir()
    made = make(folder)
    paths = [made] if isinstance(made, Path) else list(made)
    before = _everything(folder)
    if row.command is not None:
        arguments = [*row.command(paths[0]), *row.options, *answer]
    else:
        common = ["-b", row.bundle, "-o", folder / "out", "--json", "-q", "--device", "cpu", "--precision", "fp32"]
        arguments = ["segment", *paths, *common, *row.options, *answer]
    memory: Any = nullcontext()
    if row.memory_bytes is not None:
        memory = patch("medseg.io.memory.available_bytes", lambda: row.memory_bytes)
    with patch.dict(os.environ, {"MEDSEG_HOME": str(home)}), memory:
        done = medseg(*arguments)
    if done.code != 0 and row.command is None:
        assert _everything(folder) == before, "a refusal left files behind"
    return paths, done


def _refusal(row: Row, paths: list[Path], done: Outcome, folder: Path) -> str:
    assert len(done.lines) == 1, done.err
    (line,) = done.lines
    assert line.startswith("medseg: ")
    assert done.out == ""
    assert re.search(row.says, line), line
    assert any(str(path) in line for path in [*paths, folder]), line
    return line.removeprefix("medseg: ").replace(f"{folder}/", "").replace(str(folder), "folder")


def _notes(row: Row, paths: list[Path], done: Outcome, accepted: list[Accepted]) -> str:
    if row.command is not None:
        return ""
    assert done.err == "", done.err
    reports = done.json
    for path, report in zip(paths, reports, strict=True):
        mask = Path(report["outputs"][0])
        accepted.append(Accepted(path, *_read_back(mask), report))
    return "; ".join(reports[0]["notes"])


def _read_back(mask: Path) -> tuple[Any, Any]:
    if mask.name.endswith((".nii", ".nii.gz")):
        image = nib.load(mask)
        return np.asarray(image.dataobj), image.affine
    if mask.suffix == ".png":
        return np.asarray(Image.open(mask)).T, None
    return tifffile.imread(mask).T, None


def _everything(folder: Path) -> dict[Path, bytes | None]:
    """What a refusal must leave as it is; of large files the size."""
    return {
        path: (path.read_bytes() if path.stat().st_size < 1 << 24 else str(path.stat().st_size).encode())
        if path.is_file()
        else None
        for path in folder.rglob("*")
    }
