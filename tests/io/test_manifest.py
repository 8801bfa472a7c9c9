import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medseg.domain.errors import InputError, MedsegError, UsageError, ValueRangeError
from medseg.domain.geometry import Geometry
from medseg.domain.labels import Code, Label, LabelTable
from medseg.domain.manifest import SPLITS, Case, Manifest, split_of
from medseg.domain.spec import to_plain
from medseg.io import manifest as module
from medseg.io.manifest import case_paths, data_root, mask_to_labels, read_manifest, write_manifest
from medseg.io.manifest_build import Layout, build_manifest, sha256_of
from medseg.io.manifest_check import check_manifest
from medseg.io.nifti import write_nifti_image

REPOSITORY = Path(__file__).parents[2]
TABLE = LabelTable(
    (Label(1, "liver", (200, 90, 60), Code("123037004", "Anatomical Structure")), Label(3, "Tumör", (0, 0, 9)))
)
DIGESTS = ("0" * 64, "f" * 64)


def a_manifest(**changes):
    case = Case("a", "images/a.nii.gz", "masks/a.nii.gz", "patient 1", "train", DIGESTS)
    cases = (case, replace(case, id="b", group="patient 2", split="test", kind="fluo"))
    whole = Manifest("set", "some", "us", "CC0-1.0", "data", "CT", 3, 1, TABLE, cases, {"255": 1})
    return replace(whole, **changes)


def a_folder(root, stems=("p1", "p2"), ending=".nii.gz"):
    for name in ("images", "masks"):
        (root / name).mkdir()
        for stem in stems:
            (root / name / f"{stem}{ending}").write_text(f"{name} {stem}")
    return root


IN_TWO = Layout("images", "masks")


# Reading and writing


@pytest.mark.parametrize("changes", [{}, {"cases": ()}, {"mask_values": None}, {"description": 'Größe, 2 µm "q"\n'}])
def test_what_is_written_is_read(tmp_path, changes):
    manifest = a_manifest(**changes)
    write_manifest(manifest, tmp_path / "m.json")
    assert read_manifest(tmp_path / "m.json") == manifest


def test_a_case_is_a_line_so_a_new_case_is_one_new_line(tmp_path):
    few, more = a_manifest(), a_manifest(cases=(replace(a_manifest().cases[0], id="0", group="0"), *a_manifest().cases))
    for manifest, name in ((few, "few"), (more, "more")):
        write_manifest(manifest, tmp_path / name)
    old, new = ((tmp_path / name).read_text().splitlines() for name in ("few", "more"))
    assert [line for line in new if '"id": "0"' not in line] == old
    assert len(new) == len(old) + 1


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda text: text.replace('"name": "set"', '"name": "set", "name": "other"'), "'name' stands twice"),
        (lambda text: text.replace('"id": "a"', '"id": "a", "id": "a"'), "'id' stands twice"),
        (lambda text: text.replace('"channels"', '"chanels"'), "unknown key chanels"),
        (lambda text: text.replace('"group": "patient 1", ', ""), "missing key group"),
        (lambda text: text.replace('"spatial_dims": 3', '"spatial_dims": "3"'), "expected int"),
        (lambda text: text.replace('"spatial_dims": 3', '"spatial_dims": NaN'), "NaN is no JSON number"),
        (lambda text: text.replace('"255": 1', '"255": 2'), "255 becomes 2, which is no label; labels are 0, 1, 3"),
        (lambda text: text.replace('"255": 1', '"white": 1'), "'white' is not a whole number"),
        (lambda text: text.replace('"patient 2"', '"patient 1"'), "patient 1 is in train and test"),
        (lambda text: text.replace('"id": "b"', '"id": "a"'), "case a stands there twice"),
        (lambda text: text.replace("images/a", "../a", 1), "leaves the data set's folder"),
        (lambda text: text[:-20], "Unterminated string"),
        (lambda text: "[" * 100_000, "recursion"),
        (lambda text: "\x00", "Expecting value"),
    ],
)
def test_a_damaged_manifest_is_refused_with_its_name_and_reason(tmp_path, damage, reason):
    path = tmp_path / "m.json"
    write_manifest(a_manifest(), path)
    read_manifest(path)  # the twin that is accepted
    path.write_text(damage(path.read_text()))
    with pytest.raises(InputError, match=reason) as caught:
        read_manifest(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_text_too_large_or_absent_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "m.json"
    with pytest.raises(UsageError, match="cannot be read"):
        read_manifest(path)
    with pytest.raises(UsageError, match="cannot be read"):
        read_manifest(tmp_path)
    path.write_bytes(b"{\xff}")
    with pytest.raises(InputError, match="byte 1 is not UTF-8"):
        read_manifest(path)
    write_manifest(a_manifest(), path)
    monkeypatch.setattr(module, "_LARGEST_BYTES", path.stat().st_size)
    read_manifest(path)
    monkeypatch.setattr(module, "_LARGEST_BYTES", path.stat().st_size - 1)
    with pytest.raises(InputError, match="is no manifest"):
        read_manifest(path)


# Where the files are


def test_the_override_comes_first_then_the_variable_then_the_manifests_own_folder(tmp_path, monkeypatch):
    for name in ("given", "variable/set", "beside/data"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.setenv("MEDSEG_DATA", str(tmp_path / "variable"))
    path = tmp_path / "beside" / "m.json"
    by_variable = a_manifest(root="MEDSEG_DATA/set")
    assert data_root(by_variable, path, tmp_path / "given") == tmp_path / "given"
    assert data_root(by_variable, path) == tmp_path / "variable" / "set"
    assert data_root(a_manifest(), path) == tmp_path / "beside" / "data"
    assert data_root(a_manifest(root="."), path) == tmp_path / "beside"
    image, mask = case_paths(a_manifest().cases[0], tmp_path)
    assert (image, mask) == (tmp_path / "images" / "a.nii.gz", tmp_path / "masks" / "a.nii.gz")


def test_an_unset_variable_and_an_absent_folder_are_named(tmp_path, monkeypatch):
    monkeypatch.delenv("MEDSEG_DATA", raising=False)
    with pytest.raises(UsageError, match="set MEDSEG_DATA to the folder that holds set"):
        data_root(a_manifest(root="MEDSEG_DATA/set"), tmp_path / "m.json")
    monkeypatch.setenv("MEDSEG_DATA", str(tmp_path))
    with pytest.raises(UsageError, match="which is no folder; set MEDSEG_DATA"):
        data_root(a_manifest(root="MEDSEG_DATA/set"), tmp_path / "m.json")
    for override, root in ((None, "data"), (tmp_path / "none", "MEDSEG_DATA/set")):
        with pytest.raises(UsageError, match="which is no folder"):
            data_root(a_manifest(root=root), tmp_path / "m.json", override)


@pytest.mark.parametrize("root", ["/data/set", "C:/data", "C:\\data", "data\\set", "MEDSEG_DATA/../set"])
def test_a_root_that_serves_one_machine_only_is_neither_written_nor_followed(tmp_path, root):
    manifest = a_manifest(root=root)
    with pytest.raises(UsageError, match="root"):
        write_manifest(manifest, tmp_path / "m.json")
    with pytest.raises(UsageError, match="root"):
        data_root(manifest, tmp_path / "m.json", tmp_path)


# What mask values mean


def test_mask_values_are_translated_by_the_table_and_others_refused():
    raw = np.array([[0, 255, 0]], np.uint8)
    assert mask_to_labels(raw, a_manifest()).tolist() == [[0, 1, 0]]
    assert mask_to_labels(np.array([[0.0, 3.0, 1.0]]), a_manifest(mask_values=None)).tolist() == [[0, 3, 1]]
    assert mask_to_labels(np.zeros((0, 4)), a_manifest()).shape == (0, 4)
    with pytest.raises(ValueRangeError, match=r"holds 1 in 1 voxel, 2 in 1 voxel, no label of .*knows 0, 255"):
        mask_to_labels(np.array([0, 1, 2]), a_manifest())
    for odd in (2, -1, 0.5, np.nan):
        with pytest.raises(ValueRangeError, match=r"holds .* in 1 voxel, no label of"):
            mask_to_labels(np.array([0, odd]), a_manifest(mask_values=None))


def test_instance_numbers_are_kept():
    cells = a_manifest(labels=LabelTable((Label(1, "nucleus", (1, 2, 3)),), "instances"), mask_values=None)
    few = mask_to_labels(np.array([[0, 7], [2, 7]], np.uint16), cells)
    assert (few.dtype, few.tolist()) == (np.uint8, [[0, 7], [2, 7]])
    many = mask_to_labels(np.array([0, 256, 65535], np.uint32), cells)
    assert (many.dtype, many.tolist()) == (np.uint16, [0, 256, 65535])
    with pytest.raises(ValueRangeError, match="65536"):
        mask_to_labels(np.array([65536]), cells)


# Building


@given(
    st.sets(st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True), min_size=1), st.from_regex(r"[a-z0-9]{9}", fullmatch=True)
)
def test_a_new_group_moves_no_other(groups, newcomer):
    before = {group: split_of(group) for group in groups}
    after = {group: split_of(group) for group in {*groups, newcomer}}
    assert {group: after[group] for group in groups} == before
    assert set(after.values()) <= set(SPLITS)


def test_adding_a_file_moves_no_other_case(tmp_path):
    few = build_manifest(a_manifest(cases=()), a_folder(tmp_path, [f"c{n}" for n in range(40)]), IN_TWO)
    for name in ("images", "masks"):
        (tmp_path / name / "aaa.nii.gz").write_text("new")
    more = build_manifest(a_manifest(), tmp_path, IN_TWO)
    assert more.cases[1:] == few.cases
    assert more.cases[0].id == more.cases[0].group == "aaa"
    assert {case.split for case in more.cases} == set(SPLITS)


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".png", ".tif", ".tiff", ".NII.GZ"])
def test_images_and_masks_are_paired_by_stem_and_hashed(tmp_path, ending):
    (a_folder(tmp_path, ending=ending) / "images" / "._p1.nii.gz").write_text("no image, a macOS leftover")
    (tmp_path / "images" / "notes.txt").write_text("no image")
    built = build_manifest(a_manifest(), tmp_path, IN_TWO)
    assert [case.id for case in built.cases] == ["p1", "p2"]
    first = built.cases[0]
    assert (first.image, first.mask) == (f"images/p1{ending}", f"masks/p1{ending}")
    assert first.sha256 == tuple(sha256_of(path) for path in case_paths(first, tmp_path))
    assert built.labels == a_manifest().labels
    assert str(tmp_path) not in json.dumps(to_plain(built))


def test_index_gives_kind_and_group_and_fixed_splits_keep_groups_whole(tmp_path):
    a_folder(tmp_path, ["a", "b", "c"])
    (tmp_path / "index.csv").write_text("id,tumor,fold\na,glioma,1\nb,glioma,3\nc,pituitary,1\n")
    layout = Layout("images", "masks", "index.csv", "tumor", "fold", {"1": "train", "3": "validation"})
    built = build_manifest(a_manifest(), tmp_path, layout)
    assert [(c.kind, c.group, c.split) for c in built.cases] == [
        ("glioma", "1", "train"),
        ("glioma", "3", "validation"),
        ("pituitary", "1", "train"),
    ]
    free = build_manifest(a_manifest(), tmp_path, replace(layout, splits=None))
    assert {c.group: c.split for c in free.cases} == {group: split_of(group) for group in ("1", "3")}


@pytest.mark.parametrize(
    ("break_it", "error", "reason"),
    [
        (lambda root: (root / "masks" / "a.png").unlink(), InputError, r"no mask for image a \(1 in all\)"),
        (lambda root: (root / "images" / "b.png").unlink(), InputError, r"no image for mask b \(1 in all\)"),
        (lambda root: (root / "images" / "a.tif").touch(), InputError, "a.png and a.tif share a stem"),
        (lambda root: (root / "masks").rename(root / "m"), UsageError, "masks: no such folder"),
        (lambda root: (root / "index.csv").unlink(), UsageError, "index.csv: cannot be read"),
        (lambda root: (root / "index.csv").write_text("id,fold\na,1\n"), InputError, "no row for b"),
        (lambda root: (root / "index.csv").write_text("id,fold\na,1\nb,1\nz,1\n"), InputError, "no files for z"),
        (lambda root: (root / "index.csv").write_text("id,fold\na,1\nb,1\na,1\n"), InputError, "a stands there twice"),
        (lambda root: (root / "index.csv").write_text("id,fold\na,1\nb\n"), InputError, "empty cells for b"),
        (lambda root: (root / "index.csv").write_text("id,group\na,1\nb,1\n"), UsageError, "no column fold"),
        (lambda root: (root / "index.csv").write_text("id,fold\na,1\nb,2\n"), UsageError, "group '2' has no split"),
    ],
)
def test_what_does_not_fit_together_is_refused(tmp_path, break_it, error, reason):
    a_folder(tmp_path, ["a", "b"], ".png")
    (tmp_path / "index.csv").write_text("id,fold\na,1\nb,1\n")
    layout = Layout("images", "masks", "index.csv", group_column="fold", splits={"1": "train"})
    build_manifest(a_manifest(), tmp_path, layout)  # the twin that is accepted
    break_it(tmp_path)
    with pytest.raises(error, match=reason) as caught:
        build_manifest(a_manifest(), tmp_path, layout)
    assert "\n" not in str(caught.value)


def test_a_long_list_of_missing_files_is_counted_and_an_empty_folder_refused(tmp_path):
    a_folder(tmp_path, [f"c{n}" for n in range(9)])
    for path in (tmp_path / "masks").iterdir():
        path.unlink()
    with pytest.raises(InputError, match=r"c0, c1, c2, c3, c4 and 4 more \(9 in all\)"):
        build_manifest(a_manifest(), tmp_path, IN_TWO)
    for path in (tmp_path / "images").iterdir():
        path.unlink()
    with pytest.raises(InputError, match="holds no"):
        build_manifest(a_manifest(), tmp_path, IN_TWO)


def test_a_split_may_be_given_to_single_cases(tmp_path):
    """Following the advice of `train`, to move a case to validation, ended in a demand for an index."""
    a_folder(tmp_path, ["a", "b"], ".png")
    by_name = {case.id: case.split for case in build_manifest(a_manifest(), tmp_path, Layout("images", "masks")).cases}
    moved = build_manifest(a_manifest(), tmp_path, Layout("images", "masks", splits={"a": "validation"}))
    assert {case.id: case.split for case in moved.cases} == {**by_name, "a": "validation"}
    with pytest.raises(InputError, match="--split: no group z"):
        build_manifest(a_manifest(), tmp_path, Layout("images", "masks", splits={"z": "test"}))


def test_columns_need_an_index():
    with pytest.raises(UsageError, match="needs an index"):
        Layout("images", "masks", kind_column="kind")


# Checking


def a_data_set(root, **changes):
    """Three 3-D cases in the folder and their manifest: labels 1 and 3 in each mask."""
    for name in ("images", "masks"):
        (root / name).mkdir(exist_ok=True)
    for n, stem in enumerate(("a", "b", "c")):
        mask = np.zeros((4, 5, 6), np.uint8)
        mask[1, 2, 3], mask[2, 2, 3] = 1, 3
        save(root / "images" / f"{stem}.nii", np.arange(120, dtype=np.int16).reshape(4, 5, 6) + n)
        save(root / "masks" / f"{stem}.nii", mask)
    return build_manifest(a_manifest(cases=(), mask_values=None, **changes), root, IN_TWO)


def save(path, voxels, origin_mm=0.0):
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    affine[0, 3] = origin_mm
    write_nifti_image(voxels, Geometry(voxels.shape, affine), path)


def findings(manifest, root):
    return [(found.level, found.case, found.message) for found in check_manifest(manifest, root)]


def test_a_sound_data_set_has_no_findings(tmp_path):
    assert findings(a_data_set(tmp_path), tmp_path) == []


@pytest.mark.parametrize(
    ("mask", "origin_mm", "level", "told"),
    [
        (np.ones((4, 5, 7)), 0, "error", "of shape (4, 5, 6), its mask of (4, 5, 7)"),
        (np.ones((4, 5, 6)), 0.5, "error", "up to 0.5 mm apart"),
        (np.full((4, 5, 6), 2), 0, "error", "the mask holds 2 in 120 voxels, no label of manifest"),
        (np.zeros((4, 5, 6)), 0, "warning", "background only"),
        (np.ones((4, 5, 6)), 0.09, None, ""),  # float32 rounding of an affine is no fault
        (np.ones((4, 5, 6)), 0, None, ""),
    ],
)
def test_each_fault_of_a_mask_is_found_and_named(tmp_path, mask, origin_mm, level, told):
    a_data_set(tmp_path)
    save(tmp_path / "masks" / "b.nii", mask.astype(np.uint8), origin_mm)
    found = findings(build_manifest(a_manifest(mask_values=None), tmp_path, IN_TWO), tmp_path)
    assert [case for _, case, _ in found] == ["b"] * (level is not None)
    assert all(level == given and told in message for given, _, message in found)


def test_an_image_of_one_value_is_found(tmp_path):
    a_data_set(tmp_path)
    save(tmp_path / "images" / "b.nii", np.full((4, 5, 6), 7, np.int16))
    ((level, case, message),) = findings(build_manifest(a_manifest(mask_values=None), tmp_path, IN_TWO), tmp_path)
    assert (level, case) == ("error", "b")
    assert "every voxel is 7" in message


def test_the_voxels_of_another_case_in_other_bytes_are_found(tmp_path):
    """A picture that was saved anew stood in two splits, and nothing told."""
    a_data_set(tmp_path)
    save(tmp_path / "images" / "b.nii.gz", np.arange(120, dtype=np.float64).reshape(4, 5, 6))
    (tmp_path / "images" / "b.nii").unlink()
    manifest = build_manifest(a_manifest(mask_values=None), tmp_path, IN_TWO)
    a, b, c = (replace(case, split="train") for case in manifest.cases)
    ((level, case, message),) = findings(replace(manifest, cases=(a, b, c)), tmp_path)
    assert (level, case) == ("warning", "b")
    assert "saved anew; it counts double" in message
    ((level, case, message),) = findings(replace(manifest, cases=(a, replace(b, split="test"), c)), tmp_path)
    assert (level, case) == ("error", "b")
    assert "images/a.nii saved anew, in train and test" in message


def test_a_label_that_is_in_no_mask_is_named(tmp_path):
    manifest = a_data_set(tmp_path)
    more = LabelTable((*manifest.labels.labels, Label(9, "spleen", (1, 2, 3))))
    ((level, case, message),) = findings(replace(manifest, labels=more), tmp_path)
    assert (level, case) == ("warning", "")
    assert message.startswith("label spleen is in no mask")


def test_missing_changed_and_damaged_files_are_found_and_the_others_still_checked(tmp_path):
    manifest = a_data_set(tmp_path)
    (tmp_path / "masks" / "a.nii").unlink()
    (tmp_path / "images" / "b.nii").write_bytes(b"x" * 900)
    save(tmp_path / "masks" / "c.nii", np.ones((4, 5, 6), np.uint8))
    missing, changed, damaged, other = findings(manifest, tmp_path)
    assert missing[:2] == ("error", "a")
    assert missing[2].startswith(f"{tmp_path / 'masks' / 'a.nii'}: no such file")
    assert "sha256" in changed[2]
    assert "not a NIfTI file" in damaged[2]
    assert (changed[1], damaged[1], other[1]) == ("b", "b", "c")
    assert "sha256" in other[2]


def test_axes_and_channels_must_be_what_the_manifest_says(tmp_path):
    flat = a_data_set(tmp_path, spatial_dims=2)
    assert {message.split(": ")[1] for _, _, message in findings(flat, tmp_path)} == {
        "has 3 axes, the manifest says 2; correct one of them"
    }
    assert findings(replace(flat, spatial_dims=3, channels=3), tmp_path) == []  # grey is repeated thrice


def test_one_image_in_two_splits_and_names_that_differ_in_case_only_are_found(tmp_path):
    whole = a_data_set(tmp_path)
    a = replace(whole.cases[0], split="train")
    again = replace(a, id="z", group="z")
    assert [found[:2] for found in findings(replace(whole, cases=(a, again)), tmp_path)] == [("warning", "z")]
    leak = replace(again, split="test")
    ((level, case, message),) = findings(replace(whole, cases=(a, leak)), tmp_path)
    assert (level, case) == ("error", "z")
    assert "in train and test" in message
    b = replace(whole.cases[1], split="test")
    ((level, case, message),) = findings(replace(whole, cases=(a, replace(b, id="A"))), tmp_path)
    assert (level, case) == ("error", "A")
    assert "differ in case only" in message
    ((level, case, message),) = findings(replace(whole, cases=(a, replace(b, group="A "))), tmp_path)
    assert (level, case) == ("warning", "b")
    assert "if they are one patient" in message


# The shipped manifests


@pytest.mark.parametrize("name", ["hippocampus", "nuclei", "brain_tumor"])
def test_shipped_manifests_are_written_as_we_write_them_and_fill_all_splits(tmp_path, name):
    path = REPOSITORY / "data_manifests" / f"{name}.json"
    manifest = read_manifest(path)
    write_manifest(manifest, tmp_path / "again.json")
    assert (tmp_path / "again.json").read_text() == path.read_text()
    assert (manifest.name, manifest.root) == (name, f"MEDSEG_DATA/{name}")
    assert all(manifest.part(split) for split in SPLITS)


@pytest.mark.data
@pytest.mark.parametrize("name", ["hippocampus", "nuclei", "brain_tumor"])
def test_shipped_manifests_agree_with_the_data(name):
    path = REPOSITORY / "data_manifests" / f"{name}.json"
    manifest = read_manifest(path)
    base = Path(os.environ.get("MEDSEG_DATA") or REPOSITORY.parent / "shared" / "data")
    try:
        root = data_root(manifest, path, base / name)
    except MedsegError as error:
        pytest.skip(str(error))
    few = replace(manifest, cases=manifest.cases[:: len(manifest.cases) // 4])
    assert check_manifest(few, root) == []
