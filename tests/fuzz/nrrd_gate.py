"""NRRD, raw and gzip: text fields and what stands behind them."""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable

import numpy as np

from tests.fuzz.harness import Gate
from tests.fuzz.mutate import GENERIC

_VOXELS = np.arange(60, dtype="<i2").reshape(3, 4, 5) * 37 - 900
_HEAD = """NRRD0004
# Complete NRRD file format specification at:
type: short
dimension: 3
space: left-posterior-superior
sizes: 3 4 5
space directions: (0.5,0,0) (0,0.75,0) (0,0.1,2)
kinds: domain domain domain
endian: little
encoding: raw
space origin: (4,-5,6.5)

"""
_WORDS = (
    *("", "0", "-1", "1", "2", "3", "5", "nan", "inf", "1e400", "999999999", '"mm"', "(1,0,0)", "(0,0,0)", "none"),
    *("raw", "gzip", "hex", "float", "double", "block", "big", "list", "RAS", "LPS", "scanner-xyz", "a.raw", "LIST"),
)
_NAMES = (
    *("type", "dimension", "space", "sizes", "space directions", "kinds", "endian", "encoding", "space origin"),
    *("space units", "data file", "byte skip", "line skip", "spacings", "space dimension", "thicknesses"),
)


def _lines(change: Callable[[random.Random, list[bytes]], None]) -> Callable[[random.Random, bytes], bytes]:
    def edit(rng: random.Random, data: bytes) -> bytes:
        head, gap, voxels = data.partition(b"\n\n")
        lines = head.split(b"\n")
        change(rng, lines)
        return b"\n".join(lines) + gap + voxels

    edit.__name__ = change.__name__
    return edit


def delete_a_line(rng: random.Random, lines: list[bytes]) -> None:
    del lines[rng.randrange(len(lines))]


def double_a_line(rng: random.Random, lines: list[bytes]) -> None:
    lines.insert(rng.randrange(len(lines) + 1), rng.choice(lines))


def set_a_word(rng: random.Random, lines: list[bytes]) -> None:
    place = rng.randrange(len(lines))
    name, colon, value = lines[place].partition(b": ")
    words = value.split(b" ")
    words[rng.randrange(len(words))] = rng.choice(_WORDS).encode()
    lines[place] = name + colon + b" ".join(words)


def add_a_field(rng: random.Random, lines: list[bytes]) -> None:
    value = " ".join(rng.choice(_WORDS) for _ in range(rng.choice((1, 1, 3))))
    lines.insert(rng.randrange(1, len(lines) + 1), f"{rng.choice(_NAMES)}: {value}".encode())


def add_a_comment(rng: random.Random, lines: list[bytes]) -> None:
    lines.insert(rng.randrange(1, len(lines) + 1), b"# " + rng.randbytes(20).replace(b"\n", b"").replace(b"\r", b""))


def add_free_words(rng: random.Random, lines: list[bytes]) -> None:
    lines.insert(rng.randrange(1, len(lines) + 1), f"key{rng.random()}:=Doe: {rng.random()}".encode())


def add_content(rng: random.Random, lines: list[bytes]) -> None:
    if not any(line.startswith(b"content") for line in lines):
        lines.insert(rng.randrange(1, len(lines) + 1), b"content: words")


def shuffle_fields(rng: random.Random, lines: list[bytes]) -> None:
    """The standard lets `dimension` come first only; readers of this project do not care."""
    rest = lines[1:]
    rng.shuffle(rest)
    lines[1:] = rest


def capitals(rng: random.Random, lines: list[bytes]) -> None:
    for place, line in enumerate(lines):
        if line.startswith((b"endian", b"encoding", b"kinds", b"space:")):
            lines[place] = line.title() if rng.random() < 0.5 else line


def add_bytes_behind(rng: random.Random, data: bytes) -> bytes:
    return data + bytes(rng.randrange(1, 200))


def gate() -> Gate:
    """Raw and gzip, LPS and RAS."""
    raw = _VOXELS.tobytes(order="F")
    head = _HEAD.encode()
    real = _VOXELS.astype(">f4").tobytes(order="F")
    seeds = (
        {"scan.nrrd": head + raw},
        {"scan.nrrd": head.replace(b"encoding: raw", b"encoding: gzip") + gzip.compress(raw, mtime=0)},
        {
            "scan.nrrd": head.replace(b"short", b"float")
            .replace(b"little", b"big")
            .replace(b"left-posterior", b"right-anterior")
            + real
        },
    )
    edits = tuple(map(_lines, (delete_a_line, double_a_line, set_a_word, add_a_field)))
    fine = tuple(map(_lines, (add_a_comment, add_free_words, add_content, shuffle_fields, capitals)))
    return Gate("nrrd", seeds, (*GENERIC, *edits, *edits), (*fine, add_bytes_behind))
