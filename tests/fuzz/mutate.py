"""Changes that know nothing of a format, and helpers for those that do."""

from __future__ import annotations

import gzip
import random
import struct
from collections.abc import Callable, Sequence

INTEGERS = (0, 1, 2, 3, 4, 7, 8, 15, 16, 127, 128, 255, 256, 348, 540, 32767, 32768, 65535, 2**31 - 1, 2**31, 2**32 - 1)
FLOATS = (0.0, -0.0, 1.0, -1.0, 0.5, 1e-30, 1e30, -1e30, 3.4e38, float("nan"), float("inf"), float("-inf"), 352.0)
_SIZES = {"b": 8, "B": 8, "h": 16, "H": 16, "i": 32, "I": 32, "q": 64, "Q": 64}


def number_of(rng: random.Random, form: str) -> float | int:
    """A boundary value that a struct format holds."""
    if form in "fd":
        return rng.choice(FLOATS)
    bits = _SIZES[form]
    value = rng.choice((*INTEGERS, -1, -2, rng.getrandbits(bits))) % 2**bits
    return value - 2**bits if form.islower() and value >= 2 ** (bits - 1) else value


def flip_bits(rng: random.Random, data: bytes) -> bytes:
    edited = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8)) if data else 0):
        edited[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(edited)


def flip_bits_of_the_head(rng: random.Random, data: bytes) -> bytes:
    """Where headers are."""
    return flip_bits(rng, data[:400]) + data[400:]


def overwrite(rng: random.Random, data: bytes) -> bytes:
    place = rng.randrange(len(data) + 1)
    new = rng.choice((bytes(8), b"\xff" * 8, rng.randbytes(rng.randrange(1, 40))))
    return data[:place] + new + data[place + len(new) :]


def truncate(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.choice((rng.randrange(len(data) + 1), rng.randrange(min(len(data), 600) + 1), len(data) - 1))]


def delete_block(rng: random.Random, data: bytes) -> bytes:
    place = rng.randrange(len(data) + 1)
    return data[:place] + data[place + rng.choice((1, 2, 4, 16, 100)) :]


def insert_block(rng: random.Random, data: bytes) -> bytes:
    place = rng.randrange(len(data) + 1)
    return data[:place] + rng.randbytes(rng.choice((1, 2, 4, 16, 100))) + data[place:]


def double_block(rng: random.Random, data: bytes) -> bytes:
    place, length = rng.randrange(len(data) + 1), rng.choice((1, 4, 16, 100))
    return data[: place + length] + data[place:]


def swap_blocks(rng: random.Random, data: bytes) -> bytes:
    length = rng.choice((1, 4, 16))
    if len(data) < 2 * length:
        return data
    a, b = sorted(rng.sample(range(len(data) - length + 1), 2))
    if b < a + length:
        return data
    return data[:a] + data[b : b + length] + data[a + length : b] + data[a : a + length] + data[b + length :]


GENERIC = (
    *(flip_bits, flip_bits_of_the_head, overwrite, truncate, delete_block, insert_block, double_block, swap_blocks),
)


def put_numbers(fields: Sequence[tuple[int, str]], end: str = "<") -> Callable[[random.Random, bytes], bytes]:
    """A change that sets one of the fields (place, struct format) to a boundary value."""

    def set_a_field(rng: random.Random, data: bytes) -> bytes:
        place, form = rng.choice(fields)
        if place + struct.calcsize(form) > len(data):
            return data
        edited = bytearray(data)
        struct.pack_into(end + form, edited, place, number_of(rng, form))
        return bytes(edited)

    return set_a_field


def zipped(change: Callable[[random.Random, bytes], bytes]) -> Callable[[random.Random, bytes], bytes]:
    """The same change, to what a gzip file holds; plain files as they are."""

    def inside(rng: random.Random, data: bytes) -> bytes:
        try:
            plain = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
        except Exception:  # damaged by an earlier change
            return data
        changed = change(rng, plain)
        return gzip.compress(changed, 1, mtime=0) if plain is not data else changed

    inside.__name__ = change.__name__
    return inside


def repack(rng: random.Random, data: bytes) -> bytes:
    """Another level, or two members, of gzip: the same content."""
    if data[:2] != b"\x1f\x8b":
        return data
    try:
        plain = gzip.decompress(data)
    except Exception:  # damaged by an earlier change
        return data
    cut = rng.randrange(len(plain) + 1)
    if rng.random() < 0.5:
        return gzip.compress(plain, rng.choice((0, 1, 9)), mtime=rng.getrandbits(31))
    return gzip.compress(plain[:cut], 1) + gzip.compress(plain[cut:], 6)
