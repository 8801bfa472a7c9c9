"""Values of DICOM elements, each as what it must be or as None; nothing here raises for what a file says."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

Numbers = tuple[float, ...]
OTHER_UNIT = "?"


def values(dataset: Any, keyword: str) -> list[Any] | None:
    """The values of an element, one or many; None where there is none or they cannot be understood.

    A name is one value, though pydicom's can be iterated over, letter by letter.
    """
    try:
        value = dataset.get(keyword)
        if value is None or value == "":
            return None
    except Exception:  # pydicom converts on access, and a damaged value raises as the conversion happens to
        return None
    return list(value) if isinstance(value, Sequence) and not isinstance(value, (str, bytes)) else [value]


def numbers(dataset: Any, keyword: str, count: int) -> Numbers | None:
    """So many finite numbers."""
    try:
        found = tuple(float(value) for value in values(dataset, keyword) or ())
    except (ValueError, TypeError, OverflowError):
        return None
    return found if len(found) == count and all(map(math.isfinite, found)) else None


def number(dataset: Any, keyword: str) -> float | None:
    """None where the element is missing or empty, NaN where it is there and no finite number."""
    if keyword not in dataset or dataset.get_item(keyword).value in (None, b"", ""):
        return None
    found = numbers(dataset, keyword, 1)
    return found[0] if found else math.nan


def count(dataset: Any, keyword: str, default: int) -> int:
    """A whole number, the default where there is none."""
    found = numbers(dataset, keyword, 1)
    return int(found[0]) if found else default


def code(dataset: Any, keyword: str) -> str:
    """A code string, so that it may stand in a message; empty where it is missing or free text."""
    text = str((values(dataset, keyword) or [""])[0]).strip()
    return text if re.fullmatch(r"[A-Z0-9_ ]{1,16}", text) else ""


def unit(dataset: Any, keyword: str) -> str:
    """A unit as a code, so that it may stand in a message; OTHER_UNIT for free text, empty where it is missing."""
    text = str((values(dataset, keyword) or [""])[0]).strip().upper()
    return text if re.fullmatch(r"[A-Z0-9_ ]{0,16}", text) else OTHER_UNIT


def uid(dataset: Any, keyword: str) -> str:
    """A UID, empty where it is missing or none."""
    text = str((values(dataset, keyword) or [""])[0]).strip()
    return text if re.fullmatch(r"[0-9.]{1,64}", text) else ""


def uid_text(dataset: Any, keyword: str) -> str:
    """A UID as the file has it, valid or not; empty where it is missing. For comparison, not for messages."""
    return str((values(dataset, keyword) or [""])[0]).strip(" \0")


def is_uid(text: str) -> bool:
    """Whether a text is a valid UID (PS3.5 9.1)."""
    return len(text) <= 64 and re.fullmatch(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+", text) is not None


def texts(dataset: Any, keyword: str) -> tuple[str, ...]:
    """All values of an element as texts without blanks around them; empty where there is none."""
    return tuple(str(value).strip() for value in values(dataset, keyword) or ())


def text(dataset: Any, keyword: str) -> str:
    r"""Return all values of the element on one line, with a \ between them as in the file; may name a patient."""
    try:
        whole = "\\".join(str(value) for value in values(dataset, keyword) or ())
    except Exception:  # a name is decoded only now, by a character set that the file got wrong
        return ""
    return " ".join(whole.split())


def item(dataset: Any, keyword: str) -> Any | None:
    """The first item of a sequence."""
    found = values(dataset, keyword)
    return found[0] if found and hasattr(found[0], "get_item") else None
