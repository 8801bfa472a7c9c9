"""`python -m tests.fuzz.streams [--cases N] [--seed N] [SYNTAX...]`: damaged compressed streams, and what came of them.

One slice of a series has its stream damaged. What is neither refused nor noted and has more than one per cent of its
pixels changed is a failure. Smaller changes, which no checksum can show, are counted.
"""

from __future__ import annotations

import argparse
import io
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread
from pydicom.encaps import encapsulate, generate_frames

from medseg.domain.errors import MedsegError
from medseg.domain.geometry import Geometry
from medseg.domain.volume import Volume
from medseg.io.dicom_write import write_series
from medseg.io.images import read_image
from tests.inputs.dicom_changes import encoded

_FAILURE = 0.01
_SHAPE = (128, 160, 9)  # columns, rows, slices


def phantom(seed: int = 0) -> Volume:
    """Soft shapes that drift from slice to slice, with noise, as 12-bit values of an MR."""
    x, y, z = np.indices(_SHAPE, np.float64)
    rng = np.random.default_rng(seed)
    shapes = 400 * np.sin(x / 9 + z / 6) * np.cos(y / 7 - z / 8) + 900 * (np.hypot(x - 60 - z, y - 80) < 45)
    voxels = np.clip(700 + shapes + rng.normal(0, 25, _SHAPE), 0, 4095).astype(np.int16)
    return Volume(voxels[None], Geometry(_SHAPE, np.diag([-1.0, -1.0, 2.0, 1.0])), "streams")


def _lossy(syntax: str, **options: object) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        dataset = dcmread(path)
        dataset.compress(syntax, generate_instance_uid=False, **options)
        dataset.save_as(path)

    return change


def _baseline(path: Path) -> None:
    dataset, made = dcmread(path), io.BytesIO()
    Image.fromarray((dataset.pixel_array // 16).astype(np.uint8)).save(made, "JPEG", quality=90)
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    _put(dataset, made.getvalue())
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.50"
    dataset.save_as(path)


def _put(dataset: object, stream: bytes) -> None:
    dataset.PixelData = encapsulate([stream + b"\0" * (len(stream) % 2)])  # type: ignore[attr-defined]
    dataset["PixelData"].is_undefined_length = True  # type: ignore[index]


SYNTAXES: dict[str, Callable[[Path], None]] = {
    "RLE": lambda path: encoded("1.2.840.10008.1.2.5")([path]),
    "JPEG Lossless": lambda path: encoded("1.2.840.10008.1.2.4.70")([path]),
    "JPEG-LS": lambda path: encoded("1.2.840.10008.1.2.4.80")([path]),
    "JPEG 2000 lossless": lambda path: encoded("1.2.840.10008.1.2.4.90")([path]),
    "JPEG-LS near-lossless": _lossy("1.2.840.10008.1.2.4.81", jls_error=2),
    "JPEG 2000 lossy": _lossy("1.2.840.10008.1.2.4.91", j2k_cr=[6]),
    "JPEG baseline": _baseline,
}


def a_bit(rng: random.Random, stream: bytes) -> bytes:
    at = rng.randrange(8 * len(stream))
    changed = bytearray(stream)
    changed[at // 8] ^= 1 << at % 8
    return bytes(changed)


def zeros(rng: random.Random, stream: bytes) -> bytes:
    at, length = rng.randrange(len(stream)), rng.choice((1, 8, 64, 512))
    return stream[:at] + bytes(len(stream[at : at + length])) + stream[at + length :]


def a_piece_out(rng: random.Random, stream: bytes) -> bytes:
    at = rng.randrange(len(stream))
    return stream[:at] + stream[at + rng.choice((1, 2, 100)) :]


def a_piece_twice(rng: random.Random, stream: bytes) -> bytes:
    at = rng.randrange(len(stream))
    return stream[: at + rng.choice((1, 2, 100))] + stream[at:]


def bytes_swapped(rng: random.Random, stream: bytes) -> bytes:
    changed = bytearray(stream)
    a, b = rng.randrange(len(stream)), rng.randrange(len(stream))
    changed[a], changed[b] = changed[b], changed[a]
    return bytes(changed)


DAMAGES = (a_bit, a_bit, a_bit, a_bit, zeros, a_piece_out, a_piece_twice, bytes_swapped)


class Series:
    """The phantom in one transfer syntax, in a folder."""

    def __init__(self, name: str, folder: Path):
        self.paths = write_series(phantom(), folder / "s", modality="MR", seed="streams").paths
        for path in self.paths:
            dataset = dcmread(path)
            dataset.BitsStored, dataset.HighBit = 12, 11
            dataset.PixelRepresentation = 0
            dataset.save_as(path)
            SYNTAXES[name](path)
        self.folder = folder / "s"
        self.truth: NDArray[np.generic] = read_image(self.folder).voxels

    def outcome(self, rng: random.Random) -> str:
        """Damage one slice, read, and put it back."""
        path = rng.choice(self.paths)
        kept = path.read_bytes()
        dataset = dcmread(path)
        stream = next(generate_frames(dataset.PixelData, number_of_frames=1))
        _put(dataset, rng.choice(DAMAGES)(rng, stream) or b"\0\0")
        dataset.save_as(path)
        try:
            volume = read_image(self.folder)
        except MedsegError:
            return "refused"
        finally:
            path.write_bytes(kept)
        changed = (volume.voxels != self.truth).mean((0, 1, 2)).max()
        if any("resemble" in note for note in volume.notes):
            return "noted"
        return "unchanged" if changed == 0 else "at most 1 %" if changed <= _FAILURE else "more than 1 %"


def fuzz_streams(name: str, cases: int, seed: int = 0) -> Counter[str]:
    """How many cases ended how."""
    with tempfile.TemporaryDirectory() as folder:
        series = Series(name, Path(folder))
        return Counter(series.outcome(random.Random(f"{name} {seed} {n}")) for n in range(cases))


def main() -> None:
    """Print a table; exit 1 never: what is left is known and published."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("syntaxes", nargs="*", default=list(SYNTAXES))
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    kinds = ("refused", "noted", "unchanged", "at most 1 %", "more than 1 %")
    print(f"| syntax | cases | {' | '.join(kinds)} | seconds |\n|{' --- |' * (len(kinds) + 3)}")
    for name in options.syntaxes:
        started = time.perf_counter()
        found = fuzz_streams(name, options.cases, options.seed)
        counts = " | ".join(str(found[kind]) for kind in kinds)
        print(f"| {name} | {options.cases} | {counts} | {time.perf_counter() - started:.0f} |", flush=True)


if __name__ == "__main__":
    main()
