"""Journals: torn, damaged, hostile or in use by another process."""

import errno
import os
import string
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medseg.domain.errors import InputError, OutputError, ResourceError
from medseg.domain.journal import Entry, Work, entry_of
from medseg.io.digest import folder_digest, unchanged
from medseg.io.journal import NAME, beside_no_batch, open_journal

DONE = Entry("a_seg.png", "a", "done", Work("i", "b", "s"), {"a_seg.png": "0" * 64})
REFUSED = Entry("b_seg.png", "b", "refused", reason="b.png: too small")
TEXTS = st.text(max_size=20)
ENTRIES = st.builds(
    Entry,
    TEXTS,
    TEXTS,
    st.sampled_from(["started", "done", "refused"]),
    st.none() | st.builds(Work, TEXTS, TEXTS, TEXTS),
    st.dictionaries(TEXTS, TEXTS, max_size=3),
    TEXTS,
)


@given(ENTRIES)
def test_an_entry_comes_back_from_its_line(entry):
    line = entry.to_line()
    assert entry_of(line) == entry
    assert line.count(b"\n") == 1


@given(ENTRIES, st.data())
def test_a_line_with_another_character_is_none(entry, data):
    line = entry.to_line()
    place = data.draw(st.integers(0, len(line) - 2))
    other = data.draw(st.sampled_from(string.ascii_letters + string.digits + '{}",:\\')).encode()
    harmed = line[:place] + other + line[place + 1 :]
    assert entry_of(harmed) in (None, entry)  # the same entry where the character was the same


@pytest.mark.parametrize(
    "line",
    [b"", b"\n", b"{}", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"check": 1e999}', b'{"mask": "../../x"}',
     b'{"a":' * 5_000, b"9" * 10_000],
    ids=lambda line: repr(line[:12]),
)  # fmt: skip
def test_garbage_is_no_entry(line):
    assert entry_of(line) is None


@pytest.mark.parametrize("tail", [b"", b'{"mask": "c_s', DONE.to_line()[:-1], b"\0" * 100, b"x\ny\n", b"z" * (3 << 20)])
def test_what_is_whole_in_a_damaged_journal_counts_and_can_be_added_to(tmp_path, tail):
    (tmp_path / NAME).write_bytes(DONE.to_line() + tail)
    with open_journal(tmp_path) as journal:
        assert journal.latest == {"a_seg.png": DONE}
        assert (journal.damaged > 0) == bool(tail)
        journal.append(REFUSED)
    with open_journal(tmp_path) as journal:
        assert journal.latest == {"a_seg.png": DONE, "b_seg.png": REFUSED}


def test_the_last_entry_of_a_case_counts(tmp_path):
    with open_journal(tmp_path) as journal:
        journal.append(DONE)
        journal.append(Entry("a_seg.png", "a", "started"))
    with open_journal(tmp_path) as journal:
        assert journal.latest["a_seg.png"].state == "started"


def test_a_journal_that_tells_nothing_leaves_nothing(tmp_path):
    with open_journal(tmp_path / "new" / "out") as journal:
        journal.append(REFUSED)
        assert (tmp_path / "new" / "out" / NAME).exists()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="no such locks there")
def test_one_process_holds_a_folder_and_its_death_frees_it(tmp_path):
    code = "import sys, time; from pathlib import Path; from medseg.io.journal import open_journal\n"
    code += f"with open_journal(Path({str(tmp_path)!r})): print('held', flush=True); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        for hold in (open_journal, beside_no_batch):
            with pytest.raises(OutputError, match="in use by another medseg"), hold(tmp_path):
                pass
        other.kill()
    with open_journal(tmp_path) as journal:
        journal.append(DONE)
        with pytest.raises(OutputError, match="in use"), open_journal(tmp_path):
            pass
    with (
        beside_no_batch(tmp_path),
        beside_no_batch(tmp_path),
        pytest.raises(OutputError, match="in use"),
        open_journal(tmp_path),
    ):
        pass


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs links and pipes")
def test_a_journal_that_is_no_plain_file_is_refused(tmp_path):
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    for make in (lambda path: path.symlink_to(mine), os.mkfifo, os.mkdir):
        make(tmp_path / NAME)
        with pytest.raises(OutputError, match=NAME), open_journal(tmp_path):
            pass
        (tmp_path / NAME).rmdir() if (tmp_path / NAME).is_dir() else (tmp_path / NAME).unlink()
    assert mine.read_text() == "mine"


def test_a_full_disk_is_told_and_the_line_after_it_is_whole(tmp_path, monkeypatch):
    def half(descriptor, line, real=os.write):
        return real(descriptor, line[: len(line) // 2])

    with open_journal(tmp_path) as journal:
        journal.append(DONE)
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", half)
            with pytest.raises(ResourceError, match="disk is full"):
                journal.append(REFUSED)
        journal.append(REFUSED)
    with open_journal(tmp_path) as journal:
        assert (journal.latest, journal.damaged) == ({"a_seg.png": DONE, "b_seg.png": REFUSED}, 1)

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with open_journal(tmp_path) as journal, monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(ResourceError, match="disk is full"):
            journal.append(Entry("a_seg.png", "a", "started"))
        assert journal.latest["a_seg.png"] == DONE


# Digests


def test_a_folder_counts_by_the_contents_of_its_files(tmp_path):
    for name, order in (("one", "ab"), ("two", "ba")):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / order[0]).write_text("first")
        (tmp_path / name / "deep" / order[1]).write_text("second")
    with unchanged({"": tmp_path / "one"}) as one, unchanged({"": tmp_path / "two"}) as two:
        assert one == two
    (tmp_path / "two" / "b").write_text("third")
    with unchanged({"": tmp_path / "two"}) as changed:
        assert changed != two


def test_an_input_that_changes_while_it_is_read_is_refused(tmp_path):
    path = tmp_path / "scan.nii"
    path.write_text("first")
    with pytest.raises(InputError, match=r"scan.nii: changed while it was read"), unchanged({"": path}):
        path.write_text("other, longer")
    with pytest.raises(InputError, match="changed"), unchanged({"": tmp_path / "missing"}) as digest:
        assert digest == ""  # the reader, in this place, will say that there is no such file


def test_a_bundle_counts_by_names_and_contents_of_its_parts(tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "model.pt").write_text("weights")
    before = folder_digest(tmp_path, ("configs", "models"))
    (tmp_path / "eval").mkdir()
    (tmp_path / "eval" / "mask").write_text("output")
    assert folder_digest(tmp_path, ("configs", "models")) == before
    (tmp_path / "models" / "model.pt").rename(tmp_path / "models" / "other.pt")
    assert folder_digest(tmp_path, ("configs", "models")) != before
