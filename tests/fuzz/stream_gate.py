"""DICOM series of nine slices in every compressed transfer syntax, one stream of them damaged."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.compressed import STREAM_DAMAGE, UIDS, compressed_series, in_stream
from tests.fuzz.dicom_gate import set_the_preamble
from tests.fuzz.harness import Gate


def _files(name: str) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        return {path.name: path.read_bytes() for path in compressed_series(Path(folder) / "s", name)}


def gate() -> Gate:
    """One seed for each transfer syntax; the harmless change leaves the streams as they are."""
    seeds = tuple(map(_files, UIDS))
    return Gate("streams", seeds, tuple(map(in_stream, STREAM_DAMAGE)), (set_the_preamble,), tuple(UIDS))
