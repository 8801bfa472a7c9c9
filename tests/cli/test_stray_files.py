"""What killed runs left half-written goes with the next run, of one case as of many; what others write stays."""

import multiprocessing

import pytest

from medseg.io.files import whole_file
from tests.commands import medseg

STRAY = ".0123456789ab.part."


@pytest.mark.parametrize("options", [(), ("--resume",), ("--split", "--preview", "--overwrite")])
def test_a_run_of_one_case_removes_its_own_strays(home, slide, tmp_path, options):
    """Only runs of several cases did."""
    out = tmp_path / "out"
    (out / "slide_seg").mkdir(parents=True)
    extra = [f"{STRAY}slide_preview.png", f"slide_seg/{STRAY}liver.png"] if "--split" in options else []
    own = [f"{STRAY}slide_seg.png", *extra]
    others = [f"{STRAY}other_seg.png", f"{STRAY}slide_seg.nii.gz", "slide_seg.part", ".part.slide_seg.png"]
    for name in own + others:
        (out / name).write_text("half")
    assert medseg("segment", slide, "-b", "grey", "-o", out, "-q", *options).code == 0
    assert [name for name in own if (out / name).exists()] == []
    assert [name for name in others if not (out / name).exists()] == []


def test_convert_removes_its_own_strays(home, slide, tmp_path):
    assert medseg("segment", slide, "-b", "grey", "-o", tmp_path / "m", "-q").code == 0
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / f"{STRAY}slide_seg.png").write_text("half")
    assert medseg("convert", tmp_path / "m" / "slide_seg.png", "-t", "png", "-o", tmp_path / "out", "-q").code == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["slide_seg.png"]


def write_slowly(path, begun, go_on):
    with whole_file(path) as temporary:
        temporary.write_bytes(b"half")
        begun.set()
        assert go_on.wait(60)
        temporary.write_bytes(b"whole")


def test_what_another_process_is_writing_stays(home, slide, tmp_path):
    context = multiprocessing.get_context("spawn")
    begun, go_on = context.Event(), context.Event()
    path = tmp_path / "out" / "slide_seg.png"
    writer = context.Process(target=write_slowly, args=(path, begun, go_on))
    writer.start()
    try:
        assert begun.wait(60)
        assert medseg("segment", slide, "-b", "grey", "-o", tmp_path / "out", "-q").code == 0
    finally:
        go_on.set()
        writer.join(60)
    assert writer.exitcode == 0
    assert path.read_bytes() == b"whole"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["slide_seg.png"]
