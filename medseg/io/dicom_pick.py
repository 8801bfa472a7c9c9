"""Which of several candidate volumes is meant: the only one there can be, or the one that the user names."""

from __future__ import annotations

from collections.abc import Sequence

from medseg.domain.errors import SeriesError
from medseg.domain.words import counted
from medseg.io.dicom_continuation import continuing
from medseg.io.dicom_scan import Scan
from medseg.io.dicom_series import Stack

_FEW = 4  # fewer slices are rarely the scan that is meant
_MOST_LISTED = 12


def pick(scan: Scan, series: str | None, modality: str | None) -> tuple[Stack, tuple[str, ...]]:
    """The volume that is meant, and notes on what was passed over for it. Nothing is ever merged.

    series:   a SeriesInstanceUID, a SeriesNumber, a place in the listing (from 1) or a key of it.
    modality: what the model takes; where some candidates are of it, the others are no candidates.
    Raises: SeriesError with a listing where more than one is left, none is called `series`, images of several patients
    or studies share a series, or what would be passed over continues the slices of what is left.
    """
    stacks = scan.stacks
    left = _named(scan, series) if series is not None else _likely(stacks, modality)
    _require_one_owner(scan, left, series)
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
    if series is None and (lost := continuing(chosen, others)):
        home = next(stack for stack in others if any(header is lost[0] for header in stack.headers))
        count, first = counted(len(lost), "image"), lost[0].name.split(": ")[-1]
        raise SeriesError(
            f"{scan.root}: {count} of {listing(stacks, [home])} would fill or continue the slices of "
            f"{listing(stacks, left)} (the first is {first}); export the series again, or choose one part with --series"
        )
    if not others:
        return chosen, chosen.notes
    return chosen, (
        f"used of {len(stacks)} in this place: {listing(stacks, left)}; passed over: {listing(stacks, others)}",
        *chosen.notes,
    )


def _require_one_owner(scan: Scan, left: Sequence[Stack], series: str | None) -> None:
    """Raises: SeriesError where a series holds images of several patients or studies and none of them was chosen."""
    for stack in left:
        if not stack.owner or (series is not None and len(left) == 1):
            continue
        parts = [other for other in scan.stacks if other.group == stack.group]
        what = "studies" if stack.owner.startswith("study") else "patients"
        raise SeriesError(
            f"{scan.root}: images of several {what} have one SeriesInstanceUID: {listing(scan.stacks, parts, 3)}; "
            "separate them, or give --series with the key of one"
        )


def listing(stacks: Sequence[Stack], some: Sequence[Stack], most: int = _MOST_LISTED) -> str:
    """Some of the stacks with their numbers and keys, on one line."""
    numbers = {id(stack): n for n, stack in enumerate(stacks, 1)}
    more = f"; and {len(some) - most} more" if len(some) > most else ""
    return "; ".join(f"{numbers[id(stack)]}: {stack} [{stack.key}]" for stack in some[:most]) + more


def _likely(stacks: Sequence[Stack], modality: str | None) -> list[Stack]:
    """The candidates of the first rank that has some: whole scans, any volumes, anything at all."""
    kinds = ("volume", "projection")
    wanted = [s for s in stacks if s.headers[0].modality == modality and s.kind in kinds] if modality else []
    if wanted and all(stack.kind == "projection" for stack in wanted):
        return wanted
    volumes = [stack for stack in wanted or stacks if stack.kind == "volume"]
    scans = [stack for stack in volumes if len(stack.headers) >= _FEW]
    return _without_derived(scans) or volumes or list(stacks)


def _without_derived(scans: list[Stack]) -> list[Stack]:
    """The scans without series computed from others, unless one of these has more slices than any that is left."""
    originals = [stack for stack in scans if not _is_secondary(stack)]
    most = max((len(stack.headers) for stack in originals), default=0)
    own = {stack.group for stack in originals}
    derived = [stack for stack in scans if _is_secondary(stack)]
    return scans if any(len(s.headers) > most or s.group in own for s in derived) else originals


def _is_secondary(stack: Stack) -> bool:
    return stack.headers[0].image_type[:2] == ("DERIVED", "SECONDARY")


def _named(scan: Scan, series: str) -> list[Stack]:
    text = series.strip().lower()
    found = [s for s in scan.stacks if text == s.key or text in {h.series_uid.lower() for h in s.headers}]
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
