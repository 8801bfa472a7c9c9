import json

import numpy as np
import pytest
from typer.testing import CliRunner

from medseg.cli.manifest import app
from medseg.domain.errors import InputError, OutputError, UsageError
from medseg.domain.geometry import Geometry
from medseg.io.manifest import read_manifest
from medseg.io.nifti import write_nifti_image


@pytest.fixture
def folder(tmp_path):
    data = tmp_path / "data"
    for name in ("images", "masks"):
        (data / name).mkdir(parents=True)
    for n, stem in enumerate(("a", "b", "c")):
        grid = Geometry((4, 4, 3), np.eye(4))
        write_nifti_image(np.arange(48, dtype=np.int16).reshape(4, 4, 3) + n, grid, data / "images" / f"{stem}.nii.gz")
        mask = np.zeros((4, 4, 3), np.uint8)
        mask[1, 1, 1], mask[2, 2, 1] = 255, 7
        write_nifti_image(mask, grid, data / "masks" / f"{stem}.nii.gz")
    (data / "index.csv").write_text("id,kind,patient\na,fluo,p1\nb,stain,p2\nc,fluo,p1\n")
    return data


def run(*arguments):
    """Standard error of the command; its refusals are raised here as `medseg` itself would get them."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    return result.stderr


LABELS = ("--label", "1=liver", "--label", "2=tumour", "--mask-value", "255=1", "--mask-value", "7=2")


def test_build_then_check_then_build_like_it(folder, tmp_path):
    out = tmp_path / "sets" / "mine.json"
    columns = ("--index", "index.csv", "--kind-column", "kind", "--group-column", "patient")
    splits = ("--split", "p1=train", "--split", "p2=test")
    told = run("build", folder, "-o", out, *LABELS, *columns, *splits, "--licence", "CC0-1.0", "--modality", "CT")
    assert "mine.json: 3 cases: 2 train, 0 validation, 1 test; kinds fluo, stain\n" in told
    assert "warning: 0 cases for validation: so few say little; move groups there by --split GROUP=validation" in told
    assert told.endswith(f"next: medseg manifest check {out} --contact-sheet {out.with_suffix('.png')}\n")
    manifest = read_manifest(out)
    assert (manifest.name, manifest.root, manifest.licence) == ("mine", "../data", "CC0-1.0")
    assert (manifest.spatial_dims, manifest.channels, manifest.modality) == (3, 1, "CT")
    assert manifest.mask_values == {"255": 1, "7": 2}
    assert str(tmp_path) not in out.read_text()
    sheet = tmp_path / "sheet.png"
    told = run("check", out, "--contact-sheet", sheet, "-q")
    assert told.endswith(f"{sheet}: look at it before you train\n{out}: 3 cases, 0 errors, 0 warnings\n")
    assert sheet.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(OutputError, match="exists already"):
        run("check", out, "--contact-sheet", sheet, "-q")
    run("build", folder, "-o", tmp_path / "sets" / "again.json", "--like", out, *columns, *splits)
    assert read_manifest(tmp_path / "sets" / "again.json") == manifest


def test_check_tells_each_fault_in_a_line_and_then_refuses(folder, tmp_path):
    out = tmp_path / "m.json"
    run("build", folder, "-o", out, *LABELS)
    (folder / "masks" / "b.nii.gz").unlink()
    result = CliRunner().invoke(app, ["check", str(out)])
    assert isinstance(result.exception, InputError)
    assert result.exception.exit_code == 3
    assert "3 cases, 1 error, 0 warnings" in str(result.exception)
    assert result.stderr.startswith(f"error: b: {folder / 'masks' / 'b.nii.gz'}: no such file")
    assert result.stderr.count("\n") == 1


def test_a_label_that_no_value_of_the_files_becomes_is_told(folder, tmp_path):
    """`--mask-value 2=0` alone made all other values strange, and nothing told."""
    told = run("build", folder, "-o", tmp_path / "m.json", "--label", "1=liver", "--mask-value", "7=0")
    assert "no value of the files becomes 1 (liver)" in told
    assert "add --mask-value FILE_VALUE=1" in told
    assert "no value of" not in run("build", folder, "-o", tmp_path / "n.json", *LABELS)


def test_an_existing_manifest_is_replaced_only_if_asked(folder, tmp_path):
    out = tmp_path / "m.json"
    out.write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        run("build", folder, "-o", out, *LABELS)
    assert out.read_text() == "mine"
    run("build", folder, "-o", out, *LABELS, "--overwrite")
    assert len(json.loads(out.read_text())["cases"]) == 3


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((), "give either the labels"),
        (("--label", "liver"), "two parts joined by ="),
        (("--label", "one=liver"), "'one' is not a whole number"),
        (("--label", "1=liver", "--label", "1=lung"), "the same left side is given twice"),
        (("--label", "2=cell", "--instances"), "exactly one label, of value 1"),
        (("--label", "1=liver", "--mask-value", "255=1", "--mask-value", "7=3"), "7 becomes 3, which is no label"),
        (("--label", "1=liver", "--split", "p1=trian"), "'trian' is not one of train"),
        (("--label", "1=liver", "--kind-column", "kind"), "needs an index"),
        (("--label", "1=liver", "--root", "/data"), "fits one machine only"),
        (("--label", "1=liver", "--masks", "labels"), "no such folder"),
    ],
)
def test_what_cannot_be_built_is_refused_and_nothing_written(folder, tmp_path, arguments, reason):
    with pytest.raises(UsageError, match=reason):
        run("build", folder, "-o", tmp_path / "m.json", *arguments)
    assert not (tmp_path / "m.json").exists()
