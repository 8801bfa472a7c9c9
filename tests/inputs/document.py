"""docs/inputs.md, written from the rows: `python -m tests.inputs.document`."""

from __future__ import annotations

import tempfile
from importlib import import_module
from pathlib import Path

from tests.inputs.row import Row
from tests.inputs.running import Told, bundles, run_row

DOCUMENT = Path(__file__).parents[2] / "docs" / "inputs.md"
HEAD = """# What is read and what is refused

A correct mask or a clear refusal, never a mask that is silently wrong. Every row is a test, and this table is written
by the tests (`make docs-inputs`): each input is made and given to `medseg segment`, and so is its twin without the
fault, which is read. A refusal is one line on standard error and leaves no file.

| # | input | outcome | exit code | message, or notes of the report |
| --- | --- | --- | --- | --- |
"""


def rows() -> list[Row]:
    """All rows there are, by number."""
    found = []
    for name in ("dicom_rows", "nifti_rows"):
        try:
            found += import_module(f"tests.inputs.{name}").ROWS
        except ModuleNotFoundError as error:
            if error.name != f"tests.inputs.{name}":
                raise
    return sorted(found, key=lambda row: row.number)


def line(row: Row, told: Told) -> str:
    """The row of the table."""
    outcome = {0: "read", 4: "read in part"}.get(told.code, "refused")
    if row.answer:
        outcome += f"; read with `{' '.join(row.answer)}`"
    message = " / ".join(part for part in (told.message, told.answered) if part)
    return f"| {row.number} | {row.title} | {outcome} | {told.code} | {_cell(message)} |\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def main() -> None:
    """Run all rows and write the document."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name) / "home"
        bundles(home)
        lines = []
        for n, row in enumerate(rows()):
            folder = Path(name) / str(n)
            folder.mkdir()
            lines.append(line(row, run_row(row, home, folder)))
    DOCUMENT.write_text(HEAD + "".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
