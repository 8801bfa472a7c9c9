"""The options that answer doubts, as one value."""

import pytest

from medseg.cli.doubts import doubts_of
from medseg.domain.doubts import NO_DOUBTS, Doubts
from tests.bundles import blob_volume
from tests.cli.conftest import AFFINE_RAS
from tests.commands import medseg
from tests.phantoms import dicom_folder

NONE = (None, False, None, None, None, False, None, None)


def test_no_option_answers_nothing():
    assert doubts_of(*NONE) == NO_DOUBTS


def test_each_option_is_one_answer():
    assert doubts_of("2", True, "fill=-1.5e3", "qform", "ras", True, 3, "ct") == Doubts(
        "2", True, -1500.0, "qform", True, True, 3, "CT"
    )
    assert doubts_of(*NONE[:-1], "Microscopy").modality == "microscopy"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--nan", "0"], "as fill=0"),
        (["--nan", "fill="], "as fill=0"),
        (["--nan", "fill=nan"], "as fill=0"),
        (["--nan", "fill=1e39"], "as fill=0"),
        (["--nan", "drop=1"], "as fill=0"),
        (["--affine", "mine"], "give sform or qform"),
        (["--assume", "LPS"], "give RAS"),
        (["--volume", "-1"], "counted from 0"),
        (["--volume", "last"], "--volume"),
        (["--force", " "], "give a modality"),
    ],
    ids=str,
)
def test_an_answer_that_is_none_is_refused_before_any_work(tmp_path, options, words):
    done = medseg("segment", tmp_path / "scan.nii", "-b", "organs", "-o", tmp_path / "out", *options)
    assert (done.code, len(done.lines)) == (2, 1), done.err
    assert words in done.err
    assert not list(tmp_path.iterdir())


def test_a_modality_is_believed_where_it_is_said(home, scan, tmp_path):
    """The same series as CT and as MR; a bundle for MR takes the first only on the user's word."""
    dicom_folder(tmp_path / "series", blob_volume(AFFINE_RAS), modality="CT")
    common = ["segment", tmp_path / "series", "-b", "organs", "-o", tmp_path / "out", "--json", "-q"]
    refused = medseg(*common)
    assert (refused.code, len(refused.lines)) == (3, 1)
    assert "its modality is CT" in refused.err
    (report,) = medseg(*common, "--force", "mr").json
    assert "the file says CT of its modality; taken as MR, as told" in report["notes"]
    done = medseg("segment", scan, "-b", "organs", "-o", tmp_path / "out", "--force", "CT", "-q")
    assert (done.code, len(done.lines)) == (3, 1)
    assert "its modality is CT" in done.err
