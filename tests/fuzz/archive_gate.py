"""Zips of a bundle: their bytes damaged, and their members renamed, doubled, linked and swollen."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import stat
import struct
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from unittest.mock import patch

from medseg.bundle.archive import unpack
from medseg.domain.errors import BundleError
from tests.bundle import hostile, zoo
from tests.fuzz.made import Made, Maker
from tests.fuzz.mutate import GENERIC, number_of

Member = tuple[zipfile.ZipInfo, bytes]
_NAMES = (
    "../evil",
    "/evil",
    "b/../../evil",
    "C:\\evil",
    "b\\..\\evil",
    "b/configs/metadata.json",
    "configs/metadata.json",
    "B/configs/METADATA.json",
    "b/",
    "",
    ".",
    "..",
    "b/./x",
    "b//x",
    "x" * 300,
    "b/" + "d/" * 2000 + "x",
    "b/\nx",
    "b/\u202ex",
    "~/evil",
    "b/con.txt",
    "b/x\0y",
    "b/models",
    "b/models/model.pt/x",
    "b/configs",
    ".b.part/x",
)


def rename(rng: random.Random, members: list[Member]) -> None:
    info, content = members.pop(rng.randrange(len(members)))
    members.append((_info(rng.choice(_NAMES), info.external_attr), content))


def add(rng: random.Random, members: list[Member]) -> None:
    members.append((_info(rng.choice(_NAMES)), rng.choice((b"", b"x", bytes(2_000_000)))))


def double(rng: random.Random, members: list[Member]) -> None:
    members.append(rng.choice(members))


def delete(rng: random.Random, members: list[Member]) -> None:
    if len(members) > 1:
        del members[rng.randrange(len(members))]


def set_the_mode(rng: random.Random, members: list[Member]) -> None:
    kind = rng.choice((stat.S_IFLNK, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFDIR, stat.S_IFREG, 0))
    place = rng.randrange(len(members))
    info, content = members[place]
    mode = kind | rng.choice((0o644, 0o777, 0, 0o4755))
    members[place] = _info(info.filename, mode << 16), rng.choice((content, b"/etc/passwd"))


def reorder(rng: random.Random, members: list[Member]) -> None:
    rng.shuffle(members)


def add_words(rng: random.Random, members: list[Member]) -> None:
    members.append((_info(f"b/docs/{rng.randrange(10**6)}.md"), b"words " * rng.randrange(99)))


def set_a_field(rng: random.Random, data: bytes) -> bytes:
    """Of a local or central header: versions, flags, methods, checksums, sizes, lengths, places."""
    signature, fields = rng.choice(
        (
            (b"PK\3\4", ((6, "H"), (8, "H"), (14, "I"), (18, "I"), (22, "I"), (26, "H"), (28, "H"))),
            (
                b"PK\1\2",
                (
                    (8, "H"),
                    (10, "H"),
                    (16, "I"),
                    (20, "I"),
                    (24, "I"),
                    (28, "H"),
                    (30, "H"),
                    (32, "H"),
                    (38, "I"),
                    (42, "I"),
                ),
            ),
            (b"PK\5\6", ((4, "H"), (8, "H"), (10, "H"), (12, "I"), (16, "I"), (20, "H"))),
        )
    )
    places = [n for n in range(len(data)) if data.startswith(signature, n)] if len(data) < 99_999 else []
    if not places:
        return data
    edited = bytearray(data)
    offset, form = rng.choice(fields)
    place = rng.choice(places) + offset
    if place + struct.calcsize(form) <= len(data):
        struct.pack_into("<" + form, edited, place, number_of(rng, form))
    return bytes(edited)


HARMFUL: tuple[Callable[[random.Random, list[Member]], None], ...] = (rename, add, double, delete, set_the_mode)
HARMLESS: tuple[Callable[[random.Random, list[Member]], None], ...] = (reorder, add_words)


def _info(name: str, attributes: int = 0) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name or "x")
    info.filename = name  # ZipInfo itself cuts at a null byte
    info.external_attr = attributes
    return info


@cache
def _members() -> tuple[tuple[str, bytes], ...]:
    config = json.dumps(hostile.harmless()).encode()
    about = json.dumps(zoo.metadata({"1": "organ"})).encode()
    return (
        ("b/configs/metadata.json", about),
        ("b/configs/inference.json", config),
        ("b/models/model.pt", bytes(range(256)) * 4),
        ("b/LICENSE", b"words"),
    )


def make(rng: random.Random) -> Made:
    """The bytes of a zip."""
    members: list[Member] = [(_info(name), content) for name, content in _members()]
    harmless = rng.random() < 0.2
    names = []
    for _ in range(rng.choice((0, 1, 1, 2))):
        change = rng.choice(HARMLESS if harmless else HARMFUL)
        change(rng, members)
        names.append(change.__name__)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for info, content in members:
            info.compress_type = archive.compression
            archive._didModify = True  # type: ignore[attr-defined]
            if info.filename not in archive.NameToInfo:
                archive.writestr(info, content)
            else:  # a name twice, without the module's warning
                del archive.NameToInfo[info.filename]
                archive.writestr(_info(info.filename, info.external_attr), content)
    data = stream.getvalue()
    while not harmless and rng.random() < 0.5:
        damage = rng.choice((*GENERIC, set_a_field, set_a_field, set_a_field, set_a_field))
        data = damage(rng, data)
        names.append(damage.__name__)
    return Made(data, names, harmless)


def answer(data: bytes, folder: Path) -> str:
    """What is unpacked lies in one folder of the unpacker's own naming, as files and folders only."""
    path, home = folder / "b.zip", folder / "home"
    path.write_bytes(data)
    with patch.dict(os.environ, {"MEDSEG_HOME": str(home)}):
        found = unpack(path)
    whole = (found / "configs" / "metadata.json").exists()
    links = [p for p in found.rglob("*") if p.is_symlink() or not (p.is_file() or p.is_dir())]
    shutil.rmtree(found.parent)
    left = sorted(p.name for p in (home / "unpacked").iterdir())
    return f"links {links}, left behind {left}" if links or left or not whole else ""


def maker() -> Maker:
    """Bundles as zips."""
    return Maker("archives", make, answer, (BundleError,))
