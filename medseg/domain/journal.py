"""What a batch notes of each case, as lines that tell whether they are whole."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from medseg.domain.errors import UsageError
from medseg.domain.spec import from_plain, to_plain

State = Literal["started", "done", "refused"]


@dataclass(frozen=True)
class Work:
    """What the outputs of a case follow from: sha256 of the input's files, the bundle's files, and all settings."""

    input: str
    bundle: str
    settings: str


@dataclass(frozen=True)
class Entry:
    """One line: a case came into a state.

    mask:    name of the case's first mask in the output folder, which no other case of that folder has.
    work:    None of a case that was refused before its input could be read.
    outputs: sha256 by file name, relative to the output folder; "" before a file is written.
    reason:  of a refusal, as it was told.
    backend: what ran the network, where that was measured and not asked for: a batch that goes on goes on with it.

    Names are compared with names that were planned; nothing is ever opened by them.
    """

    mask: str
    case: str
    state: State
    work: Work | None = None
    outputs: dict[str, str] = field(default_factory=dict)
    reason: str = ""
    backend: str = ""

    def is_of(self, work: Work, planned: Iterable[str], found: Mapping[str, str]) -> bool:
        """Whether the case was finished, and neither what it follows from nor its outputs have changed since.

        planned: names of the outputs that are wanted now; found: sha256 by name of what lies on disk.
        """
        whole = all(name in self.outputs for name in planned)
        unchanged = all(found.get(name) == digest for name, digest in self.outputs.items())
        return self.state == "done" and self.work == work and whole and unchanged

    def to_line(self) -> bytes:
        """JSON with a check of itself, and the end of the line."""
        plain = to_plain(self)
        return json.dumps({**plain, "check": _check(plain)}, sort_keys=True).encode() + b"\n"


def entry_of(line: bytes) -> Entry | None:
    """The entry of a line that `to_line` wrote; None for a line that is torn, damaged or something else.

    >>> entry_of(Entry("a_seg.png", "a", "refused", reason="too small").to_line()).reason
    'too small'
    >>> entry_of(Entry("a_seg.png", "a", "done").to_line()[:-3]) is None
    True
    """
    try:
        plain = json.loads(line)
        if not isinstance(plain, dict) or plain.pop("check", None) != _check(plain):
            return None
        return from_plain(Entry, plain, "journal")
    except (ValueError, RecursionError, UsageError):
        return None


def _check(plain: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]
