"""A zip is looked at before it is extracted, and a folder appears whole or not at all."""

import io
import os
import signal
import stat
import subprocess
import sys
import zipfile

import pytest

from medseg.bundle import archive
from medseg.bundle.archive import unpack
from medseg.bundle.foreign import MonaiBundle
from medseg.bundle.store import find_any
from medseg.domain.errors import BundleError
from tests.bundle.hostile import write_harmless
from tests.commands import medseg


@pytest.fixture(autouse=True)
def home(tmp_path_factory, monkeypatch):
    """Where zips are unpacked."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("MEDSEG_HOME", str(home))
    return home


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    """The members of a harmless bundle, below a folder as model zoos pack them."""
    folder = write_harmless(tmp_path_factory.mktemp("twin") / "b")
    return {f"organ/{p.relative_to(folder).as_posix()}": p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def zipped(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members:
            file.writestr(name, data)
    return path


def refusal(path):
    folders = (path.parent, archive.unpacked_folder())
    before = [sorted(folder.rglob("*.*")) for folder in folders]
    with pytest.raises(BundleError) as refused:
        unpack(path)
    assert refused.value.exit_code == 5
    assert "\n" not in str(refused.value)
    assert str(path) in str(refused.value)
    assert [sorted(folder.rglob("*.*")) for folder in folders] == before  # nothing was left, beside or elsewhere


def test_a_zip_of_a_bundle_is_a_bundle(content, tmp_path, home):
    path = zipped(tmp_path / "organ.zip", content.items())
    bundle = find_any(str(path))
    assert isinstance(bundle, MonaiBundle)
    assert bundle.folder.parent.parent == home / "unpacked"
    assert bundle.name == "organ"
    found = {p.relative_to(bundle.folder).as_posix(): p.read_bytes() for p in bundle.folder.rglob("*") if p.is_file()}
    assert found == {name.removeprefix("organ/"): data for name, data in content.items()}
    assert find_any(str(path)).folder == bundle.folder
    assert list(tmp_path.iterdir()) == [path]
    assert stat.S_IMODE((home / "unpacked").stat().st_mode) == 0o700
    assert medseg("bundle", "check", path).code == 0


def test_what_was_unpacked_is_verified_and_else_unpacked_again(content, tmp_path):
    path = zipped(tmp_path / "organ.zip", content.items())
    folder = unpack(path)
    stamp = (folder / "models" / "model.pt").stat().st_mtime_ns
    assert unpack(path) == folder
    assert (folder / "models" / "model.pt").stat().st_mtime_ns == stamp
    for harm in (lambda p: p.write_bytes(b"other"), lambda p: p.unlink(), lambda p: (p.parent / "more").touch()):
        harm(folder / "models" / "model.pt")
        folder = unpack(path)
        assert (folder / "models" / "model.pt").read_bytes() == content["organ/models/model.pt"]
        assert not (folder / "models" / "more").exists()


def test_what_a_killed_process_left_is_swept_and_never_taken(content, tmp_path, home):
    path = zipped(tmp_path / "organ.zip", content.items())
    code = (
        "import os, sys; from pathlib import Path; from medseg.bundle import archive\n"
        "archive._write = lambda *a: (a[-1].parent.mkdir(parents=True), os.kill(os.getpid(), 9))\n"
        "archive.unpack(Path(sys.argv[1]))"
    )
    done = subprocess.run([sys.executable, "-c", code, path], check=False)
    assert done.returncode == -signal.SIGKILL
    (left,) = (home / "unpacked").iterdir()
    assert left.name.startswith(".")
    folder = unpack(path)
    assert not left.exists()
    assert list((home / "unpacked").iterdir()) == [folder.parent]


def test_a_zip_without_a_folder_around_it_is_one_too(content, tmp_path):
    flat = [(name.removeprefix("organ/"), data) for name, data in content.items()]
    assert isinstance(find_any(str(zipped(tmp_path / "organ.zip", flat))), MonaiBundle)


@pytest.mark.parametrize(
    "name",
    [
        "../out",
        "organ/../../out",
        "/out",
        "organ\\..\\out",
        "c:/out",
        "organ/a\x01b",
        "..",
        " ",
        "organ//x",
        "organ/./x",
        "organ/x/..",
    ],
)
def test_a_member_that_leads_elsewhere_is_refused(content, tmp_path, name):
    refusal(
        zipped(
            tmp_path / "in" / "z.zip" if (tmp_path / "in").mkdir() is None else tmp_path,
            [*content.items(), (name, b"x")],
        )
    )
    assert not (tmp_path / "out").exists()


def test_such_a_member_does_leave_when_its_name_is_joined(tmp_path):
    """So the test above can fail."""
    (tmp_path / "in").mkdir()
    with zipfile.ZipFile(zipped(tmp_path / "in" / "z.zip", [("../out", b"x")])) as file:
        for member in file.infolist():
            (tmp_path / "in" / member.filename).write_bytes(file.read(member))
    assert (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "names",
    [
        ("organ/x", "organ/x/y"),
        ("organ/X", "organ/x/y"),
        ("organ/configs",),
        ("organ/" + "d/" * 600 + "x",),
        ("organ/" + "x" * 300,),
    ],
)
def test_a_file_that_is_a_folder_too_or_has_a_long_name_is_refused(content, tmp_path, names):
    refusal(zipped(tmp_path / "z.zip", [*content.items(), *((name, b"x") for name in names)]))


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_a_link_or_device_is_refused(content, tmp_path, kind):
    info = zipfile.ZipInfo("organ/models/link")
    info.external_attr = (kind | 0o777) << 16
    refusal(zipped(tmp_path / "z.zip", [*content.items(), (info, os.devnull)]))


def test_a_bomb_is_refused_before_it_is_extracted(content, tmp_path, monkeypatch):
    refusal(zipped(tmp_path / "ratio.zip", [*content.items(), ("organ/zeros", bytes(8 << 20))]))
    monkeypatch.setattr(archive, "MOST_BYTES", 1000)
    refusal(zipped(tmp_path / "size.zip", content.items()))
    monkeypatch.setattr(archive, "MOST_BYTES", 8 << 30)
    refusal(zipped(tmp_path / "many.zip", [*content.items(), *[(f"organ/{n}", b"") for n in range(5000)]]))


def test_a_header_that_lies_about_a_size_is_found(content, tmp_path):
    buffer = zipped(tmp_path / "z.zip", [*content.items(), ("organ/more", b"abc" * 1000)]).read_bytes()
    lied = buffer.replace((3000).to_bytes(4, "little"), (30).to_bytes(4, "little"))
    assert lied != buffer
    (tmp_path / "z.zip").write_bytes(lied)
    refusal(tmp_path / "z.zip")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_doubled_no_or_several_bundles_are_refused(content, tmp_path):
    refusal(zipped(tmp_path / "a.zip", [*content.items(), ("organ/configs/metadata.json", b"{}")]))
    refusal(zipped(tmp_path / "b.zip", [*content.items(), ("Organ/Configs/Metadata.JSON", b"{}")]))
    refusal(zipped(tmp_path / "c.zip", [*content.items(), ("other/configs/metadata.json", b"{}")]))
    refusal(zipped(tmp_path / "d.zip", [("organ/readme", b"")]))
    refusal(zipped(tmp_path / "e.zip", []))


def test_what_is_no_zip_is_refused(content, tmp_path):
    for name, data in (("a", b""), ("b", b"text"), ("c", b"PK\x03\x04" + bytes(100))):
        (tmp_path / name).write_bytes(data)
        refusal(tmp_path / name)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, data in content.items():
            file.writestr(name, data)
    broken = bytearray(buffer.getvalue())
    broken[broken.index(b"Random weights")] ^= 1  # its checksum is wrong then
    (tmp_path / "d.zip").write_bytes(broken)
    refusal(tmp_path / "d.zip")
