"""Which of several candidate volumes is meant: the only one there can be, or the one that the user names."""

from __future__ import annotations

from collections.abc import Sequence

from medseg.domain.errors import SeriesError
from medseg.io.dicom_scan import Scan
from medseg.io.dicom_series import Stack

_FEW = 4  # fewer slices are rarely the scan that is meant


def pick(scan: Scan, series: str | None, modality: str | None) -> tuple[Stack, tuple[str, ...]]:
    """The volume that is meant, and notes on what was passed over for it. Nothing is ever merged.

    series:   a SeriesInstanceUID, a SeriesNumber, a place in the listing (from 1) or a key of it.
    modality: what the model takes; where some candidates are of it, the others are no candidates.
    Raises: SeriesError with a listing where more than one is left, or none is called `series`.
    """
    stacks = scan.stacks
    left = _named(scan, series) if series is not None else _likely(stacks, modality)
    if len(left) > 1:
        how = (
            "give --series with the number or the key"
            if series is None
            else f"--series {series} fits them all, give the key"
        )
        raise SeriesError(
            f"{scan.root}: holds {len(left)} volumes that may be meant: {listing(stacks, left)}; {how} "
            "(medseg dicom ls tells more)"
        )
    (chosen,) = left
    others = [stack for stack in stacks if stack is not chosen]
    if not others:
        return chosen, ()
    return chosen, (
        f"used of {len(stacks)} in this place: {listing(stacks, left)}; passed over: {listing(stacks, others)}",
    )


def listing(stacks: Sequence[Stack], some: Sequence[Stack]) -> str:
    """Some of the stacks with their numbers and keys, on one line."""
    numbers = {id(stack): n for n, stack in enumerate(stacks, 1)}
    return "; ".join(f"{numbers[id(stack)]}: {stack} [{stack.key}]" for stack in some)


def _likely(stacks: Sequence[Stack], modality: str | None) -> list[Stack]:
    """The candidates of the first rank that has some: whole scans, any volumes, anything at all."""
    kinds = ("volume", "projection")
    wanted = [s for s in stacks if s.headers[0].modality == modality and s.kind in kinds] if modality else []
    if wanted and all(stack.kind == "projection" for stack in wanted):
        return wanted
    volumes = [stack for stack in wanted or stacks if stack.kind == "volume"]
    scans = [stack for stack in volumes if len(stack.headers) >= _FEW and not _is_secondary(stack)]
    return scans or volumes or list(stacks)


def _is_secondary(stack: Stack) -> bool:
    return stack.headers[0].image_type[:2] == ("DERIVED", "SECONDARY")


def _named(scan: Scan, series: str) -> list[Stack]:
    text = series.strip().lower()
    found = [stack for stack in scan.stacks if text in (stack.headers[0].series_uid, stack.key)]
    if not found and text.isdecimal():
        found = [
            stack
            for n, stack in enumerate(scan.stacks, 1)
            if int(text) == n or stack.headers[0].series_number == int(text)
        ]
    if not found:
        raise SeriesError(
            f"{scan.root}: no series {series} among {len(scan.stacks)}: {listing(scan.stacks, scan.stacks)}; give "
            "--series with one of the numbers or keys"
        )
    return found
