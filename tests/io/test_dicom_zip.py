"""Zips: read like the folder in them, never written outside, never swollen, gone afterwards."""

import gc
import os
import stat
import zipfile
from pathlib import Path

import numpy as np
import pytest

from medseg.domain.errors import InputError
from medseg.io import dicom_zip
from medseg.io.dicom import read_dicom
from tests.phantoms import counted_volume, dicom_folder


@pytest.fixture
def slices(tmp_path):
    return list(dicom_folder(tmp_path / "series").paths)


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The place of temporary files, empty at first."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def pack(archive: Path, files, names=None, **options) -> Path:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, **options) as content:
        for n, path in enumerate(files):
            content.write(path, names[n] if names else path.name)
    return archive


def test_a_zip_is_read_and_its_copies_go_with_the_volume(tmp_path, slices, temporary):
    names = ["../../Canary.dcm", "/Canary/2", "C:\\Canary\\3", "a/b/Canary 4", "Canary 5"]
    volume = read_dicom(pack(tmp_path / "scan.zip", slices, names), "case")
    assert np.array_equal(volume.voxels, counted_volume().voxels)
    assert len(volume.series.paths) == 5
    assert all(path.is_relative_to(temporary) for path in volume.series.paths)
    assert not any("anary" in str(path.relative_to(temporary)) for path in temporary.rglob("*"))
    (folder,) = temporary.iterdir()
    if os.name == "posix":
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    del volume
    gc.collect()
    assert list(temporary.iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scan.zip", "series", "temporary"]


def refused(archive: Path, temporary: Path) -> str:
    with pytest.raises(InputError) as refusal:
        read_dicom(archive, "case")
    message = str(refusal.value)
    del refusal
    gc.collect()
    assert list(temporary.iterdir()) == []
    assert "anary" not in message
    assert message.startswith(str(archive))
    return message


def test_a_bomb_is_refused_before_it_fills_the_disk(tmp_path, slices, temporary, monkeypatch):
    monkeypatch.setattr(dicom_zip, "_FREE_BYTES", 1 << 20)
    bomb = tmp_path / "Canary"
    bomb.write_bytes(slices[0].read_bytes() + bytes(1 << 25))
    assert "member 1 of 6: the zip swells to more than 200 times its size" in refused(
        pack(tmp_path / "scan.zip", [bomb, *slices]), temporary
    )
    bomb.write_bytes(slices[0].read_bytes()[:-24] + bytes(24))
    assert "duplicate position" in refused(pack(tmp_path / "scan.zip", [bomb, *slices]), temporary)


def test_links_and_passwords_are_refused(tmp_path, slices, temporary):
    archive = pack(tmp_path / "scan.zip", slices)
    with zipfile.ZipFile(archive, "a") as content:
        link = zipfile.ZipInfo("Canary")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        content.writestr(link, "/etc/passwd")
    assert "member 1 of 6: is a link" in refused(archive, temporary)
    data = bytearray(pack(archive, slices).read_bytes())
    for sign, at in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        data[data.index(sign) + at] |= 1
    archive.write_bytes(data)
    assert "locked by a password" in refused(archive, temporary)


@pytest.mark.parametrize("where", ["content", "directory", "end"])
def test_a_damaged_zip_is_refused(tmp_path, slices, temporary, where):
    archive = pack(tmp_path / "scan.zip", slices)
    data = bytearray(archive.read_bytes())
    if where == "end":
        data = data[:-30]
    else:
        data[{"content": 900, "directory": data.index(b"PK\x01\x02") + 16}[where]] ^= 0x55
    archive.write_bytes(data)
    assert "zip" in refused(archive, temporary)


def test_a_zip_without_images_says_so(tmp_path, temporary):
    (tmp_path / "notes.txt").write_text("nothing")
    archive = pack(tmp_path / "scan.zip", [tmp_path / "notes.txt"])
    assert "no DICOM image among 1 file;" in refused(archive, temporary)
