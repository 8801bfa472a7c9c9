import os
import threading
import time
from pathlib import Path

import pytest

from medseg.domain.errors import OutputError, ResourceError
from medseg.io.files import require_writable, sweep, whole_file, write_bytes, write_text

OLD, NEW = b"old " * 1000, b"new " * 5000


def names(folder):
    return sorted(path.name for path in folder.iterdir())


class FailingDisk:
    """Every call that reaches the disk counts; the chosen one fails, a write after half of its bytes."""

    def __init__(self, patch, fail_at, error):
        self.calls, self.fail_at, self.error = 0, fail_at, error
        write, replace, fsync = Path.write_bytes, Path.replace, os.fsync

        def write_bytes(path, data):
            self.count(lambda: write(path, data[: len(data) // 2]))
            return write(path, data)

        patch.setattr(Path, "write_bytes", write_bytes)
        patch.setattr(Path, "replace", lambda path, target: (self.count(), replace(path, target))[1])
        patch.setattr(os, "fsync", lambda descriptor: (self.count(), fsync(descriptor))[1])

    def count(self, before=lambda: None):
        self.calls += 1
        if self.calls == self.fail_at:
            before()
            raise self.error


@pytest.mark.parametrize("content", [b"", b"\0\xff" * 100, NEW])
def test_what_is_written_is_there_and_nothing_else(tmp_path, content):
    path = tmp_path / "deep" / "er" / "a.nii.gz"
    write_bytes(path, content)
    assert path.read_bytes() == content
    assert names(path.parent) == ["a.nii.gz"]


def test_text_is_utf_8(tmp_path):
    write_text(tmp_path / "a.txt", "Größe 2 µm\n")
    assert (tmp_path / "a.txt").read_bytes() == "Größe 2 µm\n".encode()


def test_the_temporary_file_is_hidden_beside_the_target_and_keeps_its_ending(tmp_path):
    with whole_file(tmp_path / "a.nii.gz") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.name.startswith(".")
        assert temporary.name.endswith(".a.nii.gz")
        temporary.write_bytes(NEW)
        assert not (tmp_path / "a.nii.gz").exists()


@pytest.mark.parametrize("there_before", [True, False])
@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(28, "No space left on device"), ResourceError),
        (OSError(122, "Disk quota exceeded"), ResourceError),
        (OSError(5, "Input/output error"), OutputError),
        (PermissionError(13, "Permission denied"), OutputError),
        (KeyboardInterrupt(), KeyboardInterrupt),
        (MemoryError(), MemoryError),
    ],
)
def test_a_failure_at_any_call_leaves_the_old_file_or_the_new_one(tmp_path, error, expected, there_before):
    path, fail_at, done = tmp_path / "a.bin", 0, False
    while not done:
        fail_at += 1
        path.unlink(missing_ok=True)
        if there_before:
            path.write_bytes(OLD)
        with pytest.MonkeyPatch.context() as patch:
            disk = FailingDisk(patch, fail_at, error)
            try:
                write_bytes(path, NEW)
                done = disk.calls < fail_at
            except expected:
                pass
        content = path.read_bytes() if path.exists() else None
        assert content in ((OLD, NEW) if there_before else (None, NEW))
        assert names(tmp_path) in ([], ["a.bin"])
    assert path.read_bytes() == NEW
    assert fail_at == 5  # write, sync, rename and sync of the folder could fail


def test_a_full_disk_says_so_and_has_its_exit_code(tmp_path, monkeypatch):
    FailingDisk(monkeypatch, 1, OSError(28, "No space left on device"))
    with pytest.raises(ResourceError, match="the disk is full; free some space") as caught:
        write_bytes(tmp_path / "a.bin", NEW)
    assert caught.value.exit_code == 6
    write_bytes(tmp_path / "a.bin", NEW)  # the second call is another one


@pytest.mark.parametrize("failure", [ValueError("writer"), KeyboardInterrupt()])
def test_a_writer_that_fails_leaves_the_old_file(tmp_path, failure):
    path = tmp_path / "a.bin"
    write_bytes(path, OLD)

    def write_half():
        with whole_file(path) as temporary:
            temporary.write_bytes(NEW[:7])
            raise failure

    with pytest.raises(type(failure)):
        write_half()
    assert path.read_bytes() == OLD
    assert names(tmp_path) == ["a.bin"]


def test_a_writer_that_writes_nothing_is_a_failure(tmp_path):
    with pytest.raises(OutputError), whole_file(tmp_path / "a.bin"):
        pass
    assert names(tmp_path) == []


def test_where_no_file_can_be_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(OLD)
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file" / "a.bin", tmp_path / "folder"):
        with pytest.raises(OutputError, match="cannot be written") as caught:
            write_bytes(path, NEW)
        assert caught.value.exit_code == 7
    assert names(tmp_path) == ["file", "folder"]
    write_bytes(tmp_path / "folder" / "a.bin", NEW)


def test_a_reader_never_sees_a_part_while_two_write(tmp_path):
    path, contents = tmp_path / "a.bin", (OLD * 50, NEW * 50)
    write_bytes(path, OLD)

    def write(content):
        for _ in range(30):
            write_bytes(path, content)

    writers = [threading.Thread(target=write, args=(content,)) for content in contents]
    for writer in writers:
        writer.start()
    seen = set()
    while any(writer.is_alive() for writer in writers):
        seen.add(path.read_bytes())
    assert seen <= {OLD, *contents}
    assert names(tmp_path) == ["a.bin"]


# Folders


@pytest.mark.parametrize("folder", [".", "new", "new/deeper"])
def test_a_folder_that_can_be_written_passes_and_is_left_as_it_was(tmp_path, folder, monkeypatch):
    require_writable(tmp_path / folder)
    monkeypatch.chdir(tmp_path)
    require_writable(Path(folder))
    assert names(tmp_path) == []


@pytest.mark.parametrize("below", ["", "deeper", "deeper/still"])
def test_a_file_is_no_folder(tmp_path, below):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"cannot be written .*choose another output folder"):
        require_writable(tmp_path / "file" / below)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    require_writable(tmp_path)
    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(OutputError, match="Permission denied"):
        require_writable(tmp_path)


def test_parts_of_killed_writers_are_swept_and_nothing_else(tmp_path):
    parts = [".0123456789ab.part", ".0123456789ab.part.a.nii.gz", ".fedcba987654.part.step-00000004.pt"]
    others = ["a.part", ".part", ".0123456789ab.partial", ".0123.part.a", ".0123456789AB.part.a", "a.nii.gz"]
    for name in parts + others:
        (tmp_path / name).touch()
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / parts[0]).touch()
    sweep(tmp_path)
    assert names(tmp_path) == sorted([*others, "deeper"])
    assert names(tmp_path / "deeper") == [parts[0]]
    sweep(tmp_path / "missing")


def test_what_a_killed_writer_leaves_is_what_sweep_knows(tmp_path):
    with whole_file(tmp_path / "a.nii.gz") as temporary:
        temporary.write_bytes(NEW)
        left = tmp_path / "left" / temporary.name
        left.parent.mkdir()
        left.write_bytes(NEW)
    sweep(left.parent)
    assert names(left.parent) == []


def test_what_is_being_written_is_not_swept(tmp_path):
    with whole_file(tmp_path / "a.nii.gz") as temporary:
        sweep(tmp_path)
        sweep(tmp_path, {"a.nii.gz"})
        temporary.write_bytes(NEW)
        sweep(tmp_path)
        assert temporary.exists()
    assert (tmp_path / "a.nii.gz").read_bytes() == NEW
    assert names(tmp_path) == ["a.nii.gz"]


def test_a_file_may_be_empty_if_somebody_wrote_it(tmp_path):
    write_bytes(tmp_path / "a.bin", b"")
    assert (tmp_path / "a.bin").read_bytes() == b""


def test_sweeping_and_writing_at_once_lose_nothing(tmp_path):
    done = threading.Event()

    def sweeping():
        while not done.is_set():
            sweep(tmp_path)

    sweeper = threading.Thread(target=sweeping)
    sweeper.start()
    try:
        for _ in range(200):
            write_bytes(tmp_path / "a.bin", NEW)
    finally:
        done.set()
        sweeper.join()
    assert names(tmp_path) == ["a.bin"]


def test_without_locks_only_what_is_old_is_swept(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def flock(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", flock)
    old, new = tmp_path / ".0123456789ab.part.a.png", tmp_path / ".fedcba987654.part.a.png"
    for path in (old, new):
        path.write_bytes(NEW)
    os.utime(old, (0, time.time() - 2 * 24 * 3600))
    sweep(tmp_path)
    assert names(tmp_path) == [new.name]
    write_bytes(tmp_path / "a.bin", NEW)
    assert names(tmp_path) == sorted([new.name, "a.bin"])
