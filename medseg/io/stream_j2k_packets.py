"""Packet headers of JPEG 2000: how many bytes each code block has (ISO/IEC 15444-1, B.10)."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import log2


class PacketError(Exception):
    """The stream does not follow the standard."""


@dataclass(eq=False)
class Band:
    """The code blocks of one band in one precinct, as far as packets have told of them."""

    key: tuple[int, int, int, int]
    shape: tuple[int, int]
    inclusion: _TagTree = field(init=False)
    planes: _TagTree = field(init=False)
    lengths: dict[int, int] = field(default_factory=dict)
    passes: dict[int, int] = field(default_factory=dict)
    bits: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.inclusion, self.planes = _TagTree(*self.shape), _TagTree(*self.shape)


def read_packet(data: bytes, at: int, layer: int, bands: list[Band], has_eph: bool) -> int:
    """Where the packet ends; its lengths are added to the bands."""
    if data[at : at + 2] == b"\xff\x91":
        at += 6
    bits = _Bits(data, at)
    added: list[int] = []
    if bits.read(1):
        for band in bands:
            for n in range(band.shape[0] * band.shape[1]):
                length = _block_header(bits, band, n, layer)
                if length is not None:
                    added.append(length)
    at = bits.end()
    if has_eph and data[at : at + 2] == b"\xff\x92":
        at += 2
    at += sum(added)
    if at > len(data):
        raise PacketError("a packet is longer than its tile")
    return at


def _block_header(bits: _Bits, band: Band, n: int, layer: int) -> int | None:
    """How many bytes this packet adds to a code block; None where it adds none."""
    row, column = divmod(n, band.shape[1])
    if n in band.passes:
        if not bits.read(1):
            return None
    else:
        if not band.inclusion.is_at_most(bits, row, column, layer):
            return None
        planes = 0
        while not band.planes.is_at_most(bits, row, column, planes):
            planes += 1
            if planes > 80:
                raise PacketError("a code block has too many empty bit planes")
        band.bits[n], band.passes[n], band.lengths[n] = 3, 0, 0
    passes = _passes(bits)
    while bits.read(1):
        band.bits[n] += 1
    width = band.bits[n] + int(log2(passes))
    if width > 32:
        raise PacketError("a code block has no length")
    length = bits.read(width)
    band.passes[n] += passes
    band.lengths[n] += length
    return length


def _passes(bits: _Bits) -> int:
    """Table B.4."""
    if not bits.read(1):
        return 1
    if not bits.read(1):
        return 2
    if (value := bits.read(2)) < 3:
        return 3 + value
    if (value := bits.read(5)) < 31:
        return 6 + value
    return 37 + bits.read(7)


class _Bits:
    """The bits of a packet header, where a byte after FF has seven (B.10.1)."""

    def __init__(self, data: bytes, at: int):
        self.data, self.at, self.left, self.byte = data, at, 0, 0

    def read(self, count: int) -> int:
        value = 0
        for _ in range(count):
            if not self.left:
                if self.at >= len(self.data):
                    raise PacketError("ends inside a packet")
                self.left = 7 if self.byte == 0xFF else 8
                self.byte = self.data[self.at]
                self.at += 1
            self.left -= 1
            value = value << 1 | self.byte >> self.left & 1
        return value

    def end(self) -> int:
        """The first byte after the header."""
        return self.at + (self.byte == 0xFF)


class _TagTree:
    """B.10.2: values of a grid, of which a packet tells no more than whether they are at most so much."""

    def __init__(self, rows: int, columns: int):
        self.levels: list[list[list[list[int]]]] = []  # of each node the least that its value can be, and whether it is
        while True:
            self.levels.append([[[0, 0] for _ in range(columns)] for _ in range(rows)])
            if rows * columns == 1:
                break
            rows, columns = (rows + 1) // 2, (columns + 1) // 2

    def is_at_most(self, bits: _Bits, row: int, column: int, most: int) -> bool:
        least = 0
        for level in range(len(self.levels) - 1, -1, -1):
            node = self.levels[level][row >> level][column >> level]
            node[0] = max(node[0], least)
            while not node[1] and node[0] <= most:
                if bits.read(1):
                    node[1] = 1
                else:
                    node[0] += 1
            least = node[0]
            if not node[1]:
                return False
        return least <= most
