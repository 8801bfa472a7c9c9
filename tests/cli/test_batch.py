"""Many cases in one run of `medseg segment`: journalled, resumed, refused one by one, never two runs at once."""

import errno
import json
import os
import shutil
import signal
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from medseg.domain.journal import entry_of
from medseg.io.journal import NAME, open_journal
from tests.backends.test_same_answer import require
from tests.bundles import blobs, grey_bundle, stored_bundle
from tests.commands import medseg

CASES = ("a", "b", "c")


@pytest.fixture
def slides(tmp_path):
    """A folder with three pictures."""
    folder = tmp_path / "slides"
    folder.mkdir()
    for seed, case in enumerate(CASES):
        Image.fromarray(blobs((60, 44), seed)[0].T.copy()).save(folder / f"{case}.png")
    return folder


def segment(slides, out, *options, code=0):
    arguments = ["-b", "grey", "-o", out, "--device", "cpu", "--precision", "fp32", "--statistics", *options]
    done = medseg("segment", slides, *arguments)
    assert done.code == code, done.err
    return done


def outputs(out):
    return {path.name: path.read_bytes() for path in out.iterdir() if path.name != NAME}


def states(out):
    entries = [entry_of(line) for line in (out / NAME).read_bytes().splitlines(keepends=True)]
    return [(entry.case, entry.state) for entry in entries]


def test_a_folder_of_pictures_is_one_case_each(home, slides, tmp_path):
    done = segment(slides, tmp_path / "out", "--json")
    assert [report["case"] for report in done.json] == [*CASES]
    assert {"read", "preprocess", "network", "stitch", "resample", "write"} <= set(done.json[0]["seconds"])
    assert set(outputs(tmp_path / "out")) == {
        f"{case}{end}" for case in CASES for end in ("_seg.png", "_statistics.json")
    }
    assert sorted(states(tmp_path / "out")) == sorted((case, state) for case in CASES for state in ("started", "done"))
    assert done.lines[-1].startswith("3 cases in ")
    assert "3 done; network " in done.lines[-1]
    files = [slides / f"{case}.png" for case in CASES]
    one_by_one = tmp_path / "one by one"
    for path in files:
        medseg("segment", path, "-b", "grey", "-o", one_by_one, "--device", "cpu", "--precision", "fp32", "-q")
    for case in CASES:  # the masks do not depend on the company
        name = f"{case}_seg.png"
        assert (one_by_one / name).read_bytes() == (tmp_path / "out" / name).read_bytes()


def test_masks_are_not_put_among_the_images(home, slides):
    assert "is the folder of the images" in segment(slides, slides, code=2).err


def test_no_duration_and_no_moment_is_written(home, slides, tmp_path):
    segment(slides, tmp_path / "a", "-q")
    statistics = json.loads((tmp_path / "a" / "a_statistics.json").read_text())
    assert "seconds" not in statistics
    assert statistics["measures"]
    before = outputs(tmp_path / "a")
    segment(slides, tmp_path / "a", "-q", "--overwrite")
    assert outputs(tmp_path / "a") == before


def test_a_resumed_batch_goes_on_with_the_backend_it_had(home, slides, tmp_path):
    """Chosen anew, by what is left, the rest could come from another one with other last bits."""
    require("openvino")
    out = tmp_path / "out"
    assert {report["backend"]["name"] for report in segment(slides, out, "--json").json} == {"eager"}
    with open_journal(out) as journal:
        assert {entry.backend for entry in journal.latest.values()} == {"eager"}
        for entry in list(journal.latest.values()):
            journal.append(replace(entry, backend="openvino"))
    (out / "c_seg.png").unlink()
    (report,) = [report for report in segment(slides, out, "--resume", "--json").json if "backend" in report]
    assert (report["case"], report["backend"]["name"]) == ("c", "openvino")


def test_a_backend_that_is_none_in_the_journal_is_passed_over(home, slides, tmp_path):
    segment(slides, tmp_path / "out", "-q")
    with open_journal(tmp_path / "out") as journal:
        for entry in list(journal.latest.values()):
            journal.append(replace(entry, backend="../magic"))
    (tmp_path / "out" / "c_seg.png").unlink()
    assert "2 done before" in segment(slides, tmp_path / "out", "--resume").lines[-1]


def test_resume_does_what_is_not_done(home, slides, tmp_path):
    out = tmp_path / "out"
    segment(slides, out, "-q")
    before = outputs(out)
    assert "--resume" in segment(slides, out, code=7).err
    count = len(states(out))
    done = segment(slides, out, "--resume", "--json")
    assert "3 done before" in done.lines[-1]
    assert [report["case"] for report in done.json] == [*CASES]
    assert len(states(out)) == count
    (out / "b_statistics.json").unlink()
    assert "1 done, 2 done before" in segment(slides, out, "--resume").lines[-1]
    assert outputs(out) == before
    assert states(out)[count:] == [("b", "started"), ("b", "done")]


@pytest.mark.parametrize("what", ["an output", "an input", "the bundle", "a setting", "the journal", "a torn line"])
def test_done_means_that_nothing_changed(shared_home, monkeypatch, slides, tmp_path, what):
    monkeypatch.setenv("MEDSEG_HOME", str(tmp_path / "home"))
    stored_bundle(grey_bundle(), tmp_path / "home" / "bundles" / "grey", seed=2)
    out, again, options = tmp_path / "out", CASES, ["--resume"]
    segment(slides, out, "-q")
    if what == "an output":
        (out / "b_seg.png").write_bytes((out / "a_seg.png").read_bytes())
        again = ("b",)
    elif what == "an input":
        Image.fromarray(blobs((60, 44), 9)[0].T.copy()).save(slides / "b.png")
        again = ("b",)
    elif what == "the bundle":
        shutil.rmtree(tmp_path / "home" / "bundles" / "grey")
        stored_bundle(grey_bundle(), tmp_path / "home" / "bundles" / "grey", seed=3)
    elif what == "a setting":
        options += ["--preview"]
    else:
        lines = (out / NAME).read_bytes().splitlines(keepends=True)
        places = [n for n, line in enumerate(lines) if entry_of(line).case == "b" and entry_of(line).state == "done"]
        lines[places[0]] = lines[places[0]].replace(b'"done"', b'"DONE"') if what == "the journal" else b""
        (out / NAME).write_bytes(b"".join(lines) + (b"" if what == "the journal" else b'{"case": "b", "st'))
        again = ("b",)
    count = len([line for line in (out / NAME).read_bytes().splitlines() if entry_of(line + b"\n")])
    segment(slides, out, *options)
    entries = [entry_of(line + b"\n") for line in (out / NAME).read_bytes().splitlines()]
    assert [entry.case for entry in filter(None, entries) if entry.state == "done"][-len(again) :] == [*again]
    assert len([*filter(None, entries)]) == count + 2 * len(again)
    expected = tmp_path / "expected" / "out"
    extra = ["--preview"] if what == "a setting" else []
    segment(slides, expected, "-q", *extra)
    for case in CASES:
        assert (out / f"{case}_seg.png").read_bytes() == (expected / f"{case}_seg.png").read_bytes()


def test_a_strangers_output_is_kept(home, slides, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "b_seg.png").write_text("mine")
    before = outputs(out)
    for options in ([], ["--resume"]):
        assert "b_seg.png: exists already" in segment(slides, out, *options, code=7).err
        assert outputs(out) == before
        assert not (out / NAME).exists()
    segment(slides, out, "-q", "--resume", "--overwrite")
    assert (out / "b_seg.png").read_bytes() != b"mine"


def test_a_hostile_journal_names_no_file_that_is_opened(home, slides, tmp_path):
    """Names in it are only compared: the mask's own name leads nowhere else."""
    out, victim = tmp_path / "out", tmp_path / "victim.png"
    segment(slides, out, "-q")
    victim.write_text("mine")
    lines = []
    for line in (out / NAME).read_bytes().splitlines(keepends=True):
        entry = entry_of(line)
        lines.append(
            type(entry)("../victim.png", "../victim", "done", entry.work, {"../victim.png": "0" * 64}).to_line()
        )
        if entry.state == "done":
            there = {**entry.outputs, "../victim.png": "0" * 64, str(victim): "0" * 64}
            lines.append(type(entry)(entry.mask, entry.case, "done", entry.work, there).to_line())
    (out / NAME).write_bytes(b"".join(lines))
    assert "3 done;" in segment(slides, out, "--resume").lines[-1]
    assert victim.read_text() == "mine"


def test_a_bad_case_is_told_in_a_table_and_tried_again(home, slides, tmp_path):
    out, good = tmp_path / "out", (slides / "b.png").read_bytes()
    (slides / "b.png").write_text("no picture")
    done = segment(slides, out, code=4)
    table = [line.split("  ", 2) for line in done.lines if line.startswith(("case ", "b "))]
    assert [row[0].strip() for row in table] == ["case", "b"]
    assert "b.png" in table[1][-1]
    assert "2 done, 1 refused" in done.err
    assert ("b", "refused") in states(out)
    assert {case for case in CASES if (out / f"{case}_seg.png").exists()} == {"a", "c"}
    (slides / "b.png").write_bytes(good)
    assert "1 done, 2 done before" in segment(slides, out, "--resume").lines[-1]


def test_two_runs_never_share_a_folder(home, slides, tmp_path):
    out = tmp_path / "out"
    segment(slides, out, "-q")
    before = outputs(out)
    with open_journal(out):
        for path in (slides, slides / "a.png"):
            done = segment(path, out, "--overwrite", code=7)
            assert done.lines == [
                f"medseg: {out}: in use by another medseg; wait for its end, or choose another output folder"
            ]
    assert outputs(out) == before


# What ends a batch in its middle


def failing_at(monkeypatch, case, error):
    """The network fails at that case."""
    import medseg.inference.segment as module

    real = module.segment_prepared

    def segment_prepared(prepared, *others):
        if prepared.volume.case == case:
            raise error
        return real(prepared, *others)

    monkeypatch.setattr(module, "segment_prepared", segment_prepared)


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (MemoryError(), 6, "b.png: not enough memory"),
        (RuntimeError("CUDA out of memory"), 6, "b.png: not enough memory"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (SystemExit(143), 143, "1 of 3 cases are done"),
    ],
    ids=["memory", "CUDA memory", "SIGINT", "SIGTERM"],
)
def test_what_was_done_stays_done(home, slides, tmp_path, monkeypatch, error, code, words):
    out, expected = tmp_path / "out", tmp_path / "expected" / "out"
    with monkeypatch.context() as patch:
        failing_at(patch, "b", error)
        done = segment(slides, out, "-q", code=code)
    assert words in done.err
    assert "1 of 3 cases are done, --resume goes on with the others" in done.err
    assert len(done.lines) == (2 if code == 130 else 1)
    assert set(outputs(out)) == {"a_seg.png", "a_statistics.json"}
    segment(slides, out, "-q", "--resume")
    segment(slides, expected, "-q")
    for case in CASES:
        assert (out / f"{case}_seg.png").read_bytes() == (expected / f"{case}_seg.png").read_bytes()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_disk_that_fills_up_ends_the_batch_and_keeps_what_is_whole(home, slides, tmp_path, monkeypatch, number):
    """At every call in turn that reaches the disk, until the run gets through."""
    real, call, ended = os.fsync, 0, False
    while not ended:
        call, left = call + 1, [call]

        def fsync(descriptor, left=left):
            left[0] -= 1
            if left[0] <= 0:
                raise OSError(number, os.strerror(number))
            real(descriptor)

        out = tmp_path / str(call)
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fsync)
            done = medseg("segment", slides, "-b", "grey", "-o", out, "--device", "cpu", "--precision", "fp32", "-q")
        ended = left[0] > 0
        assert done.code == (0 if ended else 6), done.err
        assert len(done.lines) == (0 if ended else 1)
        for path in out.glob("*"):
            assert ".part" not in path.name
            assert path.name == NAME or np.asarray(Image.open(path)).shape == (44, 60)
        call += 2  # every third, to be quick
    assert call > 9


def test_a_file_larger_than_allowed_ends_the_batch(home, slides, tmp_path):
    """numpy tells of it without a number, so that it was taken for a folder that cannot be written."""
    resource = pytest.importorskip("resource")
    volume = np.random.default_rng(0).integers(0, 255, (400, 300)).astype(np.uint8)
    Image.fromarray(volume).save(slides / "b.png")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6_000, before[1]))
    try:
        done = medseg("segment", slides, "-b", "grey", "-o", tmp_path / "out", "-q", "-t", "tiff", "--device", "cpu")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert done.code == 6, done.err
    assert [path.name for path in (tmp_path / "out").glob("*_seg*")] == ["a_seg.tif"]
    assert ("a", "done") in states(tmp_path / "out")
