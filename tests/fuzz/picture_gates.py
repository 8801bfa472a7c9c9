"""PNG by its chunks and TIFF by its tags."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import tifffile
from PIL import Image

from tests.fuzz.harness import Gate
from tests.fuzz.mutate import GENERIC, number_of

_GREY = np.arange(63, dtype=np.uint8).reshape(7, 9) * 4
_COLOUR = np.stack([_GREY, _GREY.T.reshape(7, 9), 255 - _GREY], -1)
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
Chunk = tuple[bytes, bytes]


def _png(array: np.ndarray, **options: Any) -> bytes:
    stream = io.BytesIO()
    image = Image.fromarray(array)
    (image.quantize(8) if options.pop("palette", False) else image).save(stream, "PNG", **options)
    return stream.getvalue()


def _chunks(change: Callable[[random.Random, list[Chunk]], None]) -> Callable[[random.Random, bytes], bytes]:
    """A change of the list of chunks, whose checksums are right afterwards."""

    def edit(rng: random.Random, data: bytes) -> bytes:
        chunks, place = [], 8
        while place + 8 <= len(data):
            length, kind = struct.unpack_from(">I4s", data, place)
            chunks.append((kind, data[place + 8 : place + 8 + length]))
            place += 12 + length
        if len(chunks) < 3:  # damaged by an earlier change
            return data
        change(rng, chunks)
        parts = [struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in chunks]
        return data[:8] + b"".join(parts)

    edit.__name__ = change.__name__
    return edit


def delete_a_chunk(rng: random.Random, chunks: list[Chunk]) -> None:
    del chunks[rng.randrange(len(chunks))]


def double_a_chunk(rng: random.Random, chunks: list[Chunk]) -> None:
    chunks.insert(rng.randrange(len(chunks) + 1), rng.choice(chunks))


def swap_chunks(rng: random.Random, chunks: list[Chunk]) -> None:
    a, b = rng.sample(range(len(chunks)), 2)
    chunks[a], chunks[b] = chunks[b], chunks[a]


def set_the_header(rng: random.Random, chunks: list[Chunk]) -> None:
    kind, content = chunks[0]
    place, form = rng.choice(((0, "I"), (4, "I"), (8, "B"), (9, "B"), (10, "B"), (11, "B"), (12, "B")))
    if kind == b"IHDR" and len(content) == 13:
        edited = bytearray(content)
        struct.pack_into(">" + form, edited, place, number_of(rng, form))
        chunks[0] = kind, bytes(edited)


def change_a_chunk(rng: random.Random, chunks: list[Chunk]) -> None:
    place = rng.randrange(len(chunks))
    kind, content = chunks[place]
    chunks[place] = kind, rng.choice(GENERIC)(rng, content) if content else rng.randbytes(4)


def add_a_known_chunk(rng: random.Random, chunks: list[Chunk]) -> None:
    kind = rng.choice((b"tRNS", b"PLTE", b"acTL", b"fcTL", b"eXIf", b"gAMA", b"iCCP", b"zTXt", b"iTXt", b"sBIT"))
    chunks.insert(rng.randrange(1, len(chunks)), (kind, rng.randbytes(rng.choice((0, 1, 2, 6, 8, 26, 30)))))


def add_words(rng: random.Random, chunks: list[Chunk]) -> None:
    chunks.insert(1, (b"tEXt", b"Comment\0" + bytes(rng.choices(range(65, 91), k=30))))


def add_a_private_chunk(rng: random.Random, chunks: list[Chunk]) -> None:
    chunks.insert(rng.choice((1, len(chunks) - 1)), (b"prVt", rng.randbytes(20)))


def add_a_density(rng: random.Random, chunks: list[Chunk]) -> None:
    if all(kind != b"pHYs" for kind, _ in chunks):
        chunks.insert(1, (b"pHYs", struct.pack(">2IB", rng.randrange(1, 9999), rng.randrange(1, 9999), 1)))


def split_the_data(rng: random.Random, chunks: list[Chunk]) -> None:
    place = next((n for n, (kind, _) in enumerate(chunks) if kind == b"IDAT"), None)
    if place is not None:
        content = chunks[place][1]
        cut = rng.randrange(len(content) + 1)
        chunks[place : place + 1] = [(b"IDAT", content[:cut]), (b"IDAT", content[cut:])]


def pack_again(rng: random.Random, chunks: list[Chunk]) -> None:
    places = [n for n, (kind, _) in enumerate(chunks) if kind == b"IDAT"]
    try:
        plain = zlib.decompress(b"".join(chunks[n][1] for n in places))
    except zlib.error:
        return
    for n in reversed(places[1:]):
        del chunks[n]
    chunks[places[0]] = b"IDAT", zlib.compress(plain, rng.choice((0, 1, 9)))


def png_gate() -> Gate:
    """Grey of 1, 8 and 16 bits, colour, palette."""
    arrays = (_GREY, _GREY.astype(np.uint16) * 257, _COLOUR, _GREY > 100)
    seeds = (*({"slide.png": _png(a)} for a in arrays), {"slide.png": _png(_COLOUR, palette=True)})
    edits = (delete_a_chunk, double_a_chunk, swap_chunks, set_the_header, set_the_header, change_a_chunk)
    harmful = (*GENERIC, *map(_chunks, (*edits, add_a_known_chunk)))
    fine = tuple(map(_chunks, (add_words, add_a_private_chunk, add_a_density, split_the_data, pack_again)))
    return Gate("png", seeds, harmful, fine)


# TIFF

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
Entry = tuple[int, int, int, bytes]  # tag, type, count, the four bytes of the value or its place


def _tags(change: Callable[[random.Random, list[Entry], bytearray], None]) -> Callable[[random.Random, bytes], bytes]:
    """A change of the entries of the first page of a little-endian classic TIFF; the page moves to the end."""

    def edit(rng: random.Random, data: bytes) -> bytes:
        if data[:4] != b"II*\0" or len(data) < 8:
            return data
        (page,) = struct.unpack_from("<I", data, 4)
        if page + 2 > len(data):
            return data
        (count,) = struct.unpack_from("<H", data, page)
        if page + 6 + 12 * count > len(data):
            return data
        entries = [struct.unpack_from("<HHI4s", data, page + 2 + 12 * n) for n in range(count)]
        behind = data[page + 2 + 12 * count : page + 6 + 12 * count]
        edited = bytearray(data)
        change(rng, entries, edited)
        edited += bytes(len(edited) % 2)
        struct.pack_into("<I", edited, 4, len(edited))
        edited += struct.pack("<H", len(entries) % 65536)
        for entry in entries:
            edited += struct.pack("<HHI4s", *entry)
        return bytes(edited + behind)

    edit.__name__ = change.__name__
    return edit


def delete_a_tag(rng: random.Random, entries: list[Entry], _: bytearray) -> None:
    if entries:
        del entries[rng.randrange(len(entries))]


def double_a_tag(rng: random.Random, entries: list[Entry], _: bytearray) -> None:
    if entries:
        entries.insert(rng.randrange(len(entries)), rng.choice(entries))


def set_a_tag(rng: random.Random, entries: list[Entry], _: bytearray) -> None:
    if not entries:
        return
    place = rng.randrange(len(entries))
    tag, kind, count, value = entries[place]
    what = rng.randrange(4)
    if what == 0:
        kind = rng.choice((*_SIZES, 0, 13, 16, 99))
    elif what == 1:
        count = int(number_of(rng, "I"))
    elif what == 2:
        value = struct.pack("<I", int(number_of(rng, "I")))
    else:
        value = struct.pack("<2H", int(number_of(rng, "H")), 0)
    entries[place] = tag, kind, count, value


def swap_values(rng: random.Random, entries: list[Entry], _: bytearray) -> None:
    if len(entries) > 1:
        a, b = rng.sample(range(len(entries)), 2)
        entries[a], entries[b] = (entries[a][0], *entries[b][1:]), (entries[b][0], *entries[a][1:])


def add_a_known_tag(rng: random.Random, entries: list[Entry], _: bytearray) -> None:
    tag = rng.choice((254, 259, 262, 266, 274, 277, 284, 317, 320, 322, 323, 324, 325, 338, 339, 330, 347, 34665))
    entries.append((tag, rng.choice((3, 4)), 1, struct.pack("<I", int(number_of(rng, "I")))))
    entries.sort()


def add_a_private_tag(rng: random.Random, entries: list[Entry], _: bytearray) -> None:
    if all(tag < 65000 for tag, *_ in entries):
        entries.append((65000 + rng.randrange(500), 4, 1, rng.randbytes(4)))


def add_an_artist(rng: random.Random, entries: list[Entry], data: bytearray) -> None:
    if any(tag == 315 for tag, *_ in entries):
        return
    place, words = len(data), bytes(rng.choices(range(65, 91), k=20)) + b"\0"
    data += words
    entries.append((315, 2, len(words), struct.pack("<I", place)))
    entries.sort()


def move_the_page(rng: random.Random, _: list[Entry], data: bytearray) -> None:
    data += rng.randbytes(rng.randrange(50))


def add_bytes_behind(rng: random.Random, data: bytes) -> bytes:
    return data + rng.randbytes(rng.randrange(1, 100))


def _tiff(array: np.ndarray, **options: Any) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, array, **{"metadata": None, **options})
    return stream.getvalue()


def _lzw(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "TIFF", compression="tiff_lzw")
    return stream.getvalue()


def tiff_gate() -> Gate:
    """Grey, colour, real numbers, a stack, deflated, tiled, of ImageJ with a pixel size, big-endian, BigTIFF."""
    stack = np.stack([_GREY, 255 - _GREY, _GREY // 2])
    seeds = (
        _tiff(_GREY),
        _tiff(_COLOUR, photometric="rgb"),
        _tiff(_GREY.astype(np.float32) / 7),
        _tiff(stack, photometric="minisblack"),
        _tiff(_GREY, compression="zlib"),
        _tiff(np.kron(_GREY, np.ones((5, 5), np.uint8)), tile=(16, 16)),
        _tiff(_GREY, imagej=True, metadata={"unit": "um"}, resolution=(2, 4)),
        _tiff(_GREY, byteorder=">"),
        _tiff(_GREY, bigtiff=True),
        _lzw(_GREY),
    )
    edits = tuple(
        map(_tags, (delete_a_tag, double_a_tag, set_a_tag, set_a_tag, set_a_tag, swap_values, add_a_known_tag))
    )
    fine = (*map(_tags, (add_a_private_tag, add_an_artist, move_the_page)), add_bytes_behind)
    return Gate("tiff", tuple({"slide.tif": data} for data in seeds), (*GENERIC, *edits), fine)
