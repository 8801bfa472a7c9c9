"""Zips that lead elsewhere, swell or are not what they say; `fire` unpacks them plainly."""

from __future__ import annotations

import io
import stat
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.bundle.plain_loading import exhausts

Fire = Callable[[Path, Path], object]
Content = list[tuple[str | zipfile.ZipInfo, bytes]]


def zip_of(folder: Path) -> Path:
    """Where the zip of a sample lies."""
    return folder.with_name("b.zip")


def write_zip(folder: Path, more: Content, compressed: bool = False) -> Path:
    """The bundle folder as a zip, with more members."""
    found = [
        (f"b/{p.relative_to(folder).as_posix()}", p.read_bytes()) for p in sorted(folder.rglob("*")) if p.is_file()
    ]
    method = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(zip_of(folder), "w", method) as archive:
        for member, content in [*found, *more]:
            archive.NameToInfo.pop(member if isinstance(member, str) else member.filename, None)  # a name may be twice
            archive.writestr(member, content)
    return zip_of(folder)


def joined(folder: Path, marker: Path) -> None:
    """Unpacks member by member to the joined path: what a plain loop does, and ZipFile.extractall does not."""
    with zipfile.ZipFile(zip_of(folder)) as archive:
        for member in archive.infolist():
            target = folder.parent / "out" / member.filename
            target.parent.mkdir(parents=True, exist_ok=True)
            if stat.S_ISLNK(member.external_attr >> 16):
                target.symlink_to(archive.read(member).decode())
            elif not member.is_dir():
                target.write_bytes(archive.read(member))


def extracted(folder: Path, marker: Path) -> None:
    with zipfile.ZipFile(zip_of(folder)) as archive:
        archive.extractall(folder.parent / "out")


def _linked(to: str, name: str = "b/link") -> tuple[zipfile.ZipInfo, bytes]:
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info, to.encode()


def zips() -> Iterator[tuple[str, Callable[[Path, Path], object], Fire | None]]:
    """(name, change, fire) of each."""

    def with_members(make: Callable[[Path], Content], compressed: bool = False) -> Callable[[Path, Path], object]:
        return lambda folder, marker: write_zip(folder, make(marker), compressed)

    yield "zip: dots", with_members(lambda m: [("../marker", b"x")]), joined
    yield "zip: dots inside", with_members(lambda m: [("b/models/../../../marker", b"x")]), joined
    yield "zip: an absolute name", with_members(lambda m: [(str(m), b"x")]), joined
    yield "zip: a double slash", with_members(lambda m: [("b/" + str(m), b"x")]), stripped
    yield (
        "zip: a link and what goes through it",
        with_members(lambda m: [_linked("../../"), ("b/link/marker", b"x")]),
        joined,
    )
    yield "zip: a link out", with_members(lambda m: [_linked("/etc/hostname", "b/models/more.pt")]), None
    yield "zip: backslashes", with_members(lambda m: [("b\\..\\..\\marker", b"x")]), None
    yield "zip: a drive", with_members(lambda m: [("C:/marker", b"x")]), None
    yield "zip: a line break", with_members(lambda m: [("b/a\nb", b"x")]), None
    yield "zip: zeros", with_members(lambda m: [("b/models/more.pt", bytes(100 << 20))], True), exhausts(extracted)
    yield "zip: one content many times", overlapping, None  # Python compares the names in both places
    yield "zip: very many members", with_members(lambda m: [(f"b/{n}", b"") for n in range(5001)]), None
    yield "zip: a member twice", with_members(lambda m: [("b/configs/metadata.json", b"{}")]), None
    yield "zip: names that differ in capitals", with_members(lambda m: [("b/configs/METADATA.json", b"{}")]), None
    yield "zip: a file that is a folder too", with_members(lambda m: [("b/configs", b"")]), None
    yield "zip: two bundles", with_members(lambda m: [("c/configs/metadata.json", b"{}")]), None
    yield "zip: cut", lambda f, m: zip_of(f).write_bytes(write_zip(f, []).read_bytes()[:-200]), None
    yield "zip: no zip", lambda f, m: zip_of(f).write_bytes(b"PK\3\4" + bytes(99)), None


def stripped(folder: Path, marker: Path) -> None:
    """Takes the first folder off each name, and joins."""
    with zipfile.ZipFile(zip_of(folder)) as archive:
        for member in archive.infolist():
            target = folder.parent / "out" / member.filename.removeprefix("b/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(archive.read(member))


def overlapping(folder: Path, marker: Path) -> None:
    """A directory that names one small member hundreds of times."""
    path = write_zip(folder, [("b/docs/0000", bytes(1 << 20))], True)
    with zipfile.ZipFile(path) as archive:
        start = archive.start_dir
        last = archive.infolist()[-1]
    data = path.read_bytes()
    place = data.rindex(b"PK\1\2")
    end = data.rindex(b"PK\5\6")
    record, members = data[place:end], io.BytesIO()
    for n in range(1, 400):
        members.write(record.replace(b"b/docs/0000", f"b/docs/{n:04}".encode()))
    directory = data[start:end] + members.getvalue()
    count = int.from_bytes(data[end + 10 : end + 12], "little") + 399
    tail = bytearray(data[end:])
    tail[8:10] = tail[10:12] = count.to_bytes(2, "little")
    tail[12:16] = len(directory).to_bytes(4, "little")
    path.write_bytes(data[:start] + directory + bytes(tail))
    assert last.filename == "b/docs/0000"
